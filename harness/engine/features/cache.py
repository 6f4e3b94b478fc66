"""Frame features of frozen vision towers, computed once per (video, views, weights) and kept on disk.

Where no vision parameter learns and a method leaves `encode_frames` and `encode_video` as they are, frame features are
a function of the tower's tensors, the video's content and the views. They are then shared by all methods, protocols,
label sets and repeats. An entry is a safetensors file that states its name and the hash of its values; one that does
not hold what it states is computed anew. The folder may be deleted at any time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
import time
import uuid
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from harness.base.canonical import canonical_json, fingerprint
from harness.base.files import file_sha256
from harness.engine.compute.device import Device
from harness.engine.method import ClipMethod
from harness.engine.model.backbone import Backbone
from harness.engine.model.compiled import is_compiled
from harness.engine.model.weights import state_sha256
from harness.spec import Recipe, Views
from results.provenance import environment

logger = logging.getLogger(__name__)
FEATURES_VERSION = 1
"""Raised when the pipeline or the encoding changes what features are; older entries are then left alone."""
RACY_SECONDS = 2.0
"""A file changed this recently may change again without a new time stamp; its hash is not remembered."""
KEPT_BYTES = 1 << 30
FRAME_PACKAGES = (
    "torch", "torchvision", "open_clip_torch", "timm", "mmengine", "mmaction2", "mmcv-lite", "decord", "av",
    "opencv-python", "opencv-contrib-python", "numpy", "pillow",
)  # fmt: skip
"""Packages that decode, transform or encode frames: another version of one of them may give other features."""


def pools_from_features(method: ClipMethod) -> bool:
    """Whether a method's video features are `pool(frame features)` of an untouched, frozen vision tower."""
    own, backbone = vars(method), method.backbone
    steps = ("encode_frames", "encode_video")
    if any(getattr(type(method), step) is not getattr(ClipMethod, step) or step in own for step in steps):
        return False
    if type(backbone) is not Backbone or "encode_images" in vars(backbone):
        return False
    visual: nn.Module = backbone.visual
    return not any(p.requires_grad for p in visual.parameters()) and all(map(_untouched, visual.modules()))


def fits_from_features(method: ClipMethod) -> bool:
    """Whether besides, training a method needs nothing but frame features: its loss and forward pass are the base's.

    The tower must not behave differently in training either.
    """
    own, steps = vars(method), ("loss", "forward")
    if any(getattr(type(method), step) is not getattr(ClipMethod, step) or step in own for step in steps):
        return False
    return pools_from_features(method) and all(map(_same_in_training, method.backbone.visual.modules()))


def _untouched(module: nn.Module) -> bool:
    """No hook and no replaced forward pass, other than the compiled one."""
    replaced = "forward" in vars(module) and not is_compiled(module)
    return not replaced and not module._forward_hooks and not module._forward_pre_hooks


def _same_in_training(module: nn.Module) -> bool:
    drops = isinstance(module, _DropoutNd) and module.p > 0
    drops = drops or (type(module).__name__ in ("PatchDropout", "DropPath") and getattr(module, "prob", 1.0) != 0)
    return not drops and not isinstance(module, _BatchNorm)


class FeatureCache:
    """The cache's folder: one sub-folder per tower and views, and an index of the videos' content.

    Args:
        folder: Below the settings' cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, method: ClipMethod, views: Views, device: Device, recipe: Recipe | None = None) -> FeatureStore:
        """The features of a method's vision tower under views; with a recipe, of its augmented training views."""
        backbone, facts = method.backbone, method.backbone.facts
        of = {
            "version": FEATURES_VERSION,
            "weights": state_sha256(dict(backbone.visual.state_dict())),
            "arch": facts.arch,
            "tower": hashlib.sha256(repr(backbone.visual).encode()).hexdigest(),
            "size": backbone.image_size,
            "views": asdict(views),
            "augmentation": None if recipe is None else [recipe.augmentation, recipe.flip],
            "precision": device.precision,
            "device": device.kind,
            "compiled": any(is_compiled(module) for module in backbone.visual.modules()),
            "packages": {name: environment().packages.get(name, "") for name in FRAME_PACKAGES},
        }
        return FeatureStore(self, fingerprint(of), views.count * views.frames, method.embed_dim)

    def content(self, video: Path) -> str:
        """sha256 of a video's bytes, remembered for as long as place, size and time of change stay the same.

        Raises:
            OSError: The file cannot be read.
        """
        place = video.resolve()
        status = place.stat()
        if not stat.S_ISREG(status.st_mode):  # hashing a pipe would wait for somebody to write into it
            raise OSError(errno.EINVAL, "not a regular file", str(place))
        known = hashlib.sha256(os.fsencode(place)).hexdigest()
        note = self.folder / "videos" / known[:2] / f"{known}.json"
        seen = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        try:
            noted = json.loads(note.read_bytes())
            if {k: noted[k] for k in seen} == seen and len(noted["sha256"]) == 64:
                return str(noted["sha256"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.debug("the note %s cannot be read: %s", note, error)
        digest = file_sha256(place)
        if time.time() - status.st_mtime > RACY_SECONDS:
            write_quietly(note, canonical_json({**seen, "sha256": digest}).encode())
        return digest


class FeatureStore:
    """Frame features of one vision tower under one kind of view: (frames, D) a video.

    Args:
        cache: Its cache.
        key: What the features depend on besides the video, as a fingerprint.
        frames: Frames a video, views times frames per view.
        dim: D.
    """

    def __init__(self, cache: FeatureCache, key: str, frames: int, dim: int) -> None:
        self.cache, self.key, self.shape = cache, key, (frames, dim)
        self._kept: dict[str, Tensor] = {}
        self._room = KEPT_BYTES

    def entry(self, video: Path | None, *draw: int) -> str | None:
        """The name of a video's entry; None where the file cannot be read.

        Args:
            video: Its file.
            draw: What the views were drawn from, where they are drawn at random.
        """
        if video is None:
            return None
        try:
            return fingerprint([self.key, self.cache.content(video), list(draw)])
        except OSError:
            return None

    def read(self, entry: str) -> Tensor | None:
        """The features of an entry, None where it is absent or damaged."""
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
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
            if header != {"entry": entry, "sha256": _digest(features)} or tuple(features.shape) != self.shape:
                raise ValueError("it does not hold what it states")
        except Exception as error:  # whatever a damaged file makes of a parser
            logger.warning("cached features %s are damaged and are computed anew: %s", path, error)
            return None
        return features

    def write(self, entry: str, features: Tensor) -> None:
        """Keep an entry; where the disk refuses, it stays in memory."""
        features = features.detach().cpu().contiguous()
        data = save({"features": features}, {"entry": entry, "sha256": _digest(features)})
        if not write_quietly(self._path(entry), data):
            self._kept[entry] = features

    def remember(self, entry: str, features: Tensor) -> None:
        """Hold an entry in memory, up to a gibibyte of them: a fit reads each many times."""
        size = features.numel() * features.element_size()
        if entry not in self._kept and size <= self._room:
            self._kept[entry], self._room = features, self._room - size

    def _path(self, entry: str) -> Path:
        return self.cache.folder / self.key[:16] / entry[:2] / f"{entry}.safetensors"


def _digest(features: Tensor) -> str:
    return hashlib.sha256(features.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


_refused: set[Path] = set()


def write_quietly(path: Path, data: bytes) -> bool:
    """Put a cache file in place as a whole; False where that fails, which is said once per folder.

    Unlike a result it is not forced to the disk: what a power cut tears is noticed on reading.
    """
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
