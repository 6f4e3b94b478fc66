"""Check submissions against the facts of this installation, copy them onto a board, compare commits of a board."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness.base.errors import UserError
from harness.submitting.benchmark_facts import facts_of
from results.submission.accept import accept, known_tables, known_titles
from results.submission.attestation import read_reproductions
from results.submission.changes import FOLDER, Changes, archive, changes
from results.submission.check import Checked, check_submission
from results.submission.contents import printable
from results.submission.copies import KnownTables
from results.submission.rules import Finding


@dataclass(frozen=True)
class Candidate:
    """A submission to check.

    Args:
        path: File or folder.
        name: METHOD/vVERSION, which a folder of submissions requires; empty if the submission stands alone.
    """

    path: Path
    name: str = ""


def submissions_below(path: Path) -> list[Candidate]:
    """The path itself for a single submission, or the folders METHOD/vVERSION of a folder of submissions."""
    if not path.is_dir() or (path / "submission.json").exists() or (path / "records").exists():
        return [Candidate(path)]
    folders = sorted(folder for folder in path.glob("*/v*") if folder.is_dir())
    empty = all(child.name in ("README.md", ".gitkeep") for child in path.iterdir())
    if folders or empty:
        return [Candidate(folder, folder.relative_to(path).as_posix()) for folder in folders]
    return [Candidate(path)]


def check_all(
    candidates: Iterable[Candidate], root: Path, board: Path | None = None
) -> Iterator[tuple[Checked, Path | None]]:
    """Check submissions one after the other.

    A submission that cannot be accepted, because its version is on the board with other content, has a finding D001;
    the next submissions are checked and accepted.

    Args:
        candidates: Files or folders of submissions.
        root: Repository of the board, with `results/reproductions`.
        board: Folder that submissions are copied into if they pass; None only checks.

    Yields:
        The checked submission, and its folder on the board; None if it was not copied.

    Raises:
        UserError: A path does not exist, or a reproduction file is not valid.
    """
    reproductions = read_reproductions(root)
    known = known_tables(board) if board is not None else KnownTables()
    titles = known_titles(board) if board is not None else {}
    for candidate in candidates:
        checked = check_submission(candidate.path, partial(facts_of, known=known, titles=titles))
        submission = checked.submission
        if candidate.name and submission.manifest and submission.name != candidate.name:
            checked = _with(checked, "D004", str(candidate.path), submission.name, candidate.name)
        folder = None
        if board is not None and checked.passed:
            try:
                folder = accept(checked, board, reproductions)
            except UserError as error:
                checked = _with(checked, "D001", str(candidate.path), error.message, "a new version of the method")
        submission.entries.clear()  # the contents: a folder can have thousands of submissions
        yield checked, folder
        # Earlier owners win: the later of two equal tables is the copy.
        for measured in submission.measured:
            if measured.table:
                known.add(submission.name, measured.table)
        if submission.manifest:
            titles = {submission.manifest.method: submission.manifest.title, **titles}


def _with(checked: Checked, rule: str, where: str, found: str, expected: str) -> Checked:
    """A check with one more finding."""
    finding = Finding(rule, printable(where), printable(found), printable(expected))
    return replace(checked, findings=(finding, *checked.findings))


def check_changes(repository: Path, base: str, head: str, author: str = "") -> tuple[Changes, list[Checked]]:
    """Check a pull request to the repository of a board.

    Args:
        repository: Folder of the repository.
        base: Commit that the pull request starts from.
        head: Last commit of the pull request.
        author: Account that opened the pull request; empty does not check owners.

    Returns:
        The changes with findings, and each new submission checked as it is in `head`.

    Raises:
        UserError: The folder is not a repository, or a commit does not exist.
    """
    made = changes(repository, base, head, author)
    known, titles = known_tables(repository / FOLDER), known_titles(repository / FOLDER)
    checked, findings = [], list(made.findings)
    with tempfile.TemporaryDirectory() as scratch:
        for number, (method, version) in enumerate(made.added):
            try:
                file = archive(repository, head, method, version, Path(scratch) / f"{number}.zip")
            except UserError as error:  # one submission does not stop the check of the other submissions
                where = f"{FOLDER}/{method}/v{version}"
                findings.append(Finding("F002", printable(where), printable(error.message), "a submission"))
                continue
            result = check_submission(file, partial(facts_of, known=known, titles=titles))
            submission = result.submission
            submission.path = repository / FOLDER / method / f"v{version}"
            if submission.manifest and submission.name != f"{method}/v{version}":
                result = _with(result, "D004", str(submission.path), submission.name, f"{method}/v{version}")
            checked.append(result)
    return replace(made, findings=tuple(findings)), checked
