"""Recognisers of mmaction2 in the place of CLIP: a config and a checkpoint as the model that a method brings along."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.base.canonical import canonical_json
from harness.base.errors import UserError, unknown_name
from harness.base.files import cached_file_sha256
from harness.data.lists.class_names import read_class_names
from harness.engine.model.clip_model import BackboneFacts
from harness.engine.model.weights import read_weights, state_sha256, strict_load
from harness.spec import Views
from results.measurement import ModelId

RANDOM = "random"


@dataclass(frozen=True)
class Short:
    """A short name: a shipped config and what is changed in it.

    Args:
        config: Stem of the config's file.
        frames: Of a clip, and of the model's table of positions; None for the config's own.
        stride: Of the frames; None for the config's own.
        clips: Temporal views; None for the protocol's.
    """

    config: str
    frames: int | None = None
    stride: int | None = None
    clips: int | None = None


SHORT = {
    "uniformer-s-16": Short("uniformer-small_imagenet1k-pre_16x4x1_kinetics400-rgb"),
    "uniformer-b-16": Short("uniformer-base_imagenet1k-pre_16x4x1_kinetics400-rgb"),
    "uniformer-b-32": Short("uniformer-base_imagenet1k-pre_32x4x1_kinetics400-rgb"),
    "swin-t": Short("swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb"),
    "swin-s": Short("swin-small-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb"),
    "swin-b": Short("swin-base-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb"),
    "swin-l": Short("swin-large-p244-w877_in22k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb"),
    "timesformer-8": Short("timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb"),
    # TimeSformer-L: 96 frames at a rate of 1/4 and one temporal clip, Bertasius et al., ICML 2021, section 4.
    "timesformer-96": Short("timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb", frames=96, stride=4, clips=1),
}


class RecognizerModel(nn.Module):
    """A recogniser where methods otherwise have CLIP.

    Attributes:
        recognizer: mmaction2's model, without gradients and in eval mode.
        facts: Name, kind, weights and their hash.
        image_size: Side of the square input in pixels.
        classes: Outputs of its head.
    """

    def __init__(self, recognizer: nn.Module, facts: BackboneFacts, classes: int) -> None:
        super().__init__()
        self.recognizer = recognizer.requires_grad_(False)
        self.facts, self.image_size, self.classes = facts, facts.image_size, classes

    @property
    def visual(self) -> nn.Module:
        """The whole recogniser: there is no other tower."""
        return self.recognizer

    def scores(self, video: Tensor) -> Tensor:
        """Class scores (B, C) before the softmax of videos (B, T, 3, H, W), RGB 0..255."""
        from harness.engine.video.mm_zoo import recognizer_scores

        return recognizer_scores(self.recognizer, video)


@dataclass(frozen=True)
class Recognizer:
    """A recogniser by config and checkpoint, not yet built: what planning needs.

    Args:
        name: The short name, or the stem of the config's file.
        path: The config's file.
        short: What is changed in it.
        checkpoint: A file, or `random`.
    """

    name: str
    path: Path
    short: Short
    checkpoint: str

    is_mini = False

    @cached_property
    def model(self) -> dict[str, Any]:
        """The config's model, with the changes of the short name."""
        model = dict(_config(self.path)["model"])
        if self.short.frames:
            model["backbone"] = {**model["backbone"], "num_frames": self.short.frames}
        return model

    @cached_property
    def _sampling(self) -> dict[str, Any]:
        steps = [step for step in self._pipeline if "Sample" in str(step.get("type"))]
        known = {"type", "clip_len", "frame_interval", "num_clips", "test_mode", "out_of_bound_opt"}
        if len(steps) != 1 or steps[0]["type"] != "SampleFrames" or set(steps[0]) - known:
            raise UserError(
                f"{self.name} samples frames with {steps}; the harness knows SampleFrames with a fixed interval.",
                "Change the config's test_pipeline to it.",
            )
        return steps[0]

    @cached_property
    def _pipeline(self) -> list[dict[str, Any]]:
        config = _config(self.path)
        for name in ("test", "val"):
            loaded = config.get(f"{name}_dataloader", {}).get("dataset", {}).get("pipeline")
            if found := config.get(f"{name}_pipeline") or loaded:
                return list(found)
        raise UserError(f"The config {self.path} has no test_pipeline.", "It says which frames the model was made for.")

    @property
    def frames(self) -> int:
        """Frames of a view: those of a clip, or for a 2D recogniser its segments."""
        return self.short.frames or int(self._sampling["clip_len"] if self.is_3d else self._sampling["num_clips"])

    @property
    def is_3d(self) -> bool:
        """Whether the recogniser takes clips of successive frames."""
        return int(self._sampling.get("clip_len", 1)) > 1

    @property
    def size(self) -> int:
        """Side of the square input in pixels: of the crop of the config's test pipeline."""
        crops = ("CenterCrop", "ThreeCrop", "TenCrop")
        sizes = {step["crop_size"] for step in self._pipeline if step.get("type") in crops}
        if len(sizes) != 1 or not isinstance(size := sizes.pop(), int):
            raise UserError(f"The test pipeline of {self.name} has no square centre or three-crop.")
        return size

    @property
    def classes(self) -> int:
        """Outputs of the head."""
        return int(self.model["cls_head"]["num_classes"])

    def views_of(self, views: Views) -> Views:
        """A protocol's views with this model's frames, as decoded: the model normalises them itself."""
        clips = self.short.clips or views.clips
        if self.is_3d:
            sampling = f"dense:{self.short.stride or self._sampling.get('frame_interval', 1)}"
        else:
            sampling = "centre" if clips == 1 else "uniform"
        return replace(views, frames=self.frames, clips=clips, sampling=sampling, normalize="raw")

    def check_views(self, views: Views) -> None:
        """Refuse views that the model was not made for.

        Raises:
            UserError: Other frames, or frames that are normalised already.
        """
        if views.frames != self.frames or views.normalize != "raw":
            raise UserError(
                f"{self.name} takes {self.frames} frames as decoded (normalize=raw), found {views}.",
                "Leave frames and normalize out of --views.",
            )

    def slug(self) -> str:
        """A folder name."""
        return f"{self.name}-{self.weights_name}"

    @property
    def weights_name(self) -> str:
        """`random`, or the stem of the checkpoint's file."""
        return RANDOM if self.checkpoint == RANDOM else Path(self.checkpoint).stem

    def model_id(self) -> ModelId:
        """The config's content and the checkpoint's, wherever they lie."""
        config = hashlib.sha256(canonical_json([self.model, self.frames, self.size]).encode()).hexdigest()
        if self.checkpoint == RANDOM:
            return ModelId(self.name, RANDOM, config)
        return ModelId(self.name, f"sha256:{cached_file_sha256(Path(self.checkpoint).resolve())}", config)

    def load(self) -> RecognizerModel:
        """The model with its weights; random ones are drawn from seed 0.

        Raises:
            UserError: mmaction2 cannot build it, or the checkpoint is missing, damaged or another model's.
        """
        from harness.engine.video.mm_zoo import build_recognizer

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            recognizer = build_recognizer(self.model)
        if self.checkpoint != RANDOM:
            path = Path(self.checkpoint)
            strict_load(recognizer, _tensors(path), str(path))
        state = state_sha256(dict(recognizer.state_dict()))
        arch = str(self.model["backbone"]["type"])
        weights = RANDOM if self.checkpoint == RANDOM else Path(self.checkpoint).name
        facts = BackboneFacts(f"{self.name}/{self.weights_name}", arch, weights, state, self.size, False)
        return RecognizerModel(recognizer, facts, self.classes)


def find_recognizer(config: str, checkpoint: str) -> Recognizer:
    """The recogniser of a short name, of the stem of a shipped config, or of a config's file.

    Raises:
        UserError: No or an unknown config, one of another kind of model, no checkpoint, or one that is not there.
    """
    from harness.engine.video.mm_zoo import KINDS, shipped_configs, weights_address

    if not config:
        raise UserError(
            "mmaction2 wraps the recogniser of a config, and none is given.",
            f"Give one, e.g. mmaction2:config=uniformer-b-32,checkpoint=FILE. Short names: {', '.join(SHORT)}.",
        )
    short = SHORT.get(config, Short(config))
    path = Path(config) if config.endswith(".py") else shipped_configs().get(short.config)
    if path is None:
        raise unknown_name("recogniser", config, [*SHORT, *shipped_configs()])
    if not path.is_file():
        raise UserError(f"The config {path} does not exist.", f"Short names: {', '.join(SHORT)}.")
    kind = _config(path).get("model", {}).get("type")
    if kind not in KINDS:
        raise UserError(f"The config {path} holds a {kind}, expected one of {', '.join(KINDS)}.")
    if checkpoint != RANDOM and not Path(checkpoint).is_file():
        found = f"the checkpoint {checkpoint} does not exist" if checkpoint else "none is given"
        address = None if short.frames else weights_address(path)
        raise UserError(f"{config} needs the weights of a checkpoint; {found}.", _way_out(config, address))
    return Recognizer(Path(config).stem if config.endswith(".py") else config, path.resolve(), short, checkpoint)


def read_head_classes(path: Path) -> tuple[str, ...]:
    """The names of a head's classes, in the order of its outputs: one a line, or a CSV `id,name`.

    Raises:
        UserError: The file is missing or malformed.
    """
    return read_class_names(path).names


def _way_out(config: str, address: str | None) -> str:
    source = f"Fetch {address}" if address else "mmaction2 offers none for it: use your own"
    given = f"mmaction2:config={config},checkpoint="
    return f"{source}, and give its place: {given}FILE. To run the pipeline without weights: {given}{RANDOM}."


@lru_cache(maxsize=16)
def _config(path: Path) -> dict[str, Any]:
    from harness.engine.video.mm_zoo import read_config

    return read_config(path)


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint of mmengine or of a plain state dict; pickles in it are not run."""
    content, _ = read_weights(path)
    content = content["state_dict"] if isinstance(content.get("state_dict"), dict) else content
    return {name.removeprefix("module."): value for name, value in content.items() if isinstance(value, Tensor)}
