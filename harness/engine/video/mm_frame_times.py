"""The times of the frames that an eval samples from a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmaction.registry import TRANSFORMS

from harness.engine.video import mm_pipeline
from harness.engine.video.decode import Undecodable
from harness.engine.video.mm_own_clips import SAMPLERS, FrameArray, OwnClip, video_lengths
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views


def frame_times(video: Path, views: Views, size: int, compute: ComputeOptions) -> tuple[str, ...]:
    """Return the time of each sampled frame as text, e.g. `0.40 s`; its number where the file states no frame rate.

    Args:
        video: A file that can be decoded.
        views: The views of the eval.
        size: Side of the square input in pixels.
        compute: Number of workers and time limit.
    """
    (length,) = video_lengths([OwnClip(video)], views.reader, compute)
    if isinstance(length, Undecodable):
        return ()
    step = next(step for step in mm_pipeline.eval_pipeline(views, size) if step["type"] in SAMPLERS)
    # The sampler of the pipeline itself, because its rules have several special cases for short videos.
    reader = FrameArray(np.empty((0, 1, 1, 3), np.uint8), length.rate)
    clip = {"total_frames": length.frames, "start_index": 0, "video_reader": reader}
    indices = TRANSFORMS.build(step)(clip)["frame_inds"]
    return tuple(f"{index / length.rate:.2f} s" if length.rate > 0 else f"frame {index}" for index in indices.tolist())
