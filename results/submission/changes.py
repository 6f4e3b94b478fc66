"""The changes of a pull request in the repository of a board (rules D): only new submissions are allowed.

Submissions are read from git objects and never from the work tree, which another process could change.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError
from results.submission.contents import printable
from results.submission.rules import Finding

FOLDER = "submissions"
_PLACE = re.compile(rf"{FOLDER}/([A-Za-z0-9][A-Za-z0-9._+-]*)/v([A-Za-z0-9._+-]+)/(.+)", re.DOTALL)
PLAIN = "100644"


@dataclass(frozen=True)
class Change:
    """A changed path with the status letter of git and the mode of the new file."""

    path: str
    status: str
    mode: str


@dataclass(frozen=True)
class Changes:
    """The changes of a pull request.

    Args:
        findings: Findings of the D rules.
        added: (method, version) of new submission folders, sorted.
    """

    findings: tuple[Finding, ...]
    added: tuple[tuple[str, str], ...]


def changes(repository: Path, base: str, head: str) -> Changes:
    """Findings and new submissions between the merge base of two commits and the second commit.

    Raises:
        UserError: The folder is not a git repository, or a commit does not exist.
    """
    changed = list(_changed(repository, base, head))
    submissions = [change for change in changed if change.path.startswith(f"{FOLDER}/")]
    if not submissions:
        return Changes((), ())
    # Not `base` itself: submissions that were merged meanwhile are not changes of this pull request.
    fork = _git(repository, "merge-base", base, head).strip()
    present = _versions(repository, fork)
    findings, added = [], set()
    for change in changed:
        parts = _PLACE.fullmatch(change.path)
        if not change.path.startswith(f"{FOLDER}/"):
            findings.append(_finding("D003", change.path, "a change outside of submissions", f"only {FOLDER}/"))
        elif parts is None:
            findings.append(_finding("D004", change.path, "this path", f"{FOLDER}/METHOD/vVERSION/..."))
        elif (parts[1], parts[2]) in present:
            rule, found_text = ("D002", "removed") if change.status == "D" else ("D001", "changed or added")
            findings.append(_finding(rule, change.path, found_text, "no change"))
        else:
            added.add((parts[1], parts[2]))
            if change.mode != PLAIN:
                findings.append(_finding("D006", change.path, f"mode {change.mode}", f"mode {PLAIN}"))
    for method, version in sorted(added):
        earlier = [v for m, v in present if m == method]
        if any(not _above(version, other) for other in earlier):
            where = f"{FOLDER}/{method}/v{version}"
            findings.append(_finding("D005", where, f"version {version}", f"above {', '.join(sorted(earlier))}"))
    return Changes(tuple(dict.fromkeys(findings)), tuple(sorted(added)))


def _finding(rule: str, where: str, found: str, expected: str) -> Finding:
    return Finding(rule, printable(where), printable(found), printable(expected))


def _above(version: str, other: str) -> bool:
    """True if a version is higher than another; versions that are not numbers only have to differ."""
    if version.isdigit() and other.isdigit():
        return int(version) > int(other)
    return version != other


def _changed(repository: Path, base: str, head: str) -> Iterator[Change]:
    # With -z names are not quoted; without renames a moved file shows as removed and added.
    fields = _git(repository, "diff", "--raw", "-z", "--no-renames", "--no-ext-diff", f"{base}...{head}").split("\0")
    for meta, path in zip(fields[0::2], fields[1::2], strict=False):
        _, mode, _, _, status = meta.removeprefix(":").split(" ")
        yield Change(path, status[0], mode)


def _versions(repository: Path, commit: str) -> set[tuple[str, str]]:
    """Method and version of all submissions of a commit."""
    listed = _git(repository, "ls-tree", "-r", "-z", "--name-only", commit, "--", FOLDER).split("\0")
    return {(place[1], place[2]) for path in listed if (place := _PLACE.fullmatch(path))}


def archive(repository: Path, head: str, method: str, version: str, out: Path) -> Path:
    """Write a submission of a commit as a zip file from git objects."""
    tree = f"{head}:{FOLDER}/{method}/v{version}"
    _git(repository, "archive", "--format=zip", f"--output={out.resolve()}", tree)
    return out


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), "-c", "core.quotepath=off", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        message = getattr(error, "stderr", None) or str(error).encode()
        raise UserError(
            f"git {' '.join(arguments[:2])} failed in {repository}: {message.decode('utf-8', 'replace').strip()}",
            "Give a git repository and two of its commits (fetch with depth 0).",
        ) from None
    return done.stdout.decode("utf-8", "backslashreplace")
