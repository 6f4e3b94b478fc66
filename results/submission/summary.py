"""Markdown summary of a check for a pull request: new scores and findings."""

from __future__ import annotations

from collections.abc import Iterable

from results.submission.changes import Changes
from results.submission.check import MOST_SHOWN, Checked
from results.submission.layout import Score
from results.submission.rules import RULES

HEADER = ("| protocol | dataset | column | mean | spread | 95 % |", "| --- | --- | --- | ---: | ---: | --- |")
_MARKS = frozenset("\\`*_[]()<>|#!~&@")


def summary(changes: Changes, checked: Iterable[Checked]) -> str:
    """Changes outside submissions and findings on the changes, then scores and findings of each submission."""
    lines = [f"- outside submissions, a maintainer reviews it: {_cell(path)}" for path in changes.outside]
    for finding in changes.findings:
        fix = RULES[finding.rule].fix
        lines.append(f"- **{finding.rule}** {_cell(finding.where)}: {_cell(finding.found)}. {fix}")
    for submission in checked:
        verdict = "passed" if submission.passed else "refused"
        lines += ["", f"## {_cell(submission.submission.name)}: {verdict}", ""]
        manifest = submission.submission.manifest
        scores = manifest.scores if manifest is not None and submission.passed else ()
        if scores:
            lines += list(HEADER)
        for s in scores:
            spread = "" if s.spread is None else f"{s.spread:.1f} ({s.n} {s.kind})"
            lines.append(
                f"| {_cell(s.protocol)} | {_cell(s.dataset)} | {_cell(s.column)} | {s.mean:.1f} | "
                f"{_cell(spread)} | {_interval(s)} |"
            )
        lines += [""] if scores else []
        for f in submission.findings[:MOST_SHOWN]:
            kind = "error" if f.refuses else "warning"
            rule = RULES[f.rule]
            lines.append(
                f"- **{f.rule}** ({kind}) {rule.requirement} {_cell(f.where)}: found {_cell(f.found)}, expected "
                f"{_cell(f.expected)}. {rule.fix}"
            )
    return "\n".join(lines) + "\n"


def _interval(score: Score) -> str:
    return "" if score.low is None or score.high is None else f"{score.low:.1f} to {score.high:.1f}"


def _cell(text: str) -> str:
    """Untrusted text with all Markdown and HTML characters escaped."""
    return "".join(f"&#{ord(char)};" if char in _MARKS else char for char in text).replace("\n", " ")
