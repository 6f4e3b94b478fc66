"""The table cells of a submission from its records: the mean over repeats, its spread and interval, harmonic means.

The same rules as on the board; a test holds the two together.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict

from harness.spec import Column
from results.intervals import Interval, harmonic_interval, wilson
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
    cells: dict[str, tuple[Score, int]] = {}
    for rule in records[0].columns:
        if rule.harmonic_of is not None:
            first, second = (cells.get(name) for name in rule.harmonic_of)
            if first and second and first[1] and second[1]:  # of two means, never of another harmonic mean
                cells[rule.name] = _harmonic(row, records[0], rule, first, second), 0
        elif chosen := [record for record in records if record.measurement.protocol.part == rule.part]:
            size = max(record.measurement.evaluation.evaluated for record in chosen)
            cells[rule.name] = _mean(row, rule, chosen, size), size
    return (cell for cell, _ in cells.values())


def _mean(row: str, rule: Column, records: list[Record], size: int) -> Score:
    values = [asdict(record.metrics).get(rule.metric, 0.0) for record in records]
    mean = statistics.fmean(values)
    spread = statistics.pstdev(values) if len(values) > 1 else None
    kind = records[0].measurement.protocol.repeat.kind
    return _score(row, records[0], rule.name, mean, spread, len(values), kind, wilson(mean, size))


def _harmonic(row: str, record: Record, rule: Column, first: tuple[Score, int], second: tuple[Score, int]) -> Score:
    (a, a_size), (b, b_size) = first, second
    mean = harmonic_mean(a.mean, b.mean)
    interval = harmonic_interval(a.mean, a_size, b.mean, b_size)
    return _score(row, record, rule.name, mean, None, min(a.n, b.n), a.kind, interval)


def _score(
    row: str, record: Record, column: str, mean: float, spread: float | None, n: int, kind: str, interval: Interval
) -> Score:
    m = record.measurement
    return Score(
        row=row, protocol=m.protocol.name, dataset=m.evaluation.list.dataset, column=column, mean=mean, spread=spread,
        n=n, kind=kind, low=interval.low, high=interval.high,
    )  # fmt: skip
