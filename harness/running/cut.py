"""The clips of the videos that a user names: whole videos, one part of each, or sliding windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.data.files.frame_folder import is_frame_folder
from harness.engine.video.decode import Undecodable
from harness.engine.video.mm_own_clips import FrameArray, OwnClip, video_lengths
from harness.engine.video.video_bytes import MachineFaultError
from harness.machine.compute_options import ComputeOptions
from harness.spec.parts import Cut, VideoLength


@dataclass(frozen=True)
class Refused:
    """A video of which no clip is classified.

    Args:
        video: The file.
        problem: The reason.
        hint: The fix.
    """

    video: Path
    problem: str
    hint: str


def cut_videos(
    videos: Sequence[Path | FrameArray], cut: Cut, reader: str, compute: ComputeOptions
) -> list[OwnClip | Refused]:
    """The clips of videos in order; a video that is not a file or has no such part is refused with the reason.

    Args:
        videos: Files and arrays of frames.
        cut: The parts of each video.
        reader: Reader that counts the frames of a file.
        compute: Number of workers and time limit.
    """
    named = [
        OwnClip(Path(f"array {i}"), frames=video) if isinstance(video, FrameArray) else OwnClip(video)
        for i, video in enumerate(videos, 1)
    ]
    refused = {i: refusal for i, clip in enumerate(named) if (refusal := _not_a_file(clip))}
    lengths = {} if cut.whole else _lengths(named, refused, reader, compute)
    clips: list[OwnClip | Refused] = []
    for i, clip in enumerate(named):
        length = lengths.get(i)
        if i in refused:
            clips.append(refused[i])
        elif length is None:
            clips.append(clip)
        else:
            try:
                clips += [replace(clip, part=part) for part in cut.parts(length)]
            except ValueError as error:
                clips.append(Refused(clip.video, str(error), "Choose a part within the video, or leave it out."))
    return clips


def _lengths(
    clips: Sequence[OwnClip], refused: dict[int, Refused], reader: str, compute: ComputeOptions
) -> dict[int, VideoLength]:
    """The lengths of the clips that are not refused; adds clips whose file cannot be read to `refused`.

    A file that does not decode has no length: it is classified as a whole, which gives the reason.
    """
    left = [i for i in range(len(clips)) if i not in refused]
    if any(clips[i].frames is not None for i in left):
        compute = replace(compute, workers=0)
    while left:
        try:
            lengths = video_lengths([clips[i] for i in left], reader, compute)
        except MachineFaultError as error:
            faulty = [i for i in left if clips[i].file == error.video]
            if not faulty:
                raise
            refused |= {i: Refused(clips[i].video, error.fault.reason, error.fault.hint) for i in faulty}
            left = [i for i in left if i not in refused]
            continue
        return {i: length for i, length in zip(left, lengths, strict=True) if not isinstance(length, Undecodable)}
    return {}


def _not_a_file(clip: OwnClip) -> Refused | None:
    """The refusal of a path that names no regular file, None if it names one."""
    video = clip.video
    if clip.frames is not None or video.is_file() or is_frame_folder(video):
        return None
    if video.exists():  # reading a named pipe would wait for a writer
        return Refused(video, "is not a regular file, expected a video file", "Copy it into a file.")
    return Refused(video, "does not exist", "Correct the path.")
