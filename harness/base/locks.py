"""The lock of a cell, which at most one process holds, and the message to processes that wait for it.

Locks are `flock`s (filelock). The operating system releases a lock when its process ends, however it ends, so that a
lock file on disk alone does not lock anything. On a network file system that passes `flock` on to its server (NFS since
Linux 2.6.12) locks work across machines. On a file system without `flock`, filelock writes a file with the process and
the machine instead. If that process has died, the next process on the same machine removes the file; the file of
another machine must be removed by hand, and the message names it.
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

from filelock import BaseFileLock, FileLock, Timeout

from harness.base.errors import EXIT_FAILED, EXIT_USAGE, UserError

QUIET_SECONDS = 3.0
"""Wait for another process before the first message."""
REMIND_SECONDS = 600.0
LOCKS = ".locks"


@contextmanager
def cell_lock(
    runs: Path, folder: Path, key: str, name: str, say: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lock of a cell. A process that waits for it reports so, and then finds the cell done.

    The lock file of a finished cell stays. An error removes the lock file, so that a refused run leaves nothing behind:
    filelock takes a file that was removed meanwhile for no lock, and a process that waits for it makes a new one.

    Args:
        runs: The run folder; locks are in its `.locks`. See `lock_folder`.
        folder: Folder of the cell; made if it does not exist.
        key: Key of the cell.
        name: Name of the cell, for messages.
        say: Writes a message; to stderr by default.

    Raises:
        UserError: The folders cannot be made.
    """
    with lock_folder(runs, folder) as locks:
        # Two files, because filelock may write its own content into the lock file.
        lock, note = FileLock(locks / f"{key}.lock"), locks / f"{key}.holder"
        _acquire(lock, note, name, say or _to_stderr)
        try:
            _write_note(note, name)
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)
            raise
        finally:
            with contextlib.suppress(OSError):
                # Before the release: the next holder writes its own note, which must not be removed.
                note.unlink(missing_ok=True)
            _remove_empty(folder, runs)
            lock.release()


@contextmanager
def lock_folder(runs: Path, *folders: Path) -> Iterator[Path]:
    """Make the folder of the locks and yield it; afterwards remove the empty folders that a refused run would leave.

    Args:
        runs: The run folder. It is removed with its parents if this call made them and they are empty.
        folders: Folders in the run folder that are made, too.

    Raises:
        UserError: A folder cannot be made.
    """
    locks = runs / LOCKS
    absent = [path for path in (runs, *runs.parents) if not path.exists()]
    try:
        for folder in (*folders, locks):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        code = EXIT_USAGE if error.errno in (errno.EEXIST, errno.ENOTDIR) else EXIT_FAILED
        hint = "Choose another folder with --runs DIR."
        raise UserError(f"The folder {folder} cannot be made: {error}", hint, code) from None
    try:
        yield locks
    finally:
        _remove_each(locks, *absent)


def _remove_empty(folder: Path, runs: Path) -> None:
    """Remove the folder of a cell that was refused before it wrote a file, and its empty parents below the run folder.

    A process that waits for the lock made the folder before: its first file makes the folder again.
    """
    _remove_each(*(path for path in (folder, *folder.parents) if runs in path.parents))


def _remove_each(*folders: Path) -> None:
    """Remove folders from the innermost to the outermost, up to the first that is not empty."""
    with contextlib.suppress(OSError):
        for path in folders:
            path.rmdir()


def _acquire(lock: BaseFileLock, note: Path, name: str, say: Callable[[str], None]) -> None:
    """Wait for a lock without limit; after a few seconds, and then every ten minutes, report who holds it."""
    patience = QUIET_SECONDS
    while True:
        try:
            lock.acquire(timeout=patience)
            return
        except Timeout:
            say(f"waiting for {name}: {holder_text(note)} (lock {lock.lock_file})")
            patience = REMIND_SECONDS
        except FileNotFoundError:  # the last holder was refused and removed the empty folder of the locks
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)


def holder_text(note: Path) -> str:
    """The process that holds a lock, in words, from the note beside the lock file."""
    try:
        held = json.loads(note.read_text(encoding="utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(float(held["since"])))
        return f"process {int(held['pid'])} on {held['host']} computes it since {since}"
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return "another process computes it"


def _write_note(note: Path, name: str) -> None:
    """Write which process holds the lock. Only messages use the note, so that a full disk is not an error."""
    held = {"pid": os.getpid(), "host": socket.gethostname(), "since": int(time.time()), "cell": name}
    with contextlib.suppress(OSError):
        note.write_text(json.dumps(held), encoding="utf-8")


def _to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def half_written(folder: Path, *names: str) -> list[Path]:
    """Temporary files `.NAME.*.tmp` of processes that were killed while they wrote a file.

    Call it under the cell's lock: otherwise another process may still write them.

    Args:
        folder: Folder of the files.
        names: Final names of the files; none for every file of the folder.
    """
    patterns = map(_escape, names) if names else ("*",)
    return [path for pattern in patterns for path in folder.glob(f".{pattern}.*.tmp")]


def _escape(name: str) -> str:
    """A file name as a pattern that matches itself."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
