"""Errors that a user can act on, and the exit codes of the command line."""

from __future__ import annotations

import difflib
import errno
import os
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
MOST_LISTED = 20
"""Most names that a message lists."""


class UserError(Exception):
    """An error caused by input or by the machine, shown without a traceback.

    Args:
        message: The problem: the thing, the value found and the value expected.
        hint: The fix, often a command. Printed on the next line.
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
    """A method, protocol and dataset that cannot be combined. A request leaves the combination out and goes on."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """A `UserError` for a name that does not exist, with the nearest existing names."""
    names = sorted(known)
    near = nearest_names(name, names, 3)
    shown = names if len(names) <= MOST_LISTED else [*names[:MOST_LISTED], f"{len(names) - MOST_LISTED} more"]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(shown) or 'none'}."
    see = f" See: python -m harness list {kind}s" if kind in ("method", "protocol", "dataset") else ""
    return UserError(f"There is no {kind} named {name!r}.", hint + see)


def unknown_setting(kind: str, name: str, known: Iterable[str], title: str) -> UserError:
    """A `UserError` for a setting that does not exist, with the nearest name and then all names.

    Args:
        kind: Kind of the setting, for the message.
        name: The unknown name.
        known: Names of the existing settings.
        title: Word before the list of names, such as `Options`.
    """
    names = list(known)
    hint = f"{near_hint(name, names)} {title}: {', '.join(names) or 'none'}."
    return UserError(f"There is no {kind} named {name!r}.", hint.strip())


def near_hint(name: str, names: Iterable[str]) -> str:
    """`Did you mean NAME?` for a name near an existing one; empty if no name is near."""
    near = nearest_names(name, names, 1)
    return f"Did you mean {near[0]}?" if near else ""


def nearest_names(name: str, names: Iterable[str], most: int) -> list[str]:
    """The existing names nearest to a name, the nearest first; case, hyphens and underscores do not count."""
    by_letters: dict[str, list[str]] = {}
    for known in names:
        by_letters.setdefault(_letters(known), []).append(known)
    wanted = _letters(name)
    near = difflib.get_close_matches(wanted, by_letters, n=most, cutoff=0.6)
    # An abbreviation, or a word whose abbreviation is a name: `md` for `markdown`.
    near += [text for text in by_letters if text not in near and (_abbreviates(text, wanted) or text in wanted)]
    return [known for text in near for known in by_letters[text]][:most]


def _letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def _abbreviates(first: str, second: str) -> bool:
    """Whether the shorter of two words begins like the longer one and its letters occur there in order."""
    short, long = sorted((first, second), key=len)
    if len(short) < 2 or short[0] != long[0]:
        return False
    rest = iter(long)
    return all(c in rest for c in short)


_AGAIN = "Finished cells are kept: the same command resumes."
_MACHINE = {
    errno.ENOSPC: ("The disk is full", f"Make room, or choose another folder. {_AGAIN}"),
    errno.EDQUOT: ("The disk quota is used up", f"Make room, or choose another folder. {_AGAIN}"),
    errno.EFBIG: ("A file would become larger than this machine allows", f"Raise the limit (ulimit -f). {_AGAIN}"),
    errno.EROFS: ("The file system is read-only", "Choose another folder: --runs, --cache, --out."),
    errno.EACCES: ("Permission is denied", f"Change the permissions, or choose another folder. {_AGAIN}"),
    errno.EPERM: ("Permission is denied", f"Change the permissions, or choose another folder. {_AGAIN}"),
    errno.ENOENT: ("A file is missing", f"Restore the file, or remove the files that were made from it. {_AGAIN}"),
    errno.EIO: ("The disk or its server failed", f"Check the disk. {_AGAIN}"),
    errno.ESTALE: ("The file server lost a file", f"Check the mount. {_AGAIN}"),
    errno.ENOLCK: ("The file system gives no locks", "Choose another folder for the runs: --runs DIR."),
    errno.EMFILE: ("Too many files are open", f"Raise the limit (ulimit -n), or use fewer --workers. {_AGAIN}"),
    errno.ENFILE: ("Too many files are open on this machine", _AGAIN),
    errno.ENOMEM: ("Memory is used up", f"Use fewer --workers, or smaller batches. {_AGAIN}"),
}


def machine_error(error: OSError) -> UserError:
    """An error of the operating system as a `UserError`: the file, the reason, and how to fix it.

    Files are written as a whole or not at all (`harness.base.atomic`), so that finished results are not lost.
    """
    # Some libraries raise OSError with a text alone.
    reason = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    problem, hint = _MACHINE.get(error.errno or 0, ("The machine refused", _AGAIN))
    where = "".join(f": {name}" for name in (error.filename, error.filename2) if name is not None)
    return UserError(f"{problem}{where} ({reason}).", hint, EXIT_FAILED)


def raised_at(error: BaseException, is_ours: Callable[[Path], bool]) -> str:
    """File, line and function of the innermost call, of an exception or of its causes, in files of a plugin.

    Args:
        error: The exception.
        is_ours: Whether a file belongs to the plugin.

    Returns:
        `FILE, line N, in FUNCTION`; empty if no file of the plugin took part.
    """
    cause: BaseException | None = error
    while cause is not None:
        own = [frame for frame in traceback.extract_tb(cause.__traceback__) if is_ours(Path(frame.filename))]
        if own:
            return f"{own[-1].filename}, line {own[-1].lineno}, in {own[-1].name}"
        # A cause that is hidden by `raise ... from None` was replaced on purpose.
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return ""


def described(error: BaseException, file: Path | None = None) -> str:
    """One-line description of an exception raised by a plugin file: type, message, function and line.

    Args:
        error: The exception.
        file: The plugin file. Function and line are left out without it, or if the exception was raised elsewhere.
    """
    message = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    text = " ".join(message.split())
    if isinstance(error, SyntaxError):
        return text  # the message of a SyntaxError contains file and line
    # The innermost line in the plugin's file: deeper lines are those of torch or the harness, which its author cannot
    # fix.
    frames = [] if file is None else traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve() == file]
    return f"{text} ({own[-1].name}, line {own[-1].lineno} of {file.name})" if own and file else text
