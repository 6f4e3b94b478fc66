"""Videos that a user names: files, parts of files, and arrays of frames, through the published pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from mmaction.registry import TRANSFORMS
from numpy.typing import NDArray

from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw
from harness.engine.video.decode import Undecodable
from harness.engine.video.exact_reader import SequentialVideo
from harness.engine.video.guarded_loader import GuardedLoader
from harness.engine.video.loaders import workers_of
from harness.engine.video.part_of_clip import Reader
from harness.engine.video.transforms import PackedClip
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views
from harness.spec.parts import WHOLE, Part, VideoLength

SAMPLERS = ("SampleFrames", "HarnessSampleViews")


class FrameArray:
    """An array of frames with the part of decord's interface that mmaction2's transforms use.

    Args:
        frames: (N, H, W, 3) uint8 RGB.
        rate: Frames per second; 0 if unknown.
    """

    def __init__(self, frames: NDArray[np.uint8], rate: float = 0.0) -> None:
        self.frames, self.rate = frames, rate

    def __len__(self) -> int:
        return len(self.frames)

    def __deepcopy__(self, memo: dict[int, FrameArray]) -> FrameArray:
        return self  # mmengine copies the entry of a clip before each decoding

    def get_avg_fps(self) -> float:
        """Return the frames per second."""
        return self.rate

    def get_batch(self, indices: NDArray[np.int64]) -> _Batch:
        """Return the frames of the indices; `.asnumpy()` of the result gives (N, H, W, 3) uint8."""
        return _Batch(self.frames[np.asarray(indices)])


class _Batch:
    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array

    def asnumpy(self) -> NDArray[np.uint8]:
        """Return the frames."""
        return self._array


@dataclass(frozen=True)
class OwnClip:
    """A video or a part of a video.

    Args:
        video: The file; for an array of frames a name for messages.
        part: The part.
        frames: The frames of an array; None for a file.
    """

    video: Path
    part: Part = WHOLE
    frames: FrameArray | None = None

    @property
    def file(self) -> Path | None:
        """The absolute path of a file, because decode processes may have another working directory; None: an array."""
        return self.video.absolute() if self.frames is None else None


class _OwnInfo(mm_pipeline.DataInfo):
    part: Part
    frames: FrameArray | None


class _Opened(TypedDict, total=False):
    """Entries of the dictionary of mmaction2's transforms that `OwnInit` uses."""

    filename: str
    frames: FrameArray | None
    video_reader: Reader
    total_frames: int


@TRANSFORMS.register_module(name="HarnessOwnInit", force=True)
class OwnInit:
    """Opens a file with a reader, or takes the frames of an array.

    The last file stays open, because windows of one video follow each other and the reader `exact` decodes a file when
    it opens it.

    Args:
        reader: `decord` or `exact`.
    """

    def __init__(self, reader: str) -> None:
        self.reader = reader
        self._last: tuple[str, Reader] | None = None

    def __call__(self, results: _Opened) -> _Opened:
        """Add `video_reader` and `total_frames`."""
        name, frames = results["filename"], results.get("frames")
        if self._last is None or self._last[0] != name or frames is not None:
            self.close()  # before the next file is open, too: decoded frames take memory
            self._last = name, _opened(name, self.reader, frames)
        results["video_reader"] = self._last[1]
        results["total_frames"] = len(results["video_reader"])
        return results

    def close(self) -> None:
        """Close the open file."""
        if self._last is not None and isinstance(self._last[1], SequentialVideo):
            self._last[1].close()
        self._last = None


def _opened(filename: str, reader: str, frames: FrameArray | None = None) -> Reader:
    if frames is not None:
        return frames
    opener = mm_pipeline.HarnessDecordInit() if reader == "decord" else mm_pipeline.HarnessExactInit()
    opened: Reader = opener._get_video_reader(filename)
    return opened


class OwnClips(mm_pipeline.ListVideoDataset):
    """Clips of the user by `Draw`, decoded as an eval decodes them.

    Args:
        clips: The clips.
        views: The views.
        size: Side of the square input in pixels.
        seed: Seed of views that are drawn at random.
    """

    def __init__(self, clips: Sequence[OwnClip], views: Views, size: int, seed: int) -> None:
        self.clips = clips
        super().__init__([(clip.video, 0) for clip in clips], _pipeline(views, size), seed)

    def load_data_list(self) -> list[_OwnInfo]:
        """Return the clips in mmaction2's format."""
        return [_OwnInfo(filename=str(clip.file), label=0, part=clip.part, frames=clip.frames) for clip in self.clips]

    def video(self, draw: Draw) -> Path | None:
        """Return the file of a draw; None for an array of frames."""
        return self.clips[draw.index].file

    def __getitem__(self, draw: Draw) -> PackedClip:
        try:
            return self.packed(draw)
        except BaseException:
            self.pipeline.transforms[0].close()  # a second attempt opens the file anew
            raise


def _pipeline(views: Views, size: int) -> list[mm_pipeline.Step]:
    """The published evaluation pipeline with another opening, and sampling from a part of the video."""
    steps = mm_pipeline.eval_pipeline(views, size)
    at = next(i for i, step in enumerate(steps) if step["type"] in SAMPLERS)
    own: mm_pipeline.Step = dict(type="HarnessOwnInit", reader=views.reader)
    return [own, dict(type="HarnessCutPart"), steps[at], dict(type="HarnessShiftToPart"), *steps[at + 1 :]]


class _Lengths:
    """The lengths of videos by `Draw`."""

    def __init__(self, clips: Sequence[OwnClip], reader: str) -> None:
        self.clips, self.reader = clips, reader

    def video(self, draw: Draw) -> Path | None:
        return self.clips[draw.index].file

    def __getitem__(self, draw: Draw) -> VideoLength:
        clip = self.clips[draw.index]
        opened = _opened(str(clip.file), self.reader, clip.frames)
        return VideoLength(len(opened), float(opened.get_avg_fps()))


def video_lengths(clips: Sequence[OwnClip], reader: str, compute: ComputeOptions) -> list[VideoLength | Undecodable]:
    """The lengths of videos, read in guarded processes: a file may crash a decoder.

    Args:
        clips: The videos; their parts do not matter.
        reader: `decord` or `exact`, which decodes the whole file to count its frames.
        compute: Number of workers and time limit.

    Raises:
        MachineFaultError: A file could not be read.
    """
    draws = [[Draw(index)] for index in range(len(clips))]
    loader: GuardedLoader[VideoLength, VideoLength | Undecodable] = GuardedLoader(
        _Lengths(clips, reader), draws, lambda _, lengths: lengths[0], workers_of(compute), compute.decode_seconds
    )
    return list(loader)
