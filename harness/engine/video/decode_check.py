"""Check whether decord's random access returns the frames of a sequential decode, clip by clip.

The published reader takes frames by decord's `get_batch`, which on some files (all original HMDB-51 clips that were
checked) returns other frames than a sequential decode. See docs/datasets.md. This module imports neither torch nor
mmaction2, because each check runs in a new process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from harness.data.check import DecodeCheck
from harness.engine.video.video_bytes import fault_of, read_through

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FRAMES = 32
# Two builds of the decoder may round differently by one grey level; another frame differs by far more somewhere.
_ROUNDING = 2


def centre_indices(total: int, frames: int = FRAMES) -> list[int]:
    """Return the published frame indices of one view: floor(i N / T + N / 2T) for i < T = `frames`, N = `total`."""
    return [(2 * i + 1) * total // (2 * frames) for i in range(frames)]


def compare_readers(file: Path, frames: int = FRAMES) -> DecodeCheck:
    """Compare decord's `get_batch` at the published indices with the same frames of a sequential decode by PyAV."""
    import decord
    import numpy as np

    try:
        read_through(file)
    except OSError as error:  # a decoder would blame the file for a fault of the disk
        return DecodeCheck(problem=fault_of(error).reason)
    try:
        reader = decord.VideoReader(str(file.absolute()), num_threads=1)
        declared = len(reader)
        indices = centre_indices(declared, frames)
        batch = reader.get_batch(indices).asnumpy()
    except Exception as error:  # decord raises RuntimeError and a class of its own; all mean that it cannot read
        return DecodeCheck(problem=f"decord: {_first_line(error)}")
    try:
        kept, decoded = _sequential(file, set(indices))
    except Exception as error:  # PyAV raises many classes, some of them not its own
        return DecodeCheck(declared=declared, problem=f"sequential: {_first_line(error)}")
    wrong = 0
    for index, frame in zip(indices, batch, strict=True):
        expected = kept.get(index)
        if expected is None or expected.shape != frame.shape:
            wrong += 1
        else:
            wrong += int(np.abs(expected.astype(np.int16) - frame.astype(np.int16)).max()) > _ROUNDING
    return DecodeCheck(wrong, declared, decoded)


def _sequential(file: Path, wanted: set[int]) -> tuple[dict[int, NDArray[np.uint8]], int]:
    """Return the wanted frames, (H, W, 3) RGB uint8 by index, and the number of all frames."""
    import av
    import numpy as np

    kept: dict[int, NDArray[np.uint8]] = {}
    count = 0
    with av.open(str(file.absolute()), metadata_errors="ignore") as container:
        for frame in container.decode(video=0):
            if count in wanted:
                kept[count] = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            count += 1
    return kept, count


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


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
