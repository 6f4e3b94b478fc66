"""Configs of mmaction2's recognisers: the facts that planning needs, read before a model is built."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import UserError

if TYPE_CHECKING:
    from harness.engine.video.mm_configs import ConfigFile, ModelConfig, Step


RANDOM = "random"
"""Checkpoint of a recogniser without weights."""


@dataclass(frozen=True)
class Short:
    """A short name: a config that mmaction2 ships, and the changes to it.

    Args:
        config: Stem of the config's file.
        frames: Frames of a clip and of the model's table of positions; None for the config's own number.
        stride: Distance of two frames; None for the config's own number.
        clips: Number of temporal views; None for the protocol's number.
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


@dataclass(frozen=True)
class RecognizerConfig:
    """The config of a recogniser.

    Args:
        name: The short name, or the stem of the config's file.
        path: File of the config.
        short: The short name's changes to the config.
    """

    name: str
    path: Path
    short: Short

    @cached_property
    def model(self) -> ModelConfig:
        """The config's model, with the changes of the short name."""
        # The cached config is shared by all models of this process and must not change.
        model = read_cached(self.path)["model"].copy()
        if self.short.frames:
            model["backbone"] = {**model["backbone"], "num_frames": self.short.frames}
        return model

    @cached_property
    def _sampling(self) -> Step:
        steps = [step for step in self._pipeline if "Sample" in str(step.get("type"))]
        known = {"type", "clip_len", "frame_interval", "num_clips", "test_mode", "out_of_bound_opt"}
        if len(steps) != 1 or steps[0]["type"] != "SampleFrames" or set(steps[0]) - known:
            raise UserError(
                f"{self.name} samples frames with {steps}; the harness expects SampleFrames with a fixed interval.",
                "Change the config's test_pipeline to it.",
            )
        return steps[0]

    @cached_property
    def _pipeline(self) -> list[Step]:
        config = read_cached(self.path)
        # Configs of mmaction2 define the pipeline as a variable of its own, or only inside the loader that uses it.
        candidates = (
            config.get("test_pipeline"),
            config.get("test_dataloader", {}).get("dataset", {}).get("pipeline"),
            config.get("val_pipeline"),
            config.get("val_dataloader", {}).get("dataset", {}).get("pipeline"),
        )
        for pipeline in candidates:
            if pipeline:
                return list(pipeline)
        raise UserError(
            f"The config {self.path} has no test_pipeline.", "A test_pipeline states which frames the model takes."
        )

    @property
    def frames(self) -> int:
        """Number of frames of a view: the frames of a clip, or the segments of a 2D recogniser."""
        return self.short.frames or int(self._sampling["clip_len"] if self.is_3d else self._sampling["num_clips"])

    @property
    def stride(self) -> int:
        """Distance of two frames of a clip."""
        return self.short.stride or self._sampling.get("frame_interval", 1)

    @property
    def is_3d(self) -> bool:
        """Whether the recogniser takes clips of successive frames."""
        return int(self._sampling.get("clip_len", 1)) > 1

    @property
    def size(self) -> int:
        """Side of the square input in pixels: the crop of the config's test pipeline."""
        crops = ("CenterCrop", "ThreeCrop", "TenCrop")
        sizes = {step["crop_size"] for step in self._pipeline if step.get("type") in crops}
        if len(sizes) != 1 or not isinstance(size := sizes.pop(), int):
            raise UserError(f"The test pipeline of {self.name} has no square crop (CenterCrop, ThreeCrop or TenCrop).")
        return size

    @property
    def classes(self) -> int:
        """Number of outputs of the head."""
        return int(self.model["cls_head"]["num_classes"])


@lru_cache(maxsize=16)
def read_cached(path: Path) -> ConfigFile:
    """Return the content of a config; cached, because mmengine takes seconds for a config with many bases."""
    from harness.engine.video.mm_configs import read_config

    return read_config(path)
