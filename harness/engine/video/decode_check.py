"""Check whether decord's random access returns the frames of a sequential decode, clip by clip.

The published reader takes frames by decord's `get_batch`, which on some files (all original HMDB-51 clips that were
checked) returns other frames than a sequential decode. See docs/datasets.md. This module imports neither torch nor
mmaction2, because each check runs in a new process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from harness.data.files.frame_folder import FrameFolderError, frame_files
from harness.data.reader_check import DecodeCheck
from harness.engine.video.decord_reader import DecordCannotReadError, explained, open_decord
from harness.engine.video.exact_reader import SequentialVideo
from harness.engine.video.local_file import NotAVideoError
from harness.engine.video.video_bytes import fault_of, read_through

FRAMES = 32
# Two builds of the decoder may round differently by one grey level; another frame differs by far more somewhere.
_ROUNDING = 2
_BLOCK, _BLOCK_ROUNDING = 8, 6.0


def centre_indices(total: int, frames: int = FRAMES) -> list[int]:
    """Return the published frame indices of one view: floor(i N / T + N / 2T) for i < T = `frames`, N = `total`."""
    return [(2 * i + 1) * total // (2 * frames) for i in range(frames)]


def compare_readers(file: Path, frames: int = FRAMES) -> DecodeCheck:
    """Compare decord's `get_batch` at the published indices with the same frames of the reader `exact`.

    Both readers read a folder of frames in the same way: only its files are checked.
    """
    try:
        if file.is_dir():
            count = len(frame_files(file))
            return DecodeCheck(0, count, count)
        read_through(file)
    except FrameFolderError as error:
        return DecodeCheck(problem=str(error))
    except OSError as error:  # a decoder would blame the file for a fault of the disk
        return DecodeCheck(problem=fault_of(error).reason)
    try:
        video = SequentialVideo(str(file))
    except Exception as error:  # PyAV raises many classes, some of them not its own
        return DecodeCheck(problem=_reason("sequential", error))
    decoded = DecodeCheck(decoded=len(video), skipped=video.skipped)
    try:
        reader = open_decord(file)
        declared = len(reader)
        indices = centre_indices(declared, frames)
        with explained(file):
            batch = reader.get_batch(indices).asnumpy()
    except Exception as error:  # decord raises RuntimeError and a class of its own; all mean that it cannot read
        return replace(decoded, problem=_reason("decord", error))
    within = [index for index in indices if index < len(video)]
    wrong = len(indices) - len(within)
    if within:  # indices ascend, so that frames beyond the end come last
        expected = video.get_batch(np.array(within)).asnumpy()
        wrong += sum(_differ(a, b, video.scales_chroma) for a, b in zip(expected, batch, strict=False))
    return replace(decoded, wrong=wrong, declared=declared)


def _differ(expected: NDArray[np.uint8], frame: NDArray[np.uint8], scales_chroma: bool) -> bool:
    """Whether an image is another frame than expected.

    Where chroma planes are scaled, the builds of FFmpeg in decord and PyAV place chroma samples differently, which
    changes single pixels at coloured edges by more than half of the range. The mean luminance of blocks hardly changes.
    """
    if expected.shape != frame.shape:
        return True
    if not scales_chroma:
        return int(np.abs(expected.astype(np.int16) - frame.astype(np.int16)).max()) > _ROUNDING
    return float(np.abs(_block_luminance(expected) - _block_luminance(frame)).max()) > _BLOCK_ROUNDING


def _block_luminance(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean luminance (ITU-R 601) of blocks of 8 x 8 pixels; the last rows and columns may be left out."""
    luminance = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    rows, columns = (max(side // _BLOCK, 1) for side in luminance.shape)
    high, wide = (min(side, _BLOCK) for side in luminance.shape)
    cut = luminance[: rows * high, : columns * wide]
    return np.asarray(cut.reshape(rows, high, columns, wide).mean(axis=(1, 3)))


def _reason(reader: str, error: Exception) -> str:
    lines = str(error).strip().splitlines()
    line = lines[0][:200] if lines else type(error).__name__
    return line if isinstance(error, (NotAVideoError, DecordCannotReadError)) else f"{reader}: {line}"


class DecodeWorker:
    """A child process that compares clips: a file that crashes or hangs a decoder does not end the check.

    Use it as a context manager. The process starts with the first clip, and again after a crash.

    Args:
        timeout_s: Longest time of a clip in seconds.
    """

    def __init__(self, timeout_s: float = 60.0) -> None:
        self._timeout = timeout_s
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> DecodeWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def check(self, file: Path) -> DecodeCheck:
        """Return the comparison of a clip; a crash or an overrun of the child process is its `problem`."""
        if self._process is None or self._pipe is None:
            # spawn: the caller may have threads, and the child imports only decord, PyAV and NumPy.
            context = multiprocessing.get_context("spawn")
            self._pipe, child = context.Pipe()
            self._process = context.Process(target=_serve, args=(child,), daemon=True)
            self._process.start()
            child.close()
        try:
            self._pipe.send(file)
            if not self._pipe.poll(self._timeout):
                self._stop()
                return DecodeCheck(problem=f"no answer after {self._timeout:g} s")
            answer: DecodeCheck = self._pipe.recv()
            return answer
        except (EOFError, OSError):
            self._stop()
            return DecodeCheck(problem="the decoder crashed")

    def _stop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None


def _serve(pipe: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(compare_readers(pipe.recv()))
