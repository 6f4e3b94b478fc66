"""Frame indices of one frame in each of T equal segments of a video, as the published codes compute them.

Several clips of an eval are shifted evenly where the code says so, and otherwise interleaved: clip v takes every V-th
index of V * T segments. Random numbers come from NumPy's global generator, which `seeded_draws` seeds for each clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Segments:
    """A video and the number of its segments, which is the number of frames T of a clip."""

    total: int
    count: int


def evaluation_indices(rule: str, segments: Segments, clips: int) -> Indices:
    """Return the frame indices (clips, T) of the clips of an eval.

    Args:
        rule: One of `SEGMENT_RULES`.
        segments: The video and the frames of a clip.
        clips: Number of clips.
    """
    if rule == "segments_mote":
        return _first_frames(segments, clips)
    together = _EVALUATION[rule](Segments(segments.total, segments.count * clips))
    return np.stack([together[clip::clips] for clip in range(clips)])


def training_indices(rule: str, segments: Segments) -> Indices:
    """Return the frame indices (T,) of a training clip: a random frame of each segment.

    Args:
        rule: One of `SEGMENT_RULES`.
        segments: The video and the frames of a clip.
    """
    return _TRAINING[rule](segments)


# --- ST-Adapter, AIM, Vita-CLIP and MoTE


def _shared_borders(segments: Segments) -> Indices:
    """Return the T + 1 borders, from the first to the last frame; a border belongs to both of its segments."""
    step = (segments.total - 1) / segments.count
    return np.round(np.arange(segments.count + 1) * step).astype(np.int64)


def _middle(segments: Segments) -> Indices:
    borders = _shared_borders(segments)
    return (borders[:-1] + borders[1:]) // 2


def _drawn(segments: Segments) -> Indices:
    pairs = pairwise(_shared_borders(segments).tolist())
    # One call per segment, because an array of bounds would use the generator in another way than the original.
    return np.array([np.random.randint(first, last + 1) for first, last in pairs], dtype=np.int64)


def _first_frames(segments: Segments, clips: int) -> Indices:
    step = segments.total / segments.count
    # Below T frames the last shifts are -1: the sum is rounded towards 0, and its first index wraps around the video.
    shifts = np.floor(np.linspace(0, step - 1, clips))[:, None]
    wrapped: Indices = np.mod((shifts + np.arange(segments.count) * step).astype(np.int64), segments.total)
    return wrapped


# --- ActionCLIP and EZ-CLIP


def _ticks(segments: Segments) -> Indices:
    return np.arange(segments.count + 1, dtype=np.int64) * segments.total // segments.count


def _tick_middle(segments: Segments) -> Indices:
    if segments.total <= segments.count:
        return _ticks(segments)[:-1]
    step = segments.total / segments.count
    return (np.arange(segments.count) * segments.total / segments.count + (step - 1) / 2).astype(np.int64)


def _tick_drawn(segments: Segments) -> Indices:
    total, count = segments.total, segments.count
    if total <= count:  # each frame once, and further frames at random
        repeated = np.random.randint(total, size=count - total)
        return np.sort(np.concatenate([np.arange(total), repeated])).astype(np.int64)
    ticks = _ticks(segments)
    return np.array(
        [tick + np.random.randint(length) for tick, length in zip(ticks[:-1], np.diff(ticks), strict=True)],
        dtype=np.int64,
    )


# --- ViCLIP


def _whole_borders(segments: Segments) -> Indices:
    """Return borders that are frames, at most one segment per frame of the video."""
    count = min(segments.total, segments.count)
    return np.linspace(0, segments.total, count + 1).astype(np.int64)


def _filled(indices: Indices, count: int) -> Indices:
    """Return T indices, of which those of a short video repeat the last one."""
    return np.pad(indices, (0, count - len(indices)), mode="edge")


def _before_middle(segments: Segments) -> Indices:
    borders = _whole_borders(segments)
    return _filled((borders[:-1] + borders[1:] - 1) // 2, segments.count)


def _before_end_drawn(segments: Segments) -> Indices:
    pairs = pairwise(_whole_borders(segments).tolist())
    # The original excludes the last frame of a segment, and refuses segments of one frame.
    drawn = [first + np.random.randint(max(last - first - 1, 1)) for first, last in pairs]
    return _filled(np.array(drawn, dtype=np.int64), segments.count)


_EVALUATION: dict[str, Callable[[Segments], Indices]] = {
    "segments": _middle, "segments_actionclip": _tick_middle, "segments_viclip": _before_middle
}  # fmt: skip
_TRAINING: dict[str, Callable[[Segments], Indices]] = {
    "segments": _drawn, "segments_mote": _drawn, "segments_actionclip": _tick_drawn,
    "segments_viclip": _before_end_drawn,
}  # fmt: skip
