"""Frame indices of dense clips, as the published codes compute them.

A dense clip holds T frames at a fixed distance. In training the clip starts at random, in evaluation the clips are
spaced evenly. Random numbers come from NumPy's global generator, which `seeded_draws` seeds for each clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from harness.spec.dense import DenseSampling

Indices = NDArray[np.int64]
RATE = 30
"""Frames per second to which the stride of the SlowFast code refers."""
TICKS = 512
"""Time stamps per frame of an MP4 file of 30 frames per second; the SlowFast code rounds a start down to a stamp."""


@dataclass(frozen=True)
class DenseClip:
    """A video and the clips that are taken from it.

    Args:
        total: Frames of the video.
        frames: Frames T of a clip.
        stride: Distance of two frames; of a video of 30 frames per second with the rules of SlowFast.
        rate: Frames per second of the video; only the rules of SlowFast use it.
    """

    total: int
    frames: int
    stride: int
    rate: float = float(RATE)

    @property
    def room(self) -> int:
        """Largest start of a clip that ends inside the video; 0 for a video that is too short."""
        return max(self.total - ((self.frames - 1) * self.stride + 1), 0)

    def at(self, starts: Indices) -> Indices:
        """Indices (len(starts), T) of clips from their starts, which may exceed the video."""
        strided: Indices = starts[:, None].astype(np.int64) + np.arange(self.frames) * self.stride
        return strided

    def wrapped(self, starts: Indices) -> Indices:
        """Indices (len(starts), T) of clips, which go on at the first frame behind the last."""
        modulo: Indices = np.mod(self.at(starts), self.total)
        return modulo


def evaluation_indices(sampling: DenseSampling, clip: DenseClip, clips: int) -> Indices:
    """Return the frame indices (clips, T) of evenly spaced clips.

    Args:
        sampling: Rule of the published code.
        clip: The video and the size of a clip.
        clips: Number of clips.
    """
    return _EVALUATION[sampling.rule](clip, clips)


def training_indices(sampling: DenseSampling, clip: DenseClip) -> Indices:
    """Return the frame indices (T,) of a clip with a random start.

    Args:
        sampling: Rule of the published code.
        clip: The video and the size of a clip.
    """
    return _TRAINING[sampling.rule](clip)


# --- mmaction2 and ST-Adapter


def _spaced(clip: DenseClip, clips: int) -> Indices:
    """Starts from 0 to the last possible start; the middle for a single clip."""
    if clips == 1:
        return np.array([clip.room // 2])
    return np.round(np.arange(clips) * (clip.room / (clips - 1))).astype(np.int64)


def _dense(clip: DenseClip, clips: int) -> Indices:
    return clip.wrapped(_spaced(clip, clips))


def _dense_train(clip: DenseClip) -> Indices:
    return clip.wrapped(np.array([np.random.randint(clip.room + 1)])).reshape(-1)


def _hold(clip: DenseClip, clips: int) -> Indices:
    # The original pads the video with its last frame before it samples.
    return np.minimum(clip.at(_spaced(clip, clips)), clip.total - 1)


def _hold_train(clip: DenseClip) -> Indices:
    span = (clip.frames - 1) * clip.stride + 1
    if clip.total < span:  # the last frame on the grid is repeated, not the last frame of the video
        return np.minimum(np.arange(clip.frames), (clip.total - 1) // clip.stride).astype(np.int64) * clip.stride
    return clip.at(np.array([np.random.randint(clip.total - span + 1)])).reshape(-1)


def _mid(clip: DenseClip, clips: int) -> Indices:
    part = (clip.total - clip.frames * clip.stride + 1) / clips
    starts = (np.arange(clips) * part + part / 2).astype(np.int64) if part > 0 else np.zeros(clips, np.int64)
    return clip.wrapped(starts)


def _mid_train(clip: DenseClip) -> Indices:
    room = clip.total - clip.frames * clip.stride + 1
    start = np.random.randint(room) if room > 0 else 0
    return clip.wrapped(np.array([start])).reshape(-1)


# --- SlowFast


def _slowfast_span(clip: DenseClip) -> int:
    """Frames between start and end of a clip of the PyAV reader, both included."""
    # (T - 1) strides, although T strides are sampled from the clip below: the last index is clamped.
    return max(1, math.ceil(clip.stride * (clip.frames - 1) / RATE * clip.rate))


def _full_span(clip: DenseClip) -> float:
    """Frames of a clip of T strides."""
    return clip.frames * clip.stride / RATE * clip.rate


def _first_frame(start: Fraction | float) -> int:
    """The first frame whose time stamp is not before a start in frames."""
    return math.ceil(Fraction(math.floor(start * TICKS), TICKS))


def _slowfast_at(clip: DenseClip, start: Fraction | float, span: float | None = None) -> Indices:
    """Indices of a clip: frames from the start to one frame behind the end are decoded, T of them are taken."""
    first = _first_frame(start)
    last = min(math.floor(start + (span or _slowfast_span(clip)) - 1) + 1, clip.total - 1)
    taken = np.linspace(0, clip.frames * clip.stride / RATE * clip.rate - 1, clip.frames)
    return first + np.clip(taken, 0, max(last - first, 0)).astype(np.int64)


def _slowfast(clip: DenseClip, clips: int) -> Indices:
    # Starts at 0, 1/V, 2/V of the room: the end of a long video is never seen.
    room = max(clip.total - _slowfast_span(clip), 0)
    return np.stack([_slowfast_at(clip, Fraction(room * i, clips)) for i in range(clips)])


def _slowfast_train(clip: DenseClip) -> Indices:
    room = max(clip.total - _slowfast_span(clip), 0)
    return _slowfast_at(clip, room * float(np.random.random()))


def _motionformer(clip: DenseClip, clips: int) -> Indices:
    # Its SlowFast code takes T strides as the length of a clip and does not round it.
    span = _full_span(clip)
    room = max(clip.total - span, 0.0)
    return np.stack([_slowfast_at(clip, room * i / clips, span) for i in range(clips)])


def _motionformer_train(clip: DenseClip) -> Indices:
    span = _full_span(clip)
    return _slowfast_at(clip, max(clip.total - span, 0.0) * float(np.random.random()), span)


def _torchvision_at(clip: DenseClip, start: float, span: float) -> Indices:
    # The original decodes a part of the video only if the video is longer than T strides.
    whole = clip.total <= clip.frames * clip.stride
    first = 0 if whole else _first_frame(start)
    last = clip.total - 1 if whole else min(math.floor(start + span - 1), clip.total - 1)
    begin = start if whole else 0.0
    taken = np.linspace(begin, begin + span - 1, clip.frames)
    return first + np.clip(taken, 0, last - first).astype(np.int64)


def _torchvision(clip: DenseClip, clips: int) -> Indices:
    span = _full_span(clip)
    room = max(clip.total - span, 0.0)
    starts = [i * math.floor(room / (clips - 1)) for i in range(clips)] if clips > 1 else [math.floor(room / 2)]
    return np.stack([_torchvision_at(clip, start, span) for start in starts])


def _torchvision_train(clip: DenseClip) -> Indices:
    span = _full_span(clip)
    return _torchvision_at(clip, max(clip.total - span, 0.0) * float(np.random.random()), span)


_EVALUATION: dict[str, Callable[[DenseClip, int], Indices]] = {
    "dense": _dense, "dense_hold": _hold, "dense_mid": _mid, "slowfast": _slowfast, "slowfast_tv": _torchvision,
    "motionformer": _motionformer,
}  # fmt: skip
_TRAINING: dict[str, Callable[[DenseClip], Indices]] = {
    "dense": _dense_train, "dense_hold": _hold_train, "dense_mid": _mid_train, "slowfast": _slowfast_train,
    "slowfast_tv": _torchvision_train, "motionformer": _motionformer_train,
}  # fmt: skip
