"""Errors that a method's code raises in a cell: the cell, the file, the line and the cause, in one line."""

from __future__ import annotations

from pathlib import Path

from harness.base.errors import UserError, raised_at
from harness.plugins import registry
from harness.plugins.registered import ROOT, files

_INSTALLED = ("site-packages", "dist-packages")
"""Folders of installed packages: modules beside an installed module belong to other distributions."""
_HARNESS = tuple(ROOT / name for name in ("harness", "results", "reports"))


def plugin_error_line(error: BaseException, cell: str, method: str) -> str:
    """One line about an exception that a method's own code raised while a cell was computed.

    Args:
        error: The exception.
        cell: Kind and name of the cell.
        method: Name of the method.

    Returns:
        `CELL: FILE, line N, in FUNCTION: CAUSE`; empty if the exception did not pass through code of the method.
    """
    file = files["method"].get(method) or registry.sources("method")[method].file
    if file is None:
        return ""
    folder = file.resolve().parent

    def is_ours(path: Path) -> bool:
        path = path.resolve()
        if path == file.resolve():
            return True
        # A plugin imports helpers from its folder. The folder may also hold the harness, or an environment.
        if folder not in path.parents or folder.name in _INSTALLED or any(part in path.parents for part in _HARNESS):
            return False
        return not set(path.relative_to(folder).parts) & set(_INSTALLED)

    where = raised_at(error, is_ours)
    if not where:
        return ""
    cause = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return f"{cell}: {where}: {' '.join(cause.split())}"
