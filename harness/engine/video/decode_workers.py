"""Decode processes that may crash or hang without ending the run, and the reasons of clips that do not decode."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Generic, Protocol, TypeVar

from harness.engine.compute.processes import processes_here
from harness.engine.video.batches import Draw
from harness.engine.video.transforms import single_threaded_opencv

PARENT_SECONDS = 0.5
CPU_WORKERS, GPU_WORKERS = 8, 32

ClipT = TypeVar("ClipT")
ClipT_co = TypeVar("ClipT_co", covariant=True)


class ClipDataset(Protocol[ClipT_co]):
    """Clips by draw."""

    def __getitem__(self, draw: Draw, /) -> ClipT_co:
        """Decode the clip of a draw."""
        ...


@dataclass(frozen=True)
class Undecodable:
    """Result of a clip that could not be decoded.

    Args:
        reason: The reason in one line, equal in every run.
    """

    reason: str


def default_workers(gpu: bool = False) -> int:
    """Return the number of decode workers of this process: its share of the machine's cores, up to a limit.

    The limit is 8 beside a CPU, which encodes fewer clips per second than one worker decodes, and 32 beside a GPU: an
    H200 encodes 700 clips of 16 frames per second with a ViT-B/16, one core decodes 35 (benchmarks/results).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(GPU_WORKERS if gpu else CPU_WORKERS, cores // processes_here()))


def decode(dataset: ClipDataset[ClipT], draw: Draw) -> ClipT | Undecodable:
    """Return the clip of a draw, or `Undecodable` with the reason: a damaged video never ends a run."""
    try:
        return dataset[draw]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # decoders raise types of their own, some derived from BaseException
        return Undecodable(stable_reason(error))


def stable_reason(error: BaseException) -> str:
    """Return why a clip did not decode, in one line without times, addresses, paths and counters.

    decord writes the time of day, paths of its build and uninitialised numbers into messages. Records of two runs
    would differ by them.
    """
    text = " ".join(str(error).split())
    # decord raises RuntimeError with the path of the file, which is not part of a record.
    if isinstance(error, RuntimeError) and text.startswith("Error reading "):
        return "decord cannot open the file"
    if "cannot find video stream" in text:
        return "the file has no video stream that decord reads"
    text = re.sub(r"\[\d\d:\d\d:\d\d\] \S+:\d+: ", "", text)
    text = re.sub(r" \(-?\w+ vs\. -?\w+\)|0x[0-9a-f]+|(?:/[^/\s:']+)+/", "", text)
    return f"{type(error).__name__}: {text[:160] or 'no message'}"


class Worker(Generic[ClipT]):
    """A decode process, the pipe to it, and its current task.

    Attributes:
        task: Number of the clip that is being decoded; None for an idle worker.
        deadline: Time of the monotonic clock at which the task has overrun.
    """

    def __init__(self, dataset: ClipDataset[ClipT]) -> None:
        # fork, because a spawned process would import torch and mmaction2 first, which takes seconds for each worker
        # and each replacement. The child runs decoders only, never torch's thread pools or CUDA.
        context = multiprocessing.get_context("fork")
        self.connection, child = context.Pipe()
        self.process = context.Process(target=_serve, args=(dataset, child, os.getpid()), daemon=True)
        self.process.start()
        child.close()
        self.task: int | None = None
        self.deadline = 0.0

    def give(self, task: int, draw: Draw, seconds: float) -> None:
        """Send a draw to the process.

        Raises:
            OSError: The process has ended.
        """
        self.connection.send(draw)
        self.task, self.deadline = task, time.monotonic() + seconds

    def take(self) -> ClipT | Undecodable:
        """Receive the clip of the task, after which the worker is idle.

        Raises:
            EOFError, OSError, MemoryError: The process has ended, or the clip cannot be received.
        """
        clip: ClipT | Undecodable = self.connection.recv()
        self.task = None
        return clip

    def stop(self) -> None:
        """Kill the process. A decoder that hangs in a C library ignores gentler signals."""
        self.process.kill()
        self.process.join()
        self.connection.close()

    @property
    def exit_reason(self) -> str:
        """Why the process ended."""
        self.process.join(timeout=5)
        code = self.process.exitcode
        return f"the decoder crashed (signal {-code})" if code is not None and code < 0 else "the decoder stopped"


def _serve(dataset: ClipDataset[ClipT], connection: Connection, parent: int) -> None:
    """Decode the draws that arrive, in the child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Control-C reaches the whole group; the parent decides when to stop
    with open(os.devnull, "wb") as null:  # noqa: PTH123
        os.dup2(null.fileno(), 2)  # decoders write to stderr past Python; the reason is returned as data
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    single_threaded_opencv()
    while True:
        try:
            draw: Draw | None = connection.recv()
        except (EOFError, OSError):
            return
        if draw is None:
            return
        connection.send(decode(dataset, draw))


def _end_with(parent: int) -> None:
    """End this process when its parent has ended.

    The pipe does not show the end of the parent, because forked workers hold copies of each other's pipe ends. They
    also hold the lock of the cell, so that a worker which outlived a killed run would block the next run.
    """
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)
