"""Errors that a user can act on, and the exit codes of the command line."""

from __future__ import annotations

import difflib
import errno
import os
import traceback
from collections.abc import Iterable
from pathlib import Path

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """An error caused by input or by the machine, shown without a traceback.

    Args:
        message: What is wrong: the thing, the value found and the value expected.
        hint: The way out, often a command. Printed on a line of its own.
        exit_code: 2 for bad usage (the default), 1 for a failed cell or check.
    """

    def __init__(self, message: str, hint: str = "", exit_code: int = EXIT_USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class NotApplicableError(UserError):
    """A method and a protocol, or a protocol and a dataset, that do not go together. A larger request goes on."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """A `UserError` for a name that does not exist, with the nearest existing names."""
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(names) or 'none'}."
    see = f" See: python -m harness list {kind}s" if kind in ("method", "protocol", "dataset") else ""
    return UserError(f"There is no {kind} named {name!r}.", hint + see)


_AGAIN = "What was finished is kept: the same command goes on there."
_MACHINE = {
    errno.ENOSPC: ("The disk is full", f"Make room, or choose another place. {_AGAIN}"),
    errno.EDQUOT: ("The disk quota is used up", f"Make room, or choose another place. {_AGAIN}"),
    errno.EFBIG: ("A file would become larger than this machine allows", f"Raise the limit (ulimit -f). {_AGAIN}"),
    errno.EROFS: ("The file system is read-only", "Choose another place: --runs, --cache, --out."),
    errno.EACCES: ("Permission is denied", f"Change the permissions, or choose another place. {_AGAIN}"),
    errno.EPERM: ("Permission is denied", f"Change the permissions, or choose another place. {_AGAIN}"),
    errno.ENOENT: ("A file has gone", f"Restore it, or remove what was made from it. {_AGAIN}"),
    errno.EIO: ("The disk or its server failed", f"Check it. {_AGAIN}"),
    errno.ESTALE: ("The file server lost a file", f"Check the mount. {_AGAIN}"),
    errno.ENOLCK: ("The file system gives no locks", "Choose another place for the runs: --runs DIR."),
    errno.EMFILE: ("Too many files are open", f"Raise the limit (ulimit -n), or take fewer --workers. {_AGAIN}"),
    errno.ENFILE: ("Too many files are open on this machine", _AGAIN),
    errno.ENOMEM: ("Memory is used up", f"Take fewer --workers, or smaller batches. {_AGAIN}"),
}


def machine_error(error: OSError) -> UserError:
    """What the operating system refused as an error that a user can act on: the file, the reason, the way out.

    Files are written as a whole or not at all (`harness.base.atomic`), so nothing finished is lost by it.
    """
    reason = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    what, hint = _MACHINE.get(error.errno or 0, ("The machine refused", _AGAIN))
    where = "".join(f": {name}" for name in (error.filename, error.filename2) if name is not None)
    return UserError(f"{what}{where} ({reason}).", hint, EXIT_FAILED)


def described(error: BaseException, file: Path | None = None) -> str:
    """An exception of somebody's file on one line: its type, what it says, and where in that file it arose.

    Args:
        error: As caught.
        file: The file whose author reads the line; without it, or outside of it, no place is named.
    """
    said = error.message if isinstance(error, UserError) else str(error)
    text = " ".join(f"{type(error).__name__}: {said}".split())
    if isinstance(error, UserError):
        text = " ".join(said.split())
    if isinstance(error, SyntaxError):
        return text  # says file and line itself
    frames = [] if file is None else traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve() == file]
    return f"{text} ({own[-1].name}, line {own[-1].lineno} of {file.name})" if own and file else text
