"""Errors that a user can act on, and the exit codes of the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

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
