"""Check submissions against the facts of this installation, copy them onto a board, compare commits of a board."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.submitting.benchmark_facts import facts_of
from results.submission.accept import accept, known_tables, read_reproductions
from results.submission.changes import FOLDER, archive, changes
from results.submission.check import Checked, check_submission
from results.submission.rules import Finding


def submissions_below(path: Path) -> list[Path]:
    """The path itself for a single submission, or the folders METHOD/vVERSION of a folder of submissions."""
    if not path.is_dir() or (path / "submission.json").exists() or (path / "records").exists():
        return [path]
    folders = sorted(folder for folder in path.glob("*/v*") if folder.is_dir())
    empty = all(child.name in ("README.md", ".gitkeep") for child in path.iterdir())
    return folders if folders or empty else [path]


def check_all(paths: Iterable[Path], root: Path, board: Path | None = None) -> Iterator[tuple[Checked, Path | None]]:
    """Check submissions one after the other.

    Args:
        paths: Files or folders of submissions.
        root: Repository of the board, with `results/reproductions`.
        board: Folder that submissions are copied into if they pass; None only checks.

    Yields:
        The checked submission, and its folder on the board; None if it was not copied.

    Raises:
        UserError: A path does not exist, or a reproduction file is not valid.
    """
    reproductions = read_reproductions(root)
    known = known_tables(board) if board is not None else {}
    for path in paths:
        checked = check_submission(path, partial(facts_of, known=known))
        yield checked, accept(checked, board, reproductions) if board is not None and checked.passed else None
        name = checked.submission.name
        # Earlier owners win: the later of two equal tables is the copy.
        known = {**{m.table_sha256: name for m in checked.submission.measured}, **known}


def check_changes(repository: Path, base: str, head: str) -> tuple[tuple[Finding, ...], list[Checked]]:
    """Check a pull request to the repository of a board.

    Args:
        repository: Folder of the repository.
        base: Commit that the pull request starts from.
        head: Last commit of the pull request.

    Returns:
        The findings about changed submissions (rules D), and each new submission checked as it is in `head`.

    Raises:
        UserError: The folder is not a repository, or a commit does not exist.
    """
    made = changes(repository, base, head)
    known = known_tables(repository / FOLDER)
    checked = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, (method, version) in enumerate(made.added):
            file = archive(repository, head, method, version, Path(scratch) / f"{number}.zip")
            result = check_submission(file, partial(facts_of, known=known))
            submission = result.submission
            # Messages name the folder of the repository, not the temporary archive.
            submission.path = repository / FOLDER / method / f"v{version}"
            if submission.manifest and submission.name != f"{method}/v{version}":
                wrong_folder = Finding("D004", str(submission.path), submission.name, f"{method}/v{version}")
                result = replace(result, findings=(wrong_folder, *result.findings))
            checked.append(result)
    return made.findings, checked
