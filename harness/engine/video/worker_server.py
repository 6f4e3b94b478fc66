"""The server that forks decode workers.

Workers are forked by a server process with a single thread. The main process must not fork them itself once it has
threads: a fork copies locks that other threads hold, and nobody in the child releases them. The server is forked before
this process starts threads of its own; a process that has threads already, such as a notebook, starts it as a new
program, which imports everything again (seconds instead of milliseconds).
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Generic

from harness.engine.video.decode import NO_MEMORY, ClipDataset, ClipT, Task, decode, undecodable
from harness.engine.video.transforms import PackedClip, single_threaded_opencv

HARMLESS_THREADS = 0
"""Number of threads of the main process, besides its main thread, that never hold a lock during a fork."""
PARENT_SECONDS = 0.5
"""Interval at which a process checks that its parent still runs."""
END_SECONDS = 2.0
"""Longest wait for the end of a killed worker. A worker that waits for a dead file server may not end at all."""


@dataclass(frozen=True)
class _Register(Generic[ClipT]):
    """Request: keep a dataset for the workers of a loader."""

    dataset: int
    clips: ClipDataset[ClipT]


@dataclass(frozen=True)
class _Forget:
    """Request: drop a dataset."""

    dataset: int


@dataclass(frozen=True)
class _Start:
    """Request: fork a worker of a dataset; the pipe of the worker follows, and the answer is its process id."""

    dataset: int


@dataclass(frozen=True)
class _Stop:
    """Request: kill a worker unless it ended by itself within some seconds; the answer is its exit code, or None."""

    pid: int
    seconds: float = 0.0


_Request = _Register[PackedClip] | _Forget | _Start | _Stop


class WorkerServer:
    """The server process as seen from the process that owns it.

    Attributes:
        owner: Id of the process that may use this connection; a fork of it starts a server of its own.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._lock = threading.Lock()  # loaders replace workers from their own threads
        self._numbers = itertools.count()
        self._connection, theirs = Pipe()
        if threading.active_count() <= 1 + HARMLESS_THREADS:
            self._program: subprocess.Popen[bytes] | None = None
            self.pid = os.fork()
            if self.pid == 0:
                self._connection.close()
                _serve(theirs, self.owner)
        else:
            code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
            arguments = [sys.executable, "-c", code, str(theirs.fileno()), str(self.owner)]
            self._program = subprocess.Popen(arguments, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            self.pid = self._program.pid
        theirs.close()
        atexit.register(self.close)

    def register(self, dataset: ClipDataset[ClipT]) -> int:
        """Send a dataset to the server; returns its number."""
        number = next(self._numbers)
        with self._lock:
            # Sent once for all workers of a loader, which get copies of the server's memory.
            self._connection.send(_Register(number, dataset))
        return number

    def forget(self, dataset: int) -> None:
        """Drop a dataset; its workers must have been stopped."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.send(_Forget(dataset))

    def start(self, dataset: int) -> tuple[int, Connection]:
        """Fork a worker; returns its process id and the pipe to it.

        Raises:
            OSError, EOFError: The server has ended.
        """
        ours, theirs = Pipe()
        with self._lock:
            self._connection.send(_Start(dataset))
            send_handle(self._connection, theirs.fileno(), self.pid)
            theirs.close()
            pid: int = self._connection.recv()
        return pid, ours

    def stop(self, pid: int, seconds: float = 0.0) -> int | None:
        """End a worker, and return its exit code as `subprocess` does; None if it is unknown.

        Args:
            pid: The worker.
            seconds: Time to end by itself before it is killed. A decoder that hangs ignores gentler signals.
        """
        try:
            with self._lock:
                self._connection.send(_Stop(pid, seconds))
                code: int | None = self._connection.recv()
        except (OSError, EOFError):  # the server has ended, and with it the worker
            return None
        return code

    @property
    def usable(self) -> bool:
        """Whether this process owns the server and the server runs."""
        if self.owner != os.getpid() or self._connection.closed:
            return False
        try:
            return os.waitpid(self.pid, os.WNOHANG) == (0, 0)
        except ChildProcessError:
            return False

    def close(self) -> None:
        """End the server and its workers."""
        if self.owner != os.getpid() or self._connection.closed:
            return
        self._connection.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


_server: list[WorkerServer] = []


def worker_server() -> WorkerServer:
    """Return the server of this process; it is started if there is none.

    Call it before this process starts threads: the server is then forked instead of started as a new program.
    """
    if not _server or not _server[0].usable:
        _server[:] = [WorkerServer()]
    return _server[0]


def serve() -> None:
    """Serve as a program of its own; arguments are the descriptor of the pipe and the id of the owner."""
    _serve(Connection(int(sys.argv[1])), int(sys.argv[2]))


def _serve(connection: Connection, parent: int) -> None:
    """Answer requests until the owner ends; never returns."""
    try:
        # Control-C reaches the whole group; the owner decides when to stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        faulthandler.disable()  # a worker that crashes is reported as data
        _let_go_of_files(connection.fileno())
        single_threaded_opencv()
        _answer(connection, parent)
    finally:
        os._exit(0)


def _let_go_of_files(kept: int) -> None:
    """Put /dev/null in the place of every inherited file except one.

    Otherwise a lock, or the pipe to a child of the owner, would stay open as long as this process lives, and decoders
    would write to the owner's stderr past Python. The numbers stay in use, because inherited objects may close them.
    """
    inherited = [int(entry.name) for entry in Path("/dev/fd").iterdir()]
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in inherited:
        if descriptor not in (kept, null):
            with contextlib.suppress(OSError):  # the listing itself was open
                os.fstat(descriptor)
                os.dup2(null, descriptor)
    os.close(null)


def _answer(connection: Connection, parent: int) -> None:
    datasets: dict[int, ClipDataset[PackedClip]] = {}
    workers: set[int] = set()
    for request in _requests(connection, parent):
        match request:
            case _Register(number, clips):
                datasets[number] = clips
            case _Forget(number):
                datasets.pop(number, None)
            case _Start(number):
                theirs = Connection(recv_handle(connection))
                server = os.getpid()
                pid = os.fork()
                if pid == 0:
                    connection.close()
                    _work(datasets[number], theirs, server)
                theirs.close()
                workers.add(pid)
                connection.send(pid)
            case _Stop(pid, seconds):
                connection.send(_end(pid, seconds) if pid in workers else None)
                workers.discard(pid)
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _requests(connection: Connection, parent: int) -> Iterator[_Request]:
    """The requests of the owner, until it ends.

    The pipe alone does not show its end: other children of the owner may hold copies of the owner's end.
    """
    while True:
        try:
            if connection.poll(PARENT_SECONDS):
                yield connection.recv()
            elif os.getppid() != parent:
                return
        except (EOFError, OSError):
            return


def _end(pid: int, seconds: float) -> int | None:
    """Exit code of a worker that ends by itself within some seconds or is killed; None if it does not end."""
    for limit, killed in ((seconds, False), (END_SECONDS, True)):
        if killed:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + limit
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= deadline:
                break
            time.sleep(0.002)
    return None


def _work(dataset: ClipDataset[ClipT], connection: Connection, parent: int) -> None:
    """Decode the tasks that arrive, in a worker; never returns."""
    try:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        while True:
            task: Task = connection.recv()
            try:
                if task.failed:
                    connection.send(undecodable(dataset, task.draw, task.failed, connection.send))
                else:
                    connection.send(decode(dataset, task.draw, connection.send, task.cpu_seconds))
            except MemoryError:
                connection.send(NO_MEMORY)
    finally:
        os._exit(3)


def _end_with(parent: int) -> None:
    """End this process when its parent has ended: it may hang in a decoder and not see the end of its pipe."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)
