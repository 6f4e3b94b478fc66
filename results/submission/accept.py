"""A checked submission taken over onto a board: its records with the status that they have earned.

    BOARD/METHOD/vVERSION/acceptance.json            who was taken over, by which check, with which warnings and waivers
    BOARD/METHOD/vVERSION/{submission,card,environment}.json, records/, fits/

Status `verified` says that every number was recomputed from the predictions; `reproduced` that a sample was evaluated
again from the submitted weights and agreed (a file in `results/reproductions/` names the submission by its digest).
Only this step writes them: a record that arrives with one of them is refused (P015).
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.atomic import write_bytes, write_json
from harness.base.errors import EXIT_FAILED, UserError
from results.record import RECORD_SUFFIX
from results.submission.check import Checked
from results.submission.contents import open_contents
from results.submission.documents import DocumentError, read_json
from results.submission.pack import json_bytes
from results.submission.rules import RULES
from results.submission.tables import decompress

ACCEPTANCE = "acceptance.json"
SCHEMA = 1
REPRODUCTIONS = Path("results") / "reproductions"


@dataclass(frozen=True)
class Reproduction:
    """That a submission was evaluated again: its digest, whether it agreed, and the measured flips."""

    digest: str
    passed: bool
    videos: int
    flips: int


def read_reproductions(root: Path) -> tuple[Reproduction, ...]:
    """All attestations below `results/reproductions` of a board's repository.

    Raises:
        UserError: A file is none (exit code 1).
    """
    found = []
    for path in sorted((root / REPRODUCTIONS).glob("*.json")):
        try:
            value = read_json(path.read_bytes())
            found.append(Reproduction(value["digest"], value["passed"] is True, value["videos"], value["flips"]))
        except (OSError, DocumentError, KeyError) as error:
            raise UserError(f"The reproduction {path} cannot be read: {error}", exit_code=EXIT_FAILED) from None
    return tuple(found)


def accept(checked: Checked, board: Path, reproductions: Iterable[Reproduction] = ()) -> Path:
    """Write a submission that passed below a board's folder; returns the folder. The same again changes nothing.

    Raises:
        UserError: It did not pass, was changed since, or this version of the method is on the board with other
            numbers (exit code 1).
    """
    submission = checked.submission
    if not checked.passed:
        raise UserError(f"{submission.path} is refused and not taken over.", exit_code=EXIT_FAILED)
    folder = board / str(submission.manifest["method"]) / f"v{submission.manifest['version']}"
    _refuse_other(folder, submission.digest, submission.name)
    done = [r for r in reproductions if r.digest == submission.digest and r.passed]
    status = "reproduced" if done else "verified"
    remarks = [
        f"{f.rule} {RULES[f.rule].asks}: {f.where}: {f.found}" + (f"; waived: {f.waived}" if f.waived else "")
        for f in checked.findings
    ]
    with open_contents(submission.path) as contents:
        for name, entry in contents.entries.items():
            if entry.kind == "weights":
                continue  # the board keeps their hashes; the submission keeps them
            data = entry.read()
            if hashlib.sha256(data).hexdigest() != submission.hashes.get(name):
                raise UserError(f"{name} of {submission.path} changed after the check.", exit_code=EXIT_FAILED)
            write_bytes(folder / name, _with_status(data, status, remarks) if name.endswith(RECORD_SUFFIX) else data)
    write_json(
        folder / ACCEPTANCE,
        {
            "schema": SCHEMA, "method": submission.manifest["method"], "version": submission.manifest["version"],
            "digest": submission.digest, "harness": submission.manifest["harness"], "status": status,
            "submitter": submission.manifest["submitter"], "code": submission.manifest["code"],
            "findings": [f.as_dict() for f in checked.findings], "files": submission.hashes,
            "reproduced": [{"videos": r.videos, "flips": r.flips} for r in done],
        },
    )  # fmt: skip
    return folder


def _refuse_other(folder: Path, digest: str, name: str) -> None:
    """Numbers that are on the board stay: another submission of the same version is refused."""
    path = folder / ACCEPTANCE
    if not path.is_file():
        return
    found = json.loads(path.read_text(encoding="utf-8")).get("digest")
    if found != digest:
        raise UserError(f"{name} is on the board with other content ({path}).", RULES["D001"].fix, EXIT_FAILED)


def _with_status(data: bytes, status: str, remarks: list[str]) -> bytes:
    """A record with its new status and what the check remarked, shown beside its row."""
    record: dict[str, Any] = json.loads(data)
    record["status"] = status
    if remarks:
        record["protocol"]["remarks"] = remarks
    return json_bytes(record)


def acceptance_times(runs: Path) -> dict[Path, str]:
    """The folder of every accepted submission below a folder, with the ISO time of its acceptance.

    The time is empty where `acceptance.json` does not state one or cannot be read. A submission counts by its
    outermost `acceptance.json`, because the board writes that one and the submission may bring others.
    """
    found: dict[Path, str] = {}
    for root, folders, names in os.walk(runs):
        if ACCEPTANCE in names:
            folders.clear()
            found[Path(root)] = _accepted(Path(root) / ACCEPTANCE)
    return found


def _accepted(path: Path) -> str:
    try:
        value = read_json(path.read_bytes())
    except (OSError, DocumentError):
        return ""
    accepted = value.get("accepted") if isinstance(value, dict) else None
    return accepted if isinstance(accepted, str) else ""


def known_tables(board: Path) -> dict[str, str]:
    """sha256 of every predictions table on a board, to the method and version it belongs to."""
    known = {}
    for path in sorted(board.glob("*/*/records/*.predictions.csv.gz")):
        try:
            text = decompress(path.read_bytes())
        except (OSError, ValueError, zlib.error) as error:
            raise UserError(f"{path} on the board cannot be read: {error}", exit_code=EXIT_FAILED) from None
        known[hashlib.sha256(text).hexdigest()] = "/".join(path.relative_to(board).parts[:2])
    return known
