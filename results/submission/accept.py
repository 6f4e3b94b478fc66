"""Acceptance: copy a checked submission to a board and set the status of its records.

    BOARD/METHOD/vVERSION/acceptance.json            submitter, status, time, warnings, hashes
    BOARD/METHOD/vVERSION/{submission,card,environment}.json, records/, fits/

Status `verified` means that all numbers were recomputed from the predictions. Status `reproduced` means that a sample
was evaluated again from the submitted weights and agreed: signed files in `results/reproductions/` name the digest of
the submission, and none of them failed. Only acceptance sets these statuses; a submitted record with one of them is
refused (P015).
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.errors import EXIT_FAILED, UserError
from results.codec import JsonObject, encode
from results.record import RECORD_SUFFIX, Status, record_of
from results.submission.attestation import Attestation
from results.submission.check import Checked
from results.submission.check_claims import BUILT_IN
from results.submission.copies import KnownTables
from results.submission.documents import DocumentError, json_bytes, read_json
from results.submission.rules import RULES
from results.submission.submission import Measured, Submission
from results.submission.tables import decompress

ACCEPTANCE = "acceptance.json"
SCHEMA = 1
NOT_EXECUTED = "not re-executed: invented predictions would pass the check; `submit reproduce` evaluates the row again"
"""Remark on records of built-in and untrained methods without attached weights."""


@dataclass(frozen=True)
class Reproduced:
    """A reproduction in `acceptance.json`: time, sampled videos, flipped predictions, and verdict."""

    created: str
    videos: int
    flips: int
    passed: bool


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
        reproductions: Videos, flips and verdict of every reproduction.
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
    reproductions: tuple[Reproduced, ...]
    schema: int = SCHEMA


def accept(checked: Checked, board: Path, reproductions: Iterable[Attestation] = (), now: str = "") -> Path:
    """Write a submission that passed to a board, from the bytes that were checked; returns its folder on the board.

    If the same submission is accepted again, only its status changes; the time of acceptance stays.

    Args:
        checked: The check of the submission.
        board: Folder of the board.
        reproductions: Attestations from the repository of the board.
        now: ISO 8601 time in UTC; empty for the current time.

    Raises:
        UserError: The submission did not pass, or this version of the method is on the board with other content (exit
            code 1).
    """
    submission, manifest = checked.submission, checked.submission.manifest
    if not checked.passed or manifest is None:
        see = f"Its findings: python -m harness submit check {submission.path}"
        raise UserError(f"{submission.path} is refused and cannot be accepted.", see, EXIT_FAILED)
    folder = board / manifest.method / f"v{manifest.version}"
    earlier = _earlier(folder, submission.digest, submission.name)
    done = tuple(
        Reproduced(made.created, made.videos, made.flips, made.passed)
        for made in reproductions if made.digest == submission.digest
    )  # fmt: skip
    failed = [made for made in done if not made.passed]
    # A failed reproduction counts: otherwise a sample would be repeated until it passes.
    status: Status = "reproduced" if done and not failed else "verified"
    remarks = [f"{f.rule} {RULES[f.rule].requirement} {f.where}: {f.found}" for f in checked.findings]
    remarks += [f"not reproduced on {run.created}: {run.flips} of {run.videos} predictions differ" for run in failed]
    unexecuted = set() if done else {m.name for m in submission.measured if _not_executed(submission, m)}
    files = {
        name: _with_status(entry.read(), status, (*remarks, *([NOT_EXECUTED] if name in unexecuted else [])))
        if name.endswith(RECORD_SUFFIX) else entry.read()
        for name, entry in submission.entries.items() if entry.kind != "weights"  # a board stores only their hashes
    }  # fmt: skip
    acceptance = Acceptance(
        method=manifest.method, version=manifest.version, digest=submission.digest,
        accepted=earlier or now or datetime.now(UTC).isoformat(timespec="seconds"), harness=manifest.harness,
        status=status, submitter=manifest.submitter, code=manifest.code,
        findings=tuple(f.as_dict() for f in checked.findings), files=submission.hashes,
        reproductions=done,
    )  # fmt: skip
    files[ACCEPTANCE] = json_bytes(encode(acceptance))
    if earlier:
        # The status changed at most: each file is replaced atomically, and the acceptance, which is read first, last.
        for name, data in files.items():
            if not (folder / name).is_file() or (folder / name).read_bytes() != data:
                write_bytes(folder / name, data)
    else:
        _publish(files, folder)
    return folder


def _not_executed(submission: Submission, measured: Measured) -> bool:
    """Whether a record is of a built-in or untrained method without attached weights.

    Readers trust such rows, because the code is known; but only a new evaluation shows that the code was run.
    """
    known = measured.m.training is None or measured.record.method.origin == BUILT_IN
    return known and measured.keys.fit not in submission.weights


def _publish(files: Mapping[str, bytes], folder: Path) -> None:
    """Write all files into a new folder, then rename it: a failure leaves nothing on the board."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for torn in folder.parent.glob(f".{folder.name}-*.part"):  # a killed acceptance could not remove its folder
        shutil.rmtree(torn, ignore_errors=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".part", dir=folder.parent))
    try:
        for name, data in files.items():
            write_bytes(staged / name, data)
        staged.chmod(0o755)  # mkdtemp makes a private folder, while a board is public
        staged.rename(folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()  # only if it is empty: this submission made it
        raise


def _earlier(folder: Path, digest: str, name: str) -> str:
    """The time of an earlier acceptance of the same submission; empty without.

    Raises:
        UserError: Another submission of the same version is on the board.
    """
    path = folder / ACCEPTANCE
    if not path.is_file():
        return ""
    acceptance = _read(path)
    if acceptance.get("digest") != digest:
        raise UserError(f"{name} is on the board with other content ({path}).", RULES["D001"].fix, EXIT_FAILED)
    return str(acceptance.get("accepted", ""))


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


def known_tables(board: Path) -> KnownTables:
    """All predictions tables on a board."""
    known = KnownTables()
    for path in sorted(board.glob("*/[!.]*/records/*.predictions.csv.gz")):
        try:
            text = decompress(path.read_bytes())
        except (OSError, ValueError, zlib.error) as error:
            raise UserError(f"{path} on the board cannot be read: {error}", exit_code=EXIT_FAILED) from None
        known.add("/".join(path.relative_to(board).parts[:2]), text)
    return known


def known_titles(board: Path) -> dict[str, str]:
    """Title of each method on a board, or in the folder of submissions of its repository, by the name of the method."""
    titles = {}
    for path in sorted(board.glob("*/[!.]*/submission.json")):
        manifest = _read(path)
        titles[str(manifest.get("method"))] = str(manifest.get("title"))
    return titles
