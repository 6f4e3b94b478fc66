"""The facts of this installation, as `submit check` uses them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from harness.submitting.benchmark_facts import facts_of
from results.measurement import ListId, Measurement
from results.record import Overlap
from results.submission.check import Checked, check_submission
from results.submission.copies import KnownTables
from results.submission.facts import Facts


def overlap(m: Measurement, parents: tuple[ListId, ...] = ()) -> Overlap:
    """The leakage checks of a record, with the seen classes and without the strict score."""
    pair = m.protocol.name, m.evaluation.list.dataset
    known = installed_facts(frozenset([pair])).pairs[pair]
    trained = [m.fitted.list, *parents] if m.fitted else [None]
    audits = [audit for listed in trained if (audit := known.audit(listed, m.evaluation.list)) is not None]
    seen = {id: item.name for audit in audits for item in audit.seen for id in audit.seen_ids if id == item.id}
    return Overlap(seen_classes=tuple(seen[id] for id in sorted(seen)), audits=tuple(audits))


@cache
def installed_facts(pairs: frozenset[tuple[str, str]]) -> Facts:
    return facts_of(pairs)


def check(path: Path, known: KnownTables | None = None) -> Checked:
    """`submit check` with the facts of this installation."""
    tables = known or KnownTables()
    return check_submission(path, lambda pairs: replace(installed_facts(frozenset(pairs)), known=tables))
