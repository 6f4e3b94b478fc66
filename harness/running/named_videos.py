"""The videos that a script names: files, folders, tables and arrays of frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.base.errors import UserError
from harness.data.files.find_videos import find_videos
from harness.data.files.frame_folder import is_frame_folder
from harness.data.folders.read_clips import read_clips
from harness.engine.video.mm_own_clips import FrameArray, OwnClip

Named = str | Path | NDArray[np.uint8]


def named_videos(videos: Named | Sequence[Named], fps: float = 0.0) -> list[Path | FrameArray]:
    """Video files and arrays of frames, in order.

    Args:
        videos: A path or an array (T, H, W, 3) of uint8, or several of them.
        fps: Frames per second of the arrays; 0 if unknown.

    Raises:
        UserError: A file does not exist, a folder or table holds no video, or an array has another shape or type.
    """
    if isinstance(videos, str | Path) or (isinstance(videos, np.ndarray) and videos.ndim < 5):
        videos = [videos]
    named: list[Path | FrameArray] = []
    for i, video in enumerate(videos, 1):
        if not isinstance(video, str | Path):
            named.append(_frames(video, i, fps))
            continue
        for file in find_videos([Path(video)]):
            if not (file.is_file() or is_frame_folder(file)):
                raise UserError(f"{file} does not exist.", "Give video files or a folder of them.")
            if file not in named:
                named.append(file)
    return named


def labelled_videos(videos: str | Path | Sequence[tuple[Named, str]]) -> list[tuple[OwnClip, str]]:
    """Clips with their class names, in order.

    Args:
        videos: A folder of class folders, a table of path and class, or pairs of a file or an array and a class name.

    Raises:
        UserError: There are no pairs, a file does not exist, or an array has another shape or type.
    """
    if isinstance(videos, str | Path):
        return [(OwnClip(clip.file), clip.label) for clip in read_clips(Path(videos))]
    if not videos:
        raise UserError("videos is empty, expected (file, class name) pairs.", "Example: [('clip.mp4', 'walk')]")
    clips = []
    for i, (video, name) in enumerate(videos, 1):
        if isinstance(video, str | Path):
            clips.append((OwnClip(Path(video)), name))
        else:
            clips.append((OwnClip(Path(f"array {i}"), frames=_frames(video, i, 0.0)), name))
    files = [clip.video for clip, _ in clips if clip.frames is None]
    missing = [file for file in files if not (file.is_file() or is_frame_folder(file))]
    if missing:
        message = f"{len(missing)} of {len(clips)} videos do not exist (first: {missing[0]})."
        raise UserError(message, "Correct the paths.")
    return clips


def _frames(video: NDArray[np.uint8], number: int, fps: float) -> FrameArray:
    array = np.asarray(video)
    if array.ndim != 4 or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
        raise UserError(
            f"Array {number} has shape {array.shape} and type {array.dtype}, expected (T, H, W, 3) and uint8.",
            "Give RGB frames from 0 to 255 with the channels last.",
        )
    return FrameArray(array, fps)
