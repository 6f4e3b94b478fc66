"""The table cells of a submission from its records: the mean over repeats, its spread and interval, harmonic means.

The same rules as on the board; a test holds the two together.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, replace

from harness.spec import Column
from results.intervals import harmonic_interval, wilson
from results.metrics import harmonic_mean
from results.record import Record
from results.submission.layout import Score
from results.submission.submission import Submission


def scores_of(submission: Submission) -> tuple[Score, ...]:
    """All table cells, sorted by row and in the order of the protocol's columns."""
    found: list[Score] = []
    for key, members in sorted(submission.rows().items()):
        found += _row_scores(key, [one.record for one in members])
    return tuple(found)


def _row_scores(row: str, records: list[Record]) -> Iterable[Score]:
    m = records[0].measurement
    place = Score(row, m.protocol.name, m.evaluation.list.dataset, "", 0.0, None, 0, "", 0.0, 0.0)
    cells: dict[str, tuple[Score, int]] = {}
    for rule in records[0].columns:
        if rule.harmonic_of is not None:
            first, second = (cells.get(name) for name in rule.harmonic_of)
            if first and second and first[1] and second[1]:  # of two means, never of another harmonic mean
                cells[rule.name] = _harmonic(place, rule, first, second), 0
        elif chosen := [record for record in records if record.measurement.protocol.part == rule.part]:
            size = max(record.measurement.evaluation.evaluated for record in chosen)
            cells[rule.name] = _mean(place, rule, chosen, size), size
    return (cell for cell, _ in cells.values())


def _mean(place: Score, rule: Column, records: list[Record], size: int) -> Score:
    """A column of a row that `place` names, over repeats with at most `size` videos."""
    values = [asdict(record.metrics).get(rule.metric, 0.0) for record in records]
    mean = statistics.fmean(values)
    interval = wilson(mean, size)
    return replace(
        place, column=rule.name, mean=mean, spread=statistics.pstdev(values) if len(values) > 1 else None,
        n=len(values), kind=records[0].measurement.protocol.repeat.kind, low=interval.low, high=interval.high,
    )  # fmt: skip


def _harmonic(place: Score, rule: Column, first: tuple[Score, int], second: tuple[Score, int]) -> Score:
    """The harmonic mean of two columns, each with its number of videos."""
    (a, a_size), (b, b_size) = first, second
    interval = harmonic_interval(a.mean, a_size, b.mean, b_size)
    return replace(
        place, column=rule.name, mean=harmonic_mean(a.mean, b.mean), n=min(a.n, b.n), kind=a.kind, low=interval.low,
        high=interval.high,
    )  # fmt: skip
