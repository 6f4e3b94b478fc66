"""Decode processes that may crash or hang without ending the run, as seen from the run."""

from __future__ import annotations

import signal
import time
from multiprocessing.connection import Connection
from typing import Generic

from harness.engine.video.decode import ClipDataset, ClipT, Stage, Task, Undecodable
from harness.engine.video.video_bytes import MORE_MEMORY, OTHER_READER, REPAIR, MachineFault, stalled
from harness.engine.video.worker_server import END_SECONDS, WorkerServer, worker_server

LEAST_CPU = 0.01
"""A decoder that uses less than this share of a core waits for something; it does not decode."""
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGBUS, signal.SIGXCPU)
"""Signals that end a worker from outside: lack of memory, the user, a resource limit, a page that cannot be read."""


class Workers(Generic[ClipT]):
    """The workers of a loader: a dataset that the server keeps from the first worker to `close`."""

    def __init__(self, dataset: ClipDataset[ClipT]) -> None:
        self.dataset = dataset
        self._server: WorkerServer | None = None
        self._number = 0

    def start(self) -> Worker[ClipT]:
        """Start a worker, with a new server if the server has ended."""
        for last in (False, True):
            server = self._server
            if server is None or not server.usable:
                server = self._server = worker_server()
                self._number = server.register(self.dataset)
            try:
                pid, connection = server.start(self._number)
            except (OSError, EOFError):  # the server was killed, for example for lack of memory
                if last:
                    raise
                server.close()
                continue
            return Worker(server, pid, connection)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Drop the dataset."""
        if self._server is not None and self._server.usable:
            self._server.forget(self._number)
        self._server = None


class Worker(Generic[ClipT]):
    """A decode process, the pipe to it, and its current task.

    Attributes:
        task: Number of the clip that is being decoded; None for an idle worker.
        deadline: Time of the monotonic clock at which the task has stalled, unless the worker computed meanwhile.
    """

    def __init__(self, server: WorkerServer, pid: int, connection: Connection) -> None:
        self.connection, self.pid, self._server = connection, pid, server
        self.task: int | None = None
        self.deadline, self._seconds, self._cpu, self._stage = 0.0, 0.0, 0.0, Stage.READING

    def give(self, number: int, task: Task, seconds: float) -> None:
        """Send a task to the process.

        Args:
            number: Number of the clip.
            task: The task.
            seconds: Longest time without a byte while the file is read, or without computing while it is decoded.

        Raises:
            OSError: The process has ended.
        """
        self.connection.send(task)
        self.task, self._seconds = number, seconds
        self._enter(Stage.READING)

    def take(self) -> ClipT | Undecodable | MachineFault | Stage:
        """Receive the clip of the task, after which the worker is idle, or the stage that it has entered.

        Raises:
            EOFError, OSError, MemoryError: The process has ended, or the clip cannot be received.
        """
        clip: ClipT | Undecodable | MachineFault | Stage = self.connection.recv()
        if isinstance(clip, Stage):
            self._enter(clip)
        else:
            self.task = None
        return clip

    def _enter(self, stage: Stage) -> None:
        self._stage, self._cpu = stage, self._cpu_seconds()
        self.deadline = time.monotonic() + self._seconds

    def has_stalled(self) -> bool:
        """Whether the deadline has passed without bytes and without computing. A slow machine is not a stall."""
        if time.monotonic() <= self.deadline:
            return False
        if self._stage is Stage.DECODING and self._cpu_seconds() - self._cpu > LEAST_CPU * self._seconds:
            self._enter(Stage.DECODING)
            return False
        return True

    @property
    def stall(self) -> MachineFault:
        """The reason why the worker has stalled."""
        if self._stage is Stage.READING:
            return MachineFault(f"cannot be read: {stalled(self._seconds)}")
        return MachineFault(f"the decoder waited for {self._seconds:g} s without computing", OTHER_READER)

    def _cpu_seconds(self) -> float:
        """CPU time of the process; 0 if it has ended."""
        try:  # Linux numbers the CPU clock of another process like this, see clock_getcpuclockid(3)
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return 0.0

    def stop(self) -> None:
        """Kill the process."""
        self._server.stop(self.pid)
        self.connection.close()

    def end(self) -> str | MachineFault:
        """Return why the process ended: text if the clip may be the cause."""
        code = self._server.stop(self.pid, seconds=END_SECONDS)
        self.connection.close()
        if code is None:
            return MachineFault("the server of the decode processes ended", MORE_MEMORY)
        if code == -signal.SIGPROF:
            return f"the decoder exceeded its limit of {self._seconds:g} s of CPU time"
        if -code in FROM_OUTSIDE:
            hint = REPAIR if code == -signal.SIGBUS else MORE_MEMORY  # the kernel sends SIGKILL for lack of memory
            return MachineFault(f"the decode process was ended from outside (signal {-code})", hint)
        return f"the decoder crashed (signal {-code})" if code < 0 else "the decoder stopped"
