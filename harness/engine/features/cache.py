"""Cache on disk of the frame features of frozen vision towers, computed once per (video content, views, weights).

If no parameter of the vision tower is trained and a method does not override `encode_frames` and `encode_video`, frame
features are a function of the tower's tensors, the content of the video and the views. All methods, protocols, label
sets and repeats then share them. An entry is a safetensors file with its own name and the hash of its values in the
header; an entry whose content differs from its header is computed again. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import uuid
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from harness.base.canonical import JsonValue, canonical_json, fingerprint
from harness.base.errors import EXIT_FAILED, UserError
from harness.data.files.frame_folder import clip_state
from harness.engine.compute.device import Device
from harness.engine.method import ClipMethod
from harness.engine.model.backbone import Backbone
from harness.engine.model.compiled import is_compiled
from harness.engine.model.weights import state_sha256
from harness.engine.video.video_bytes import DECODE_SECONDS, read_within
from harness.spec import Recipe, Views
from results.provenance import environment

logger = logging.getLogger(__name__)
FEATURES_VERSION = 3
"""Increased when a change of the pipeline or the encoding changes features; older entries are then not used."""
RACY_SECONDS = 2.0
"""A file may change again within this time and keep its time stamp; its hash is stored only afterwards."""
KEPT_BYTES = 1 << 30
"""Limit of the features that `FeatureStore.remember` keeps in memory."""
FRAME_PACKAGES = (
    "torch", "torchvision", "open_clip_torch", "timm", "mmengine", "mmaction2", "mmcv-lite", "decord", "av",
    "opencv-python", "opencv-contrib-python", "numpy", "pillow",
)  # fmt: skip
"""Packages that decode, transform or encode frames: another version of a package may give other features."""


def pools_from_features(method: ClipMethod) -> bool:
    """Whether the video features of a method are `pool(frame features)` of an unchanged, frozen vision tower."""
    # A step can be replaced on the class, or on the instance as an attribute; both must be looked at.
    own, backbone = vars(method), method.backbone
    steps = ("encode_frames", "encode_video")
    if any(getattr(type(method), step) is not getattr(ClipMethod, step) or step in own for step in steps):
        return False
    # Not `isinstance`: a subclass may encode frames in another way.
    if type(backbone) is not Backbone or "encode_images" in vars(backbone):
        return False
    visual: nn.Module = backbone.visual
    return not any(p.requires_grad for p in visual.parameters()) and all(map(_untouched, visual.modules()))


def fits_from_features(method: ClipMethod) -> bool:
    """Whether a method can also be trained from cached frame features.

    It must not override `training_loss`, `loss` or `forward`, and its vision tower must compute the same features in
    training mode.
    """
    own, steps = vars(method), ("training_loss", "loss", "forward")
    if any(getattr(type(method), step) is not getattr(ClipMethod, step) or step in own for step in steps):
        return False
    if method.backbone.uses_batch_statistics:
        return False
    return pools_from_features(method) and all(map(_same_in_training, method.backbone.visual.modules()))


def _untouched(module: nn.Module) -> bool:
    """Whether a module has no hooks and its own forward pass, plain or compiled."""
    # A method that was replaced on the instance, such as the `attention` of a block, changes the forward pass as well.
    replaced = [n for n, v in vars(module).items() if callable(v) and callable(getattr(type(module), n, None))]
    if replaced and not (replaced == ["forward"] and is_compiled(module)):
        return False
    return not module._forward_hooks and not module._forward_pre_hooks


def _same_in_training(module: nn.Module) -> bool:
    """Whether a module, apart from its submodules, computes the same in training and eval mode."""
    drops = isinstance(module, _DropoutNd) and module.p > 0
    # open_clip and timm have classes of these names, which share no base class.
    drops = drops or (type(module).__name__ in ("PatchDropout", "DropPath") and getattr(module, "prob", 1.0) != 0)
    return not drops


class CacheFullError(UserError):
    """Features can neither be written to the cache nor kept in memory; clips are decoded where that is possible.

    Args:
        folder: Folder of the cache.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"Features cannot be written to {folder}, and the features in memory reach {KEPT_BYTES >> 20} MiB.",
            "Make room on that disk, choose another folder with --cache DIR, or run with --no-feature-cache.",
            EXIT_FAILED,
        )


class FeatureCache:
    """The folder of the cache: one subfolder per tower and views, and an index of the content of videos.

    Args:
        folder: The folder; it is created with the first entry.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(
        self, method: ClipMethod, views: Views, device: Device, recipe: Recipe | None = None, transform: str = ""
    ) -> FeatureStore:
        """The store of the features of a method's vision tower.

        Args:
            method: A method on its device.
            views: The views of each video.
            device: Device and precision of the forward pass.
            recipe: Recipe of augmented training views; None for views without augmentation.
            transform: View transform as measurements state it; empty for none.
        """
        backbone, facts = method.backbone, method.backbone.facts
        identity: dict[str, JsonValue] = {
            "version": FEATURES_VERSION,
            "weights": state_sha256(dict(backbone.visual.state_dict())),
            "arch": facts.arch,
            # Modules without tensors, such as the activation function, show in the text of the tower only.
            "tower": hashlib.sha256(repr(backbone.visual).encode()).hexdigest(),
            "size": backbone.image_size,
            "views": asdict(views),
            "augmentation": None if recipe is None else [recipe.augmentation, recipe.flip],
            "precision": device.precision,
            "device": device.kind,
            # Compiled blocks round differently.
            "compiled": any(is_compiled(module) for module in backbone.visual.modules()),
            "packages": {name: environment().packages.get(name, "") for name in FRAME_PACKAGES},
        }
        if transform:  # absent without, so that a cache keeps the entries of earlier versions
            identity["transform"] = transform
        return FeatureStore(self, fingerprint(identity), views.count * views.frames, method.embed_dim)

    def content(self, video: Path, seconds: float = DECODE_SECONDS) -> str:
        """The sha256 of the bytes of a video; it is stored, and reused while path, size and time stamp do not change.

        Args:
            video: The file.
            seconds: Longest time without a byte.

        Raises:
            MachineFaultError: The file cannot be read.
        """
        path = video.resolve()
        try:
            size, changed = clip_state(path)
        except OSError:
            read_within(path, seconds)  # the second attempt, which raises if the file still cannot be read
            size, changed = clip_state(path)
        name = hashlib.sha256(os.fsencode(path)).hexdigest()
        note = self.folder / "videos" / name[:2] / f"{name}.json"
        state = {"size": size, "mtime_ns": changed}
        try:
            noted = json.loads(note.read_bytes())
            if {k: noted[k] for k in state} == state and len(noted["sha256"]) == 64:
                return str(noted["sha256"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.debug("the note %s cannot be read: %s", note, error)
        # Size and time stamp are a note for speed only; the key of an entry is the hash of the content.
        digest = read_within(path, seconds, digest=True)
        if time.time() - changed / 1e9 > RACY_SECONDS:
            write_quietly(note, canonical_json({**state, "sha256": digest}).encode())
        return digest


class FeatureStore:
    """Frame features of a vision tower under fixed views: (V*T, D) per video.

    Args:
        cache: The cache that holds the store.
        key: Fingerprint of everything that the features depend on, except the video.
        frames: V*T, the number of views times frames per view.
        dim: D, the dimension of a feature.
    """

    def __init__(self, cache: FeatureCache, key: str, frames: int, dim: int) -> None:
        self.cache, self.key, self.shape = cache, key, (frames, dim)
        self._kept: dict[str, Tensor] = {}
        self._room = KEPT_BYTES

    def entry(self, video: Path | None, *draw: int, seconds: float = DECODE_SECONDS) -> str | None:
        """The name of the entry of a video; None for a row without a file.

        Args:
            video: The file.
            draw: Numbers from which random views are drawn; empty if the views are not random.
            seconds: Longest time without a byte while the file is hashed.

        Raises:
            MachineFaultError: The file cannot be read.
        """
        if video is None:
            return None
        return fingerprint([self.key, self.cache.content(video, seconds), list(draw)])

    def read(self, entry: str) -> Tensor | None:
        """The features of an entry; None if the entry is missing or damaged."""
        if entry in self._kept:
            return self._kept[entry]
        path = self._path(entry)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("cached features %s cannot be read and are computed anew: %s", path, error)
            return None
        try:
            features = load(data)["features"]
            # Parsed here, because `safetensors.torch.load` drops the metadata. The format begins with the header's
            # length.
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
            if header != {"entry": entry, "sha256": _digest(features)} or tuple(features.shape) != self.shape:
                raise ValueError("the content differs from the header")
        except Exception as error:  # a damaged file makes the parsers raise many kinds of errors
            logger.warning("cached features %s are damaged and are computed anew: %s", path, error)
            return None
        return features

    def write(self, entry: str, features: Tensor) -> None:
        """Write an entry; if the disk refuses it, keep the features in memory, up to `KEPT_BYTES` in total.

        Raises:
            CacheFullError: Neither the disk nor the memory takes the features.
        """
        features = features.detach().cpu().contiguous()
        data = save({"features": features}, {"entry": entry, "sha256": _digest(features)})
        if not write_quietly(self._path(entry), data):
            self.remember(entry, features)
            if entry not in self._kept:
                raise CacheFullError(self.cache.folder)

    def remember(self, entry: str, features: Tensor) -> None:
        """Keep an entry in memory, up to `KEPT_BYTES` in total, because a fit reads each entry in every epoch."""
        size = features.numel() * features.element_size()
        if entry not in self._kept and size <= self._room:
            self._kept[entry], self._room = features, self._room - size

    def _path(self, entry: str) -> Path:
        return self.cache.folder / self.key[:16] / entry[:2] / f"{entry}.safetensors"


def _digest(features: Tensor) -> str:
    # As bytes, because NumPy has no bfloat16.
    return hashlib.sha256(features.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


_refused: set[Path] = set()


def write_quietly(path: Path, data: bytes) -> bool:
    """Write a file of the cache atomically; return False if that fails, with one warning per folder.

    Unlike a result, the file is not synced to the disk: readers notice a file that a power cut damaged.
    """
    # A random name, because several processes may write the same entry at once; the last rename counts.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True) if path.parent.is_dir() else None
        if path.parent.parent not in _refused:
            _refused.add(path.parent.parent)
            logger.warning("features cannot be kept below %s: %s", path.parent.parent, error)
        return False
    return True
