"""`submit check`: apply all rules to one submission and report all findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from results.codec import JsonObject, encode
from results.submission.check_arithmetic import check_arithmetic
from results.submission.check_claims import check_claims
from results.submission.check_plausibility import check_plausibility
from results.submission.check_protocol import check_protocol
from results.submission.contents import open_contents, printable
from results.submission.facts import Facts
from results.submission.rules import RULES, Finding
from results.submission.submission import Submission, load_submission, pairs_of

MOST_SHOWN = 45
"""Largest number of findings in the text of a check; a finding has four lines."""
MOST_LISTED = 1000
"""Largest number of findings in the JSON of a check; `errors` and `warnings` count all."""
FactsOf = Callable[[set[tuple[str, str]]], Facts]
"""Returns the facts of (protocol, dataset) pairs."""


@dataclass(frozen=True)
class Checked:
    """The outcome of a check.

    Args:
        submission: The submission; its container is closed.
        findings: Errors, then warnings, sorted by rule and file.
    """

    submission: Submission
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """True if no finding refuses the submission."""
        return not any(finding.refuses for finding in self.findings)

    def rules(self) -> set[str]:
        """Ids of the rules that refuse the submission."""
        return {finding.rule for finding in self.findings if finding.refuses}

    def as_dict(self) -> JsonObject:
        """Verdict, counts, findings with reason and fix, and scores of the submission, JSON-ready."""
        refused = sum(finding.refuses for finding in self.findings)
        manifest = self.submission.manifest
        return {
            "schema": 1, "submission": str(self.submission.path), "name": printable(self.submission.name),
            "digest": self.submission.digest, "passed": self.passed, "records": len(self.submission.measured),
            "errors": refused, "warnings": sum(RULES[f.rule].is_warning for f in self.findings),
            "findings": [{**finding.as_dict()} for finding in self.findings[:MOST_LISTED]],
            "scores": encode(manifest)["scores"] if manifest is not None and self.passed else [],
        }  # fmt: skip

    def text(self) -> str:
        """All findings with reason and fix, and the verdict, as text."""
        counts = self.as_dict()
        verdict = "passed" if self.passed else "REFUSED"
        lines = [*map(str, self.findings[:MOST_SHOWN])]
        if len(self.findings) > MOST_SHOWN:
            rules = Counter(finding.rule for finding in self.findings[MOST_SHOWN:])
            counted = ", ".join(f"{rule} {count} times" for rule, count in sorted(rules.items()))
            lines.append(f"... and {len(self.findings) - MOST_SHOWN} more findings: {counted}")
        lines.append(
            f"{self.submission.path}: {verdict}: {counts['name']}, {counts['records']} records, {counts['errors']} "
            f"errors, {counts['warnings']} warnings"
        )
        return "\n".join(lines)


def check_submission(path: Path, facts_of: FactsOf) -> Checked:
    """Check one submission against all rules. The check does not write, extract or execute any file.

    Args:
        path: A zip file or a folder.
        facts_of: Returns the facts of the benchmark for the (protocol, dataset) pairs of the submission.

    Raises:
        UserError: `path` does not exist.
    """
    with open_contents(path) as contents:
        submission = load_submission(contents)
        try:
            check_arithmetic(submission)
            facts = facts_of(pairs_of([submission]))
            check_protocol(submission, facts)
            check_claims(submission, facts)
            check_plausibility(submission, facts)
        except Exception as error:  # an internal error must refuse the submission, and must not stop the caller
            submission.note("F999", path.name, f"{type(error).__name__}: {error}", "a verdict")
    # Each finding once: a rule on rows can meet the same file in several rows.
    findings = sorted(dict.fromkeys(submission.findings), key=lambda f: (not f.refuses, f.rule, f.where))
    return Checked(submission, tuple(findings))
