"""Waivers: protocol and plausibility findings that the keepers of a board let pass, each in a file and with a reason.

They are read from `results/waivers/` of the board's repository and from nowhere else; a file of that kind inside a
submission is a file that no rule knows, and refused. One JSON object a file:

    {"schema": 1, "method": "mymethod", "version": 2, "rule": "P022", "where": "", "reason": "...", "by": "...",
     "date": "2026-01-31"}

`where` limits it to findings whose place contains the text; empty means all findings of the rule.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import EXIT_FAILED, UserError
from results.submission.documents import DocumentError, read_json
from results.submission.rules import RULES, Finding
from results.submission.submission import Submission

FOLDER = Path("results") / "waivers"
SCHEMA = 1
FIELDS = {"schema", "method", "version", "rule", "where", "reason", "by", "date"}
SHORTEST = 20
"""Characters of a reason."""


@dataclass(frozen=True)
class Waiver:
    """One waiver: of which rule, for which method and version, why, by whom and when."""

    method: str
    version: int
    rule: str
    where: str
    reason: str
    by: str
    date: str
    file: str


def read_waivers(root: Path) -> tuple[Waiver, ...]:
    """All waivers of a board's repository, by file name; none if it has no `results/waivers`.

    Args:
        root: The repository's folder.

    Raises:
        UserError: A file is not a waiver, waives a rule that cannot be waived, or gives no reason (exit code 1).
    """
    return tuple(_read(path) for path in sorted((root / FOLDER).glob("*.json")))


def _read(path: Path) -> Waiver:
    try:
        value = read_json(path.read_bytes())
    except (OSError, DocumentError) as error:
        raise UserError(f"The waiver {path} cannot be read: {error}", exit_code=EXIT_FAILED) from None
    if set(value) != FIELDS or value["schema"] != SCHEMA:
        raise UserError(
            f"The waiver {path} has the entries {sorted(value)}, expected {sorted(FIELDS)} and schema {SCHEMA}.",
            exit_code=EXIT_FAILED,
        )
    texts = {name: value[name] for name in ("method", "rule", "where", "reason", "by", "date")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise UserError(f"The waiver {path} holds an entry that is not a text.", exit_code=EXIT_FAILED)
    if type(value["version"]) is not int or value["version"] < 1:
        found = repr(value["version"])
        raise UserError(f"The waiver {path} has the version {found}, expected a number from 1.", exit_code=EXIT_FAILED)
    rule = RULES.get(texts["rule"])
    if rule is None or not rule.waivable:
        ways = "Protocol (P) and plausibility (W) rules can be waived; damage and false arithmetic can not."
        raise UserError(f"The waiver {path} waives {texts['rule']!r}, which cannot be waived.", ways, EXIT_FAILED)
    if len(texts["reason"].strip()) < SHORTEST or not texts["by"].strip() or not _is_date(texts["date"]):
        ways = f"Give a reason of at least {SHORTEST} characters, `by`, and a date such as 2026-01-31."
        raise UserError(f"The waiver {path} does not say why, by whom and when.", ways, EXIT_FAILED)
    return Waiver(**texts, version=value["version"], file=path.name)


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def waiver_of(finding: Finding, submission: Submission, waivers: Iterable[Waiver]) -> str:
    """Why a finding is let pass, with who said so; empty if it is not."""
    manifest = submission.manifest
    for waiver in waivers if manifest is not None else ():
        mine = manifest is not None and (waiver.method, waiver.version) == (manifest.method, manifest.version)
        if mine and waiver.rule == finding.rule and RULES[waiver.rule].waivable and waiver.where in finding.where:
            return f"{waiver.reason} ({waiver.by}, {waiver.date}, {FOLDER.as_posix()}/{waiver.file})"
    return ""
