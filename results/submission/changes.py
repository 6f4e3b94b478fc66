"""The changes of a pull request in the repository of a board (rules D): only new submissions are allowed.

Submissions are read from git objects and never from the work tree, which another process could change.
"""

from __future__ import annotations

import re
import subprocess
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import EXIT_FAILED, UserError
from results.submission.contents import MAX_TOTAL, printable
from results.submission.documents import DocumentError, read_json
from results.submission.names import confusable
from results.submission.rules import Finding

FOLDER = "submissions"
# DOTALL, because the name of a file can contain a line feed.
_PLACE = re.compile(rf"{FOLDER}/([A-Za-z0-9][A-Za-z0-9._+-]*)/v([A-Za-z0-9._+-]+)/(.+)", re.DOTALL)
PLAIN = "100644"
OWNERS = "owners.json"
_OWNERS_FORM = 'Write an object such as {"METHOD": "ACCOUNT"} into owners.json of the main branch.'


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
        outside: Changed paths outside the folder of submissions, sorted; a maintainer reviews these changes.
    """

    findings: tuple[Finding, ...]
    added: tuple[tuple[str, str], ...]
    outside: tuple[str, ...] = ()


def changes(repository: Path, base: str, head: str, author: str = "") -> Changes:
    """Findings and new submissions between the merge base of two commits and the second commit.

    Args:
        repository: Folder of the repository.
        base: Commit that the pull request starts from.
        head: Last commit of the pull request.
        author: Account that opened the pull request; empty does not check owners.

    Raises:
        UserError: The folder is not a git repository, a commit does not exist, or `owners.json` is not a mapping of
            methods to accounts.
    """
    changed = list(_changed(repository, base, head))
    outside = tuple(sorted(printable(change.path) for change in changed if not change.path.startswith(f"{FOLDER}/")))
    if len(outside) == len(changed):
        return Changes((), (), outside)
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
    findings += _owner_findings({method for method, _ in added}, owners(repository, fork), author) if author else []
    return Changes(tuple(dict.fromkeys(findings)), tuple(sorted(added)), outside)


def _owner_findings(methods: Iterable[str], owned: Mapping[str, str], author: str) -> list[Finding]:
    """Findings of new submissions of methods that belong to another account (rule D007)."""
    return [
        _finding("D007", f"{FOLDER}/{method}", f"a pull request of {author}", f"of {owner}, who owns {name}")
        for method in sorted(methods) for name, owner in owned.items()
        if confusable(method, name) and owner.casefold() != author.casefold()
    ]  # fmt: skip


def owners(repository: Path, commit: str) -> dict[str, str]:
    """The account of each method's first submitter, from `owners.json` of a commit; empty without the file.

    Raises:
        UserError: The file is not a mapping of methods to accounts.
    """
    if not _git(repository, "ls-tree", "--name-only", commit, "--", OWNERS).strip():
        return {}
    try:
        owned = read_json(_git_bytes(repository, "cat-file", "blob", f"{commit}:{OWNERS}"))
    except DocumentError as error:
        raise UserError(f"{OWNERS} of {commit} cannot be read: {error}.", _OWNERS_FORM, EXIT_FAILED) from None
    accounts = {method: owner for method, owner in owned.items() if isinstance(owner, str) and owner}
    if len(accounts) != len(owned):
        raise UserError(f"{OWNERS} of {commit} names a method without an account.", _OWNERS_FORM, EXIT_FAILED)
    return accounts


def _finding(rule: str, where: str, found: str, expected: str) -> Finding:
    return Finding(rule, printable(where), printable(found), printable(expected))


def _above(version: str, other: str) -> bool:
    """True if a version is higher than another; versions that are not numbers only have to differ."""
    if version.isdigit() and other.isdigit():
        return int(version) > int(other)
    return version != other


def _changed(repository: Path, base: str, head: str) -> Iterator[Change]:
    # `--no-renames`: as a rename, the removal of a file (rule D002) would look like a change of another path.
    fields = _git(repository, "diff", "--raw", "-z", "--no-renames", "--no-ext-diff", f"{base}...{head}").split("\0")
    # The output ends with NUL, so that the last field is empty and has no path.
    for meta, path in zip(fields[0::2], fields[1::2], strict=False):
        _, mode, _, _, status = meta.removeprefix(":").split(" ")
        yield Change(path, status[0], mode)


def _versions(repository: Path, commit: str) -> set[tuple[str, str]]:
    """Method and version of all submissions of a commit."""
    listed = _git(repository, "ls-tree", "-r", "-z", "--name-only", commit, "--", FOLDER).split("\0")
    return {(match[1], match[2]) for path in listed if (match := _PLACE.fullmatch(path))}


def archive(repository: Path, head: str, method: str, version: str, out: Path) -> Path:
    """Write a submission of a commit as a zip file from git objects.

    The files are read one by one: `git archive` obeys the attributes `export-ignore` and `export-subst` of a
    `.gitattributes` file in the commit, and would leave out or change files of the submission.

    Raises:
        UserError: The files have more than `MAX_TOTAL` bytes, so that they cannot be a submission (exit code 1).
    """
    tree = f"{head}:{FOLDER}/{method}/v{version}"
    entries = [entry for entry in _git(repository, "ls-tree", "-r", "-l", "-z", tree).split("\0") if entry]
    total = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for entry in entries:
            facts, _, path = entry.partition("\t")
            mode, kind, name, size = facts.split()
            total += int(size) if size.isdigit() else 0
            if total > MAX_TOTAL:
                expected = f"at most {MAX_TOTAL} bytes"
                raise UserError(f"{FOLDER}/{method}/v{version} is larger than {expected}.", exit_code=EXIT_FAILED)
            info = zipfile.ZipInfo(path)
            info.create_system = 3  # Unix: the type and the permissions of a file are in `external_attr`
            info.external_attr = int(mode, 8) << 16
            made.writestr(info, _git_bytes(repository, "cat-file", "blob", name) if kind == "blob" else b"")
    return out


def _git(repository: Path, *arguments: str) -> str:
    return _git_bytes(repository, *arguments).decode("utf-8", "backslashreplace")


def _git_bytes(repository: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(repository), "-c", "core.quotepath=off", *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout
    except (OSError, subprocess.SubprocessError) as error:
        message = getattr(error, "stderr", None) or str(error).encode()
        raise UserError(
            f"git {' '.join(arguments[:2])} failed in {repository}: {message.decode('utf-8', 'replace').strip()}",
            "Give a git repository and two of its commits (fetch with depth 0).",
        ) from None
