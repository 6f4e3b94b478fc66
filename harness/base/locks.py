"""One process a cell: the lock of a cell, who holds it, and what others are told while they wait.

Locks are `flock`s (filelock). The operating system gives one up when its holder ends, however it ends, so a lock never
outlives its process, and a lock file on disk means nothing by itself. On a network file system that passes `flock` on
to its server (NFS since Linux 2.6.12) this holds across machines. Where a file system has none, filelock marks the
lock by a file that names process and machine instead: a mark of a dead process of the same machine is removed by the
next that wants it, one of another machine has to be removed by hand, and the message says which file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.base.errors import EXIT_FAILED, EXIT_USAGE, UserError

QUIET_SECONDS = 3.0
"""How long a wait for another process stays unsaid."""
REMIND_SECONDS = 600.0
LOCKS = ".locks"


@contextmanager
def cell_lock(
    runs: Path, folder: Path, key: str, name: str, say: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lock of a cell; another process that wants it waits, says so, and then finds the cell done.

    Lock files stay: removing one while somebody waits for it would let two in.

    Args:
        runs: The run folder; locks lie in its `.locks`.
        folder: Of the cell, made if it is not there.
        key: Of the cell.
        name: Of the cell, for messages.
        say: Writes a line for people; to stderr by default.

    Raises:
        UserError: The folders cannot be made.
    """
    locks = runs / LOCKS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        locks.mkdir(exist_ok=True)
    except OSError as error:
        code = EXIT_USAGE if error.errno in (errno.EEXIST, errno.ENOTDIR) else EXIT_FAILED
        hint = "Choose another one with --runs DIR."
        raise UserError(f"The folder {folder} cannot be made: {error}", hint, code) from None
    lock, note = FileLock(locks / f"{key}.lock"), locks / f"{key}.holder"
    _acquire(lock, note, name, say or _to_stderr)
    try:
        _write_note(note, name)
        yield
    finally:
        with contextlib.suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: Any, note: Path, name: str, say: Callable[[str], None]) -> None:
    """Wait for a lock, however long; after a few seconds and then every ten minutes say for whom."""
    patience = QUIET_SECONDS
    while True:
        try:
            lock.acquire(timeout=patience)
            return
        except Timeout:
            say(f"waiting for {name}: {holder_text(note)} (lock {lock.lock_file})")
            patience = REMIND_SECONDS


def holder_text(note: Path) -> str:
    """Who holds a lock, in words, from the note beside it."""
    try:
        held = json.loads(note.read_text(encoding="utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(float(held["since"])))
        return f"process {int(held['pid'])} on {held['host']} computes it since {since}"
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return "another process computes it"


def _write_note(note: Path, name: str) -> None:
    """Say who holds the lock. The note is for people: nothing depends on it, and a full disk only leaves it out."""
    held = {"pid": os.getpid(), "host": socket.gethostname(), "since": int(time.time()), "cell": name}
    with contextlib.suppress(OSError):
        note.write_text(json.dumps(held), encoding="utf-8")


def _to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def half_written(folder: Path, *names: str) -> list[Path]:
    """What a kill left of files while they were written, `.NAME.*.tmp`. Others may be at work on them without the lock.

    Args:
        folder: Of the files.
        names: Final names of the files; none for every file of the folder.
    """
    return [torn for name in (map(_escape, names) if names else ("*",)) for torn in folder.glob(f".{name}.*.tmp")]


def _escape(name: str) -> str:
    """A file name as a pattern that matches itself."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
