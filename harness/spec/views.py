"""Views: frames x temporal clips x spatial crops, sampling and input statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.base.errors import UserError
from harness.spec.dense import DENSE_RULES, DenseSampling, dense_sampling
from harness.spec.later import later
from harness.spec.segments import SEGMENT_RULES


@dataclass(frozen=True)
class InputSettings:
    """The input that a vision tower expects: statistics and resizing of frames. Empty if `Views.normalize` names them.

    Args:
        mean, std: Mean and standard deviation of RGB in 0..1.
        resize: `shortest` (the short side becomes the side of the input, then centre crop), `squash` (the whole frame
            becomes a square), or `longest` (the long side becomes the side of the input, then black bars).
        interpolation: `bicubic` or `bilinear`, with antialiasing as in Pillow.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: str = ""
    interpolation: str = ""

    def __str__(self) -> str:
        mean, std = (",".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"mean {mean}, std {std}, resize {self.resize}, {self.interpolation}"


NO_INPUT = InputSettings()
# Constants, because a board of ten thousand records makes forty thousand views.
_CROPS = (1, 3)
_SAMPLINGS = ("centre", "random", "uniform")
_STATISTICS = ("imagenet", "clip", "model", "raw")
_READERS = ("decord", "exact")
_SQUASHES = ("squash", "squash_antialias", "squash_bilinear")
_RESIZES = ("published", "input", "slowfast", "floats", "floats_bicubic", "pillow", "pillow_input", *_SQUASHES)
COMBINATIONS = ("probabilities", "logits")


@dataclass(frozen=True)
class Views:
    """The parts of a video that a model sees: frames x temporal clips x spatial crops, and their sampling.

    Args:
        frames: Frames per view.
        clips: Temporal views.
        crops: Spatial crops, 1 (centre) or 3 (left, right, middle).
        sampling: `centre` (single view), for several clips `random` (published: the training sampler, drawn from a
            recorded seed) or `uniform` (deterministic, interleaved). `dense:N`: every N-th frame, in evaluation clips
            that are evenly spaced over the video, in training one clip with a random start; further rules of dense
            sampling are in `harness.spec.dense`. `segments` and its variants in `harness.spec.segments`: one frame of
            each of T equal segments, in training a random one.
        normalize: `imagenet` (published for ViFi-CLIP and X-CLIP) or `clip`; `model`: the statistics and the resizing
            that the weights were trained with; `raw`, for methods with their own model and statistics: 0..255 as
            decoded.
        reader: `decord` (published: random access) or `exact` (frames equal to a sequential decode).
        input: The settings of `normalize=model`, which the harness takes from the weights; otherwise empty.
        resize: Resizing before the crops of an eval: `published` (short side 256/224 of the input for one crop, the
            side of the input for three), `input` (the side of the input for one crop too), `slowfast`, `floats` and
            `floats_bicubic` (the side of the input, without rounding to grey levels), `pillow` and `pillow_input` (as
            `published` and `input`, bicubic with antialiasing), or `squash` and its variants (the whole frame becomes
            a square). Fits take their augmentation instead.
        combine: Combination of the views of a video: `probabilities` (published: the mean of the softmax) or `logits`
            (the softmax of the mean, as in Open-VCLIP and FROSTER).
    """

    frames: int = 32
    clips: int = 1
    crops: int = 1
    sampling: str = "centre"
    normalize: str = "imagenet"
    reader: str = "decord"
    input: InputSettings = NO_INPUT
    resize: str = later(_RESIZES[0])
    combine: str = later(COMBINATIONS[0])

    def __post_init__(self) -> None:
        if self.crops not in _CROPS:
            self._refuse("crops", _CROPS)
        if self.sampling not in (*_SAMPLINGS, *SEGMENT_RULES) and self.dense is None:
            self._refuse("sampling", _allowed_samplings())
        if self.normalize not in _STATISTICS:
            self._refuse("normalize", _STATISTICS)
        if self.reader not in _READERS:
            self._refuse("reader", _READERS)
        if self.resize not in _RESIZES:
            self._refuse("resize", _RESIZES)
        if self.combine not in COMBINATIONS:
            self._refuse("combine", COMBINATIONS)
        if self.resize != _RESIZES[0] and self.normalize == "model":
            raise UserError(
                f"views.resize is {self.resize!r} with normalize=model, which takes the resizing of the weights; "
                f"expected {_RESIZES[0]!r}.",
                "Leave resize out, or name other statistics: --views normalize=clip.",
            )
        if self.crops == 3 and self.resize in _SQUASHES:
            raise UserError(
                f"views.resize is {self.resize!r} with three crops, but a squashed frame is one square.",
                "Set --views crops=1.",
            )
        if self.frames < 1 or self.clips < 1:
            raise UserError(f"views need at least one frame and one clip, found {self.frames} x {self.clips}.")
        if self.clips > 1 and self.sampling == "centre":
            several = ", ".join(rule for rule in _allowed_samplings() if rule != "centre")
            raise UserError(
                f"views.sampling is 'centre' with {self.clips} clips, expected one of {several}.",
                "Set --views sampling=random (the published views) or --views clips=1.",
            )

    def _refuse(self, name: str, allowed: tuple[int, ...] | tuple[str, ...]) -> None:
        raise UserError(f"views.{name} is {getattr(self, name)!r}, expected one of {allowed}.")

    @property
    def single(self) -> Views:
        """A single centre view, with the same frames, statistics and reader."""
        spread = replace(self, clips=1, crops=1, sampling="centre")
        return replace(spread, resize=_RESIZES[0], combine=COMBINATIONS[0])

    @property
    def training(self) -> Views:
        """The single view of a training clip: by the rule of a published code, otherwise spread over the video."""
        ruled = self.dense or self.in_segments
        return replace(self.single, sampling=self.sampling) if ruled else self.single

    @property
    def in_segments(self) -> bool:
        """Whether a rule of segments samples the frames."""
        return self.sampling in SEGMENT_RULES

    @property
    def dense(self) -> DenseSampling | None:
        """Rule and stride of dense sampling; None for other sampling."""
        return dense_sampling(self.sampling)

    @property
    def count(self) -> int:
        """Views per video: clips x crops."""
        return self.clips * self.crops

    def __str__(self) -> str:
        """`frames x clips x crops`, then each setting that differs from the published single view: `16x4x3-random`."""
        text = f"{self.frames}x{self.clips}x{self.crops}"
        if self.sampling != "centre":
            text += f"-{self.sampling}"
        if self.normalize != "imagenet":
            text += f"-{self.normalize}norm"
        if self.reader != "decord":
            text += f"-{self.reader}"
        if self.resize != _RESIZES[0]:
            text += f"-{self.resize}size"
        if self.combine != COMBINATIONS[0]:
            text += f"-{self.combine}"
        return text


def _allowed_samplings() -> tuple[str, ...]:
    return (*_SAMPLINGS, *SEGMENT_RULES, *(f"{rule}:N" for rule in DENSE_RULES))
