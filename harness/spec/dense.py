"""Sampling of dense clips: every N-th frame of a part of a video, under the rule of one of the published codes."""

from __future__ import annotations

from dataclasses import dataclass

DENSE_RULES = ("dense", "dense_hold", "dense_mid", "slowfast", "slowfast_tv", "motionformer")
"""Rules of dense sampling; a value of `Views.sampling` is a rule, a colon and the stride, such as `dense:16`.

    dense        mmaction2: the first and the last evaluation clip touch the ends; short videos start again
    dense_hold   ST-Adapter: as `dense`; short videos repeat their last frame
    dense_mid    mmaction2 0.x (AIM): evaluation clips are centred in equal parts of the video
    slowfast     SlowFast with the PyAV reader (Open-VCLIP, FROSTER): stride at 30 frames per second
    slowfast_tv  SlowFast with the torchvision reader (Open-VCLIP on HMDB-51): stride at 30 frames per second
    motionformer Motionformer, as `slowfast` with all T strides of a clip; stride at 30 frames per second
"""


@dataclass(frozen=True)
class DenseSampling:
    """A rule of dense sampling and its stride in frames."""

    rule: str
    stride: int

    @property
    def needs_rate(self) -> bool:
        """Whether the stride refers to a video of 30 frames per second, so that the frame rate is needed."""
        return self.rule.startswith(("slowfast", "motionformer"))


def dense_sampling(sampling: str) -> DenseSampling | None:
    """The rule and the stride of a value of `Views.sampling`; None for sampling that is not dense."""
    rule, _, stride = sampling.partition(":")
    if rule not in DENSE_RULES or not stride.isdecimal() or int(stride) < 1:
        return None
    return DenseSampling(rule, int(stride))
