"""Publication of a board: the addresses of its records, and the records that are copied into its folder."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harness.base.errors import UserError
from reports.entries import Entries, Entry
from results.record import BOARD

COPIES = "records"
"""Subfolder of a board with copies of its records and predictions."""
_ADDRESS = re.compile(r"https?://[^\s?#]+")


@dataclass(frozen=True)
class Publishing:
    """The place at which links of a board find the records, and the additions to the board.

    Args:
        alone: Copy the records and predictions into the subfolder `records` of the board, which can then be served
            without the run folder.
        records_url: Address of a published copy of the run folder, to which links to records lead; nothing is copied.
        since: A `leaderboard.json` of an earlier board; the page then lists what changed.
        samples: Link to the pages of `reports.sample_pages`, which are written after the board.
    """

    alone: bool = False
    records_url: str = ""
    since: Path | None = None
    samples: bool = False

    def __post_init__(self) -> None:
        if self.records_url and not _ADDRESS.fullmatch(self.records_url):
            raise UserError(
                f"--records-url is {self.records_url!r}, expected an address that begins with https:// or http:// and "
                "has no query.",
                "Example: --records-url https://example.org/runs",
            )


BESIDE_RUNS = Publishing()
"""The board of a run folder on this machine: relative links lead to its records."""


def base_of_records(read: Entries, runs: Sequence[Path], out: Path, publishing: Publishing) -> str:
    """The address of the run folder in links of the board, relative to the board's folder or absolute.

    Raises:
        UserError: The board would be written into a run folder, where its copies would be read as records.
    """
    if publishing.records_url:
        return publishing.records_url.rstrip("/")
    root, folder = read.root.resolve(), out.resolve()
    if not publishing.alone or root.is_relative_to(folder):
        # Relative, so that runs and board can be copied together to another machine or a web server. The root of
        # several run folders has no symbolic links, which `..` in a link would not follow back.
        start = out if len(runs) == 1 else folder
        return "/".join(quote(part) for part in Path(os.path.relpath(read.root, start)).parts)
    for run in runs:
        inside = folder.is_relative_to(run.resolve()) and not folder.is_relative_to(run.resolve() / BOARD)
        if inside:
            raise UserError(
                f"--out {out} lies in the run folder {run}, where the board's copies would be read as records.",
                f"Choose a folder outside of it, or {run / BOARD}.",
            )
    copy_records(read.entries, out / COPIES)
    return COPIES


def copy_records(entries: Iterable[Entry], folder: Path) -> None:
    """Copy records and their predictions into a folder, under their names; equal copies are left as they are."""
    for entry in entries:
        target = folder / entry.name
        for source, copy in ((entry.path, target), (entry.predictions, target.with_name(entry.predictions.name))):
            if source.is_file():
                _copy(source, copy)


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its time, unless the target has its size and time."""
    found = source.stat()
    if target.is_file() and (target.stat().st_size, target.stat().st_mtime_ns) == (found.st_size, found.st_mtime_ns):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex[:8]}.tmp")
    try:
        shutil.copy2(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
