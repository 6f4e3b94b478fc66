"""Transforms that restrict the sampling of frames to a part of a video."""

from __future__ import annotations

from typing import Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from harness.spec.parts import WHOLE, Part, VideoLength


class Reader(Protocol):
    """The interface of decord's reader that `CutPart` uses."""

    def __len__(self) -> int: ...

    def get_avg_fps(self) -> float:
        """Return the average frames per second."""
        ...


class PartOfClip(TypedDict, total=False):
    """Entries of the dictionary of mmaction2's transforms that these transforms use.

    Keys:
        part: The part to sample from.
        video_reader: The opened video.
        total_frames: Number of frames to sample from.
        first_frame: Number of the first frame of the part.
        frame_inds: Frame indices.
    """

    part: Part
    video_reader: Reader
    total_frames: int
    first_frame: int
    frame_inds: NDArray[np.int64]


class CutPart:
    """Before sampling: the part of the clip is the whole video for the sampler."""

    def __call__(self, results: PartOfClip) -> PartOfClip:
        """Set `total_frames` and `first_frame`."""
        length = VideoLength(results["total_frames"], float(results["video_reader"].get_avg_fps()))
        first, stop = length.frames_of(results.get("part", WHOLE))
        results["first_frame"], results["total_frames"] = first, stop - first
        return results


class ShiftToPart:
    """After sampling: indices count from the first frame of the video again."""

    def __call__(self, results: PartOfClip) -> PartOfClip:
        """Change `frame_inds`."""
        results["frame_inds"] = results["frame_inds"] + results["first_frame"]
        return results
