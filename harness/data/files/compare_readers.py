"""Whether decord's random access yields the frames that a sequential decode yields, clip by clip.

The published reader takes frames by decord's `get_batch`; on some files (all original HMDB-51 clips at hand) it returns
other frames than reading the file in order does. See docs/datasets.md.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

FRAMES = 32
# Two builds of the decoder may round differently by one grey level; another frame differs by far more somewhere.
_ROUNDING = 2


@dataclass(frozen=True)
class DecodeCheck:
    """What the two readers said of one clip.

    Args:
        wrong: Of the published indices, how many frames of decord differ from the sequential decode.
        declared: Frames that decord declares.
        decoded: Frames that a sequential decode gives.
        problem: Why the clip could not be compared, empty otherwise.
    """

    wrong: int = 0
    declared: int = 0
    decoded: int = 0
    problem: str = ""


def centre_indices(total: int, frames: int = FRAMES) -> list[int]:
    """The published single-view frame numbers: floor(i N / T + N / 2T), as `frames` integers below `total`."""
    return [(2 * i + 1) * total // (2 * frames) for i in range(frames)]


def compare_readers(file: Path, frames: int = FRAMES) -> DecodeCheck:
    """Compare decord's `get_batch` at the published indices with a sequential PyAV decode of the same numbers."""
    decord: Any = importlib.import_module("decord")
    np: Any = importlib.import_module("numpy")
    try:
        reader = decord.VideoReader(str(file), num_threads=1)
        declared = len(reader)
        indices = centre_indices(declared, frames)
        batch = reader.get_batch(indices).asnumpy()
    except Exception as error:  # decord raises bare RuntimeErrors and its own class; any of them is the finding
        return DecodeCheck(problem=f"decord: {_first_line(error)}")
    try:
        kept, decoded = _sequential(file, set(indices))
    except Exception as error:  # PyAV raises many classes, some of them not its own
        return DecodeCheck(declared=declared, problem=f"sequential: {_first_line(error)}")
    wrong = 0
    for index, frame in zip(indices, batch, strict=True):
        other = kept.get(index)
        if other is None or other.shape != frame.shape:
            wrong += 1
        else:
            wrong += int(np.abs(other.astype(np.int16) - frame.astype(np.int16)).max()) > _ROUNDING
    return DecodeCheck(wrong, declared, decoded)


def _sequential(file: Path, wanted: set[int]) -> tuple[dict[int, Any], int]:
    """The wanted frames, RGB uint8, and the number of frames in all."""
    av: Any = importlib.import_module("av")
    kept: dict[int, Any] = {}
    count = 0
    with av.open(str(file), metadata_errors="ignore") as container:
        for frame in container.decode(video=0):
            if count in wanted:
                kept[count] = frame.to_ndarray(format="rgb24")
            count += 1
    return kept, count


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


class DecodeWorker:
    """A child process that compares clips, so that a file which crashes or hangs a decoder costs one line, not the run.

    Use as a context manager.

    Args:
        timeout_s: Longest time for one clip.
    """

    def __init__(self, timeout_s: float = 60.0) -> None:
        self._timeout = timeout_s
        self._process: Any = None
        self._pipe: Connection | None = None

    def __enter__(self) -> DecodeWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def check(self, file: Path) -> DecodeCheck:
        """The comparison of one clip; a crash or an overrun of the child is its `problem`."""
        if self._process is None or self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, far = context.Pipe()
            self._process = context.Process(target=_serve, args=(far,), daemon=True)
            self._process.start()
            far.close()
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
