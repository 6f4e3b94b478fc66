"""Comparison of the frames of decord's random access with those of a sequential decode, clip by clip.

The published reader takes frames by decord's `get_batch`. On some files, all original HMDB-51 clips among them, it
returns different frames than a decode of the file in order. See docs/datasets.md.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FRAMES = 32
# Two builds of the decoder may round differently by one grey level; a different frame differs by far more somewhere.
_ROUNDING = 2


@dataclass(frozen=True)
class DecodeCheck:
    """Result of comparing the two readers on one clip.

    Args:
        wrong: Number of published frame indices at which decord's frame differs from the sequential decode.
        declared: Number of frames that decord declares.
        decoded: Number of frames that a sequential decode gives.
        problem: Why the clip could not be compared, empty otherwise.
    """

    wrong: int = 0
    declared: int = 0
    decoded: int = 0
    problem: str = ""


def centre_indices(total: int, frames: int = FRAMES) -> list[int]:
    """The published single-view frame indices: floor(i N / T + N / 2T), as `frames` integers below `total`."""
    return [(2 * i + 1) * total // (2 * frames) for i in range(frames)]


def compare_readers(file: Path, frames: int = FRAMES) -> DecodeCheck:
    """Compare decord's `get_batch` at the published indices with the same frames of a sequential PyAV decode."""
    # Imported here, because listing datasets must not need a decoder.
    import decord
    import numpy as np

    try:
        reader = decord.VideoReader(str(file), num_threads=1)
        declared = len(reader)
        indices = centre_indices(declared, frames)
        batch: NDArray[np.uint8] = reader.get_batch(indices).asnumpy()
    except Exception as error:  # decord raises bare RuntimeErrors and its own class; each of them is the result
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
    """The wanted frames by index, each (H, W, 3) RGB uint8, and the number of frames of the clip."""
    import av
    import numpy as np

    kept: dict[int, NDArray[np.uint8]] = {}
    count = 0
    with av.open(str(file), metadata_errors="ignore") as container:
        for frame in container.decode(video=0):
            if count in wanted:
                kept[count] = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            count += 1
    return kept, count


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


class DecodeWorker:
    """A child process that compares clips. A file that crashes or hangs a decoder costs one result, not the run.

    Use as a context manager.

    Args:
        timeout_s: Time limit for one clip, in seconds.
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
        """Compare the readers on one clip. A crash or an overrun of the child becomes the `problem` of the result."""
        if self._process is None or self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, child_end = context.Pipe()
            self._process = context.Process(target=_serve, args=(child_end,), daemon=True)
            self._process.start()
            child_end.close()  # so that `recv` fails when the child dies
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
