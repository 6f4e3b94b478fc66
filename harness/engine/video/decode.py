"""Decode one clip: bytes first, then frames; and tell faults of the machine from bytes that do not decode."""

from __future__ import annotations

import contextlib
import enum
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from harness.data.files.frame_folder import FrameFolderError
from harness.engine.compute.processes import processes_here
from harness.engine.video.batches import Draw
from harness.engine.video.decord_reader import DecordCannotReadError
from harness.engine.video.local_file import NotAVideoError
from harness.engine.video.video_bytes import MORE_MEMORY, MachineFault, fault_of, read_through
from harness.engine.video.view_transforms import ViewTransformError
from harness.machine.available_memory import GIB, available_memory

CPU_WORKERS, GPU_WORKERS = 8, 32
WORKER_GIB = 2.0
"""Memory for each worker: a clip of 16 frames of 3840 x 2160 takes 1.8 GiB while it is decoded and resized."""
DECODE_ATTEMPTS = 2
"""A clip that does not decode is read and decoded once more: the first attempt may have met a fault of the disk."""
SPARE_BYTES = 1 << 27
"""Memory without which a clip that does not decode says nothing about its file."""
NO_MEMORY = MachineFault("memory was used up while it was decoded", MORE_MEMORY)
# Texts of C++ and FFmpeg errors for want of memory, which arrive as errors of the decoder.
_MEMORY = re.compile(r"bad_alloc|Cannot allocate memory|OutOfMemory|Insufficient memory|Failed to allocate", re.I)

NO_READER = "the file is damaged, or not a video; no reader decodes it"

ClipT = TypeVar("ClipT")
ClipT_co = TypeVar("ClipT_co", covariant=True)


class ClipDataset(Protocol[ClipT_co]):
    """Clips by draw. A dataset is pickled once for each loader, so that decode processes can use it."""

    def __getitem__(self, draw: Draw, /) -> ClipT_co:
        """Decode the clip of a draw."""
        ...

    def video(self, draw: Draw, /) -> Path | None:
        """Return the file of a draw; None if its clip is not read from a file."""
        ...


@dataclass(frozen=True)
class Undecodable:
    """Result of a clip whose bytes were read and could not be decoded.

    Args:
        reason: The reason in one line, equal in every run.
        sha256: Hash of the bytes; empty if the clip is not read from a file.
    """

    reason: str
    sha256: str = ""


class Stage(enum.Enum):
    """The state of a clip in a decode process.

    Attributes:
        READING: Bytes arrive.
        DECODING: All bytes were read; the decoder works.
    """

    READING = "reading"
    DECODING = "decoding"


@dataclass(frozen=True)
class Task:
    """One clip for a worker.

    Args:
        draw: The draw to decode.
        cpu_seconds: Limit of CPU time of one decoding.
        failed: The reason why decoders ended on the clip, whose file the worker only hashes; empty for a new clip.
    """

    draw: Draw
    cpu_seconds: float
    failed: str = ""


def default_workers(gpu: bool = False) -> int:
    """Return the number of decode workers of this process: its share of the machine's cores, up to a limit.

    The limit is 8 beside a CPU, which encodes fewer clips per second than one worker decodes, and 32 beside a GPU: an
    H200 encodes 700 clips of 16 frames per second with a ViT-B/16, one core decodes 35 (benchmarks/results). Each
    worker may hold one 4K clip, so that the available memory is a limit too.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(GPU_WORKERS if gpu else CPU_WORKERS, cores // processes_here())
    memory = available_memory()
    if memory is not None:
        workers = min(workers, int(memory / (WORKER_GIB * GIB)) // processes_here())
    return max(1, workers)


def decode(
    dataset: ClipDataset[ClipT],
    draw: Draw,
    enter: Callable[[Stage], None] = lambda stage: None,
    cpu_seconds: float = 0.0,
) -> ClipT | Undecodable | MachineFault:
    """Read the bytes of a draw, then decode them.

    Args:
        dataset: Clips by draw.
        draw: The draw.
        enter: Called with the stage that begins or goes on.
        cpu_seconds: CPU time after which this process is ended by SIGPROF; 0 for no limit.

    Returns:
        The clip; `Undecodable` if the bytes were read and did not decode twice; `MachineFault` otherwise.
    """
    file, reason, sha256 = dataset.video(draw), "", ""
    for attempt in range(DECODE_ATTEMPTS if file is not None else 1):
        try:
            if file is not None:  # the hash names the undecodable bytes, so that only a second attempt needs it
                sha256 = read_through(file, lambda: enter(Stage.READING), digest=attempt > 0)
        except (OSError, MemoryError) as error:
            return fault_of(error)
        enter(Stage.DECODING)
        try:
            with _cpu_limit(cpu_seconds):
                return dataset[draw]
        except (KeyboardInterrupt, SystemExit):
            raise
        except ViewTransformError as error:  # the video decoded: its prediction would not be wrong but missing
            return MachineFault(error.message.rstrip("."), error.hint, "the view transform")
        except BaseException as error:  # decoders raise types of their own, some derived from BaseException
            if isinstance(error, MemoryError) or _MEMORY.search(str(error)) or not _memory_is_left():
                return NO_MEMORY
            reason = stable_reason(error)
    return Undecodable(reason, sha256)


def undecodable(
    dataset: ClipDataset[ClipT], draw: Draw, reason: str, enter: Callable[[Stage], None]
) -> Undecodable | MachineFault:
    """Return a clip on which decoders ended as `Undecodable` with the hash of its bytes, without decoding it again."""
    try:
        file = dataset.video(draw)
        sha256 = "" if file is None else read_through(file, lambda: enter(Stage.READING), digest=True)
    except (OSError, MemoryError) as error:
        return fault_of(error)
    return Undecodable(reason, sha256)


def _memory_is_left() -> bool:
    """Whether some memory can still be allocated: decord reports want of memory as a file that it cannot open."""
    try:
        np.empty(SPARE_BYTES, np.uint8)  # requests memory without touching it
    except MemoryError:
        return False
    return True


@contextlib.contextmanager
def _cpu_limit(seconds: float) -> Iterator[None]:
    """Context in which this process ends after some CPU time of all its threads; waiting does not count."""
    if not seconds:
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def stable_reason(error: BaseException) -> str:
    """Return why a clip did not decode, in one line without times, addresses, paths and counters.

    decord writes the time of day, paths of its build and uninitialised numbers into messages. Records of two runs
    would differ by them.
    """
    text = " ".join(str(error).split())
    if isinstance(error, (NotAVideoError, DecordCannotReadError, FrameFolderError)):
        return text
    # decord raises RuntimeError with the path of the file, which is not part of a record.
    if isinstance(error, RuntimeError) and text.startswith("Error reading "):
        return f"decord cannot open the file: {NO_READER}"
    if "cannot find video stream" in text:
        return f"decord finds no video stream: {NO_READER}"
    if "Invalid data found when processing input" in text:
        return f"FFmpeg does not recognise its content: {NO_READER}"
    text = re.sub(r"\[\d\d:\d\d:\d\d\] \S+:\d+: ", "", text)
    text = re.sub(r" \(-?\w+ vs\. -?\w+\)|0x[0-9a-f]+|(?:/[^/\s:']+)+/", "", text)
    return f"{type(error).__name__}: {text[:160] or 'no message'}"
