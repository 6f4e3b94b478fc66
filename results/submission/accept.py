"""Acceptance: copy a checked submission to a board and set the status of its records.

    BOARD/METHOD/vVERSION/acceptance.json            submitter, status, time, warnings, hashes
    BOARD/METHOD/vVERSION/{submission,card,environment}.json, records/, fits/

Status `verified` means that all numbers were recomputed from the predictions. Status `reproduced` means that a sample
was evaluated again from the submitted weights and agreed (a file in `results/reproductions/` names the digest of the
submission). Only acceptance sets these statuses; a submitted record with one of them is refused (P015).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.base.atomic import write_bytes, write_json
from harness.base.errors import EXIT_FAILED, UserError
from results.codec import JsonObject, encode
from results.record import RECORD_SUFFIX, Status, record_of
from results.submission.check import Checked
from results.submission.contents import open_contents
from results.submission.documents import DocumentError, json_bytes, read_json
from results.submission.rules import RULES
from results.submission.tables import decompress

ACCEPTANCE = "acceptance.json"
SCHEMA = 1
REPRODUCTIONS = Path("results") / "reproductions"


@dataclass(frozen=True)
class Reproduction:
    """The attestation of a reproduction: digest of the submission, verdict, sampled videos, and flipped predictions."""

    digest: str
    passed: bool
    videos: int
    flips: int


def read_reproductions(root: Path) -> tuple[Reproduction, ...]:
    """All attestations below `results/reproductions` of a board's repository.

    Raises:
        UserError: A file is not an attestation (exit code 1).
    """
    return tuple(map(_reproduction, sorted((root / REPRODUCTIONS).glob("*.json"))))


def _reproduction(path: Path) -> Reproduction:
    again = "Write it with: python -m harness submit reproduce FILE"
    try:
        value = read_json(path.read_bytes())
    except (OSError, DocumentError) as error:
        raise UserError(f"The reproduction {path} cannot be read: {error}.", again, EXIT_FAILED) from None
    names = ("digest", "passed", "videos", "flips")
    digest, passed, videos, flips = (value.get(name) for name in names)
    typed = isinstance(digest, str) and isinstance(passed, bool)
    if not typed or not isinstance(videos, int) or not isinstance(flips, int) or not 0 <= flips <= videos or not videos:
        found = {name: value.get(name) for name in names}
        expected = "a digest, true or false, and at most as many flips as videos"
        raise UserError(f"The reproduction {path} states {found}, expected {expected}.", again, EXIT_FAILED)
    return Reproduction(str(digest), passed is True, videos, flips)


@dataclass(frozen=True)
class Acceptance:
    """The content of `acceptance.json`.

    Args:
        method, version: Name and version of the method.
        digest: Digest of the submission.
        accepted: UTC time of the first acceptance, ISO 8601. A copy of the board keeps it.
        harness: Version of the harness that packed it.
        status: Status of the records.
        submitter, code: Submitter, and address of the public code of the method.
        findings: Warnings of the check.
        files: sha256 of every file.
        reproduced: Videos and flips of the successful reproductions.
        schema: Version of this layout.
    """

    method: str
    version: int
    digest: str
    accepted: str
    harness: str
    status: str
    submitter: str
    code: str
    findings: tuple[dict[str, str], ...]
    files: dict[str, str]
    reproduced: tuple[dict[str, int], ...]
    schema: int = SCHEMA


def accept(checked: Checked, board: Path, reproductions: Iterable[Reproduction] = (), now: str = "") -> Path:
    """Copy a submission that passed to a board; returns its folder on the board.

    If the same submission is accepted again, only its status changes; the time of acceptance stays.

    Args:
        checked: The check of the submission.
        board: Folder of the board.
        reproductions: Attestations from the repository of the board.
        now: ISO 8601 time in UTC; empty for the current time.

    Raises:
        UserError: The submission did not pass, was changed after the check, or this version of the method is on the
            board with other content (exit code 1).
    """
    submission, manifest = checked.submission, checked.submission.manifest
    if not checked.passed or manifest is None:
        raise UserError(f"{submission.path} is refused and cannot be accepted.", exit_code=EXIT_FAILED)
    folder = board / manifest.method / f"v{manifest.version}"
    # Before anything is written: a version that is on the board with other content must stay as it is.
    earlier = _earlier(folder, submission.digest, submission.name)
    done = [r for r in reproductions if r.digest == submission.digest and r.passed]
    status: Status = "reproduced" if done else "verified"
    remarks = tuple(f"{f.rule} {RULES[f.rule].requirement} {f.where}: {f.found}" for f in checked.findings)
    with open_contents(submission.path) as contents:
        for name, entry in contents.entries.items():
            if entry.kind == "weights":
                continue  # a board stores only the hashes of weights
            data = entry.read()
            # The container was closed after the check; another process could have replaced the file.
            if hashlib.sha256(data).hexdigest() != submission.hashes.get(name):
                raise UserError(f"{name} of {submission.path} changed after the check.", exit_code=EXIT_FAILED)
            write_bytes(folder / name, _with_status(data, status, remarks) if name.endswith(RECORD_SUFFIX) else data)
    acceptance = Acceptance(
        method=manifest.method, version=manifest.version, digest=submission.digest,
        accepted=earlier or now or datetime.now(UTC).isoformat(timespec="seconds"), harness=manifest.harness,
        status=status, submitter=manifest.submitter, code=manifest.code,
        findings=tuple(f.as_dict() for f in checked.findings), files=submission.hashes,
        reproduced=tuple({"videos": r.videos, "flips": r.flips} for r in done),
    )  # fmt: skip
    # Last: a folder without this file was not accepted completely.
    write_json(folder / ACCEPTANCE, encode(acceptance))
    return folder


def _earlier(folder: Path, digest: str, name: str) -> str:
    """The time of an earlier acceptance of the same submission; empty without.

    Raises:
        UserError: Another submission of the same version is on the board.
    """
    path = folder / ACCEPTANCE
    if not path.is_file():
        return ""
    found = _read(path)
    if found.get("digest") != digest:
        raise UserError(f"{name} is on the board with other content ({path}).", RULES["D001"].fix, EXIT_FAILED)
    return str(found.get("accepted", ""))


def _read(path: Path) -> JsonObject:
    try:
        return read_json(path.read_bytes())
    except (OSError, DocumentError) as error:
        hint = "Restore it from the board's repository."
        raise UserError(f"{path} cannot be read: {error}.", hint, EXIT_FAILED) from None


def acceptance_times(runs: Path) -> dict[Path, str]:
    """Times of acceptance of all accepted submissions below a folder, by the folder of the submission.

    Raises:
        UserError: An `acceptance.json` cannot be read or has no time.
    """
    times = {}
    for path in sorted(runs.rglob(ACCEPTANCE)):
        accepted = _read(path).get("accepted")
        if not isinstance(accepted, str) or not accepted:
            message = f"{path} states the time of acceptance {accepted!r}, expected an ISO 8601 time."
            again = "Accept the submission again: python -m harness submit check FILE --accept BOARD"
            raise UserError(message, again, EXIT_FAILED)
        times[path.parent] = accepted
    return times


def _with_status(data: bytes, status: Status, remarks: tuple[str, ...]) -> bytes:
    """The bytes of a record with a new status and the remarks of the check."""
    record = record_of(read_json(data))
    return json_bytes(encode(replace(record, status=status, remarks=remarks)))


def known_tables(board: Path) -> dict[str, str]:
    """Method and version by the sha256 of each predictions table on a board."""
    known = {}
    for path in sorted(board.glob("*/*/records/*.predictions.csv.gz")):
        try:
            text = decompress(path.read_bytes())
        except (OSError, ValueError, zlib.error) as error:
            raise UserError(f"{path} on the board cannot be read: {error}", exit_code=EXIT_FAILED) from None
        # Of the uncompressed table: gzip gives other bytes for the same text with every level and version.
        known[hashlib.sha256(text).hexdigest()] = "/".join(path.relative_to(board).parts[:2])
    return known
