"""Submissions of a board: checked against this installation's facts, taken over, compared in git."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.submission_facts import facts_of
from results.submission.accept import accept, known_tables, read_reproductions
from results.submission.changes import FOLDER, archive, changes
from results.submission.check import Checked, check_submission
from results.submission.rules import Finding


def submissions_below(path: Path) -> list[Path]:
    """A submission itself, or the folders METHOD/vVERSION below a folder of submissions."""
    if not path.is_dir() or (path / "submission.json").exists() or (path / "records").exists():
        return [path]
    found = sorted(folder for folder in path.glob("*/v*") if folder.is_dir())
    empty = all(child.name in ("README.md", ".gitkeep") for child in path.iterdir())
    return found if found or empty else [path]


def check_all(paths: Iterable[Path], root: Path, board: Path | None = None) -> Iterator[tuple[Checked, Path | None]]:
    """Each submission checked, with the folder on the board if it passed and was taken over.

    Args:
        paths: Files or folders.
        root: Repository of the board, with `results/reproductions`.
        board: Where to take over what passes; None to check alone.

    Raises:
        UserError: A path does not exist, or the file of a reproduction is not valid.
    """
    reproductions = read_reproductions(root)
    known = known_tables(board) if board is not None else {}
    for path in paths:
        checked = check_submission(path, partial(facts_of, known=known))
        yield checked, accept(checked, board, reproductions) if board is not None and checked.passed else None
        name = checked.submission.name
        known = {**{m.table_sha256: name for m in checked.submission.measured}, **known}


def check_changes(repository: Path, base: str, head: str) -> tuple[tuple[Finding, ...], list[Checked]]:
    """The D findings between two commits, and every new submission checked as it is in the second.

    Raises:
        UserError: Not a repository, or commits that it does not have.
    """
    made = changes(repository, base, head)
    known = known_tables(repository / FOLDER)
    checked = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, (method, version) in enumerate(made.added):
            file = archive(repository, head, method, version, Path(scratch) / f"{number}.zip")
            found = check_submission(file, partial(facts_of, known=known))
            manifest = found.submission.manifest
            found.submission.path = repository / FOLDER / method / f"v{version}"
            if manifest and found.submission.name != f"{method}/v{version}":
                place = Finding("D004", str(found.submission.path), found.submission.name, f"{method}/v{version}")
                found = replace(found, findings=(place, *found.findings))
            checked.append(found)
    return made.findings, checked
