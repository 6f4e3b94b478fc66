"""Notes of running commands in a run folder: which cells each of them computes, for `harness status`.

A note is beside a lock file that its process holds. The operating system releases the lock when the process ends,
however it ends, so that a note without a held lock belongs to a run that was killed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from harness.base.locks import LOCKS, lock_folder

NOTE_SUFFIX = ".run.json"


@dataclass(frozen=True)
class NotedCell:
    """A cell that a run computes or will compute.

    Args:
        kind: `fit` or `eval`.
        name: Name of the cell.
        key: Key of the cell.
        file: `fit.json` or record of the cell, relative to the run folder.
        epochs: Epochs of a fit; 0 for an eval.
        videos: Videos of an eval; 0 for a fit.
    """

    kind: str
    name: str
    key: str
    file: str
    epochs: int = 0
    videos: int = 0


@dataclass(frozen=True)
class RunNote:
    """The cells of one running command, in order.

    Args:
        pid: Process.
        host: Machine.
        since: Begin of the run in seconds since 1970.
        cells: Open cells of the run at its begin.
    """

    pid: int
    host: str
    since: float
    cells: tuple[NotedCell, ...]


@contextmanager
def noted_run(runs: Path, cells: Sequence[NotedCell]) -> Iterator[None]:
    """Keep a note of the cells of this process while the context lasts.

    Only `harness status` reads notes: a folder that takes no files does not end a run.
    """
    with contextlib.ExitStack() as folder:
        try:
            locks = folder.enter_context(lock_folder(runs))
        except UserError:  # the first cell reports it
            yield
            return
        stem = f"{socket.gethostname()}-{os.getpid()}"
        note, lock = locks / f"{stem}{NOTE_SUFFIX}", FileLock(locks / f"{stem}.run.lock")
        try:
            # filelock raises NotImplementedError on file systems without locks.
            with contextlib.suppress(OSError, Timeout, NotImplementedError):
                lock.acquire(timeout=0)
                written = RunNote(os.getpid(), socket.gethostname(), time.time(), tuple(cells))
                write_bytes(note, msgspec.json.encode(written))
            yield
        finally:
            with contextlib.suppress(OSError):
                note.unlink(missing_ok=True)
                lock.release()
                Path(lock.lock_file).unlink(missing_ok=True)


def read_run_notes(runs: Path) -> list[RunNote]:
    """The notes of the commands that run at present, the oldest first."""
    notes = []
    for path in (runs / LOCKS).glob(f"*{NOTE_SUFFIX}"):
        lock = path.with_name(path.name.removesuffix(NOTE_SUFFIX) + ".run.lock")
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            note = msgspec.json.decode(path.read_bytes(), type=RunNote)
            if is_held(lock):
                notes.append(note)
    return sorted(notes, key=lambda note: note.since)


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock file; True where that cannot be tested."""
    if not lock.is_file():
        return False
    probe = FileLock(lock)
    try:
        probe.acquire(timeout=0)
    except (OSError, Timeout, NotImplementedError):
        return True
    probe.release()
    return False
