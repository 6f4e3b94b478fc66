"""Means of table columns from the records of one row; boards and submissions call the same function."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.spec import Column
from results.record import Record
from results.statistics.metrics import harmonic_mean

DDOF = 0
"""Spreads divide by n, as the code bases of this field do; every spread is shown with its n, kind and ddof."""


@dataclass(frozen=True)
class ColumnMean:
    """The mean of a column in percent.

    Args:
        column: Name of the column.
        mean: Mean over repeats, or the harmonic mean of two such means. Not rounded.
        spread: Standard deviation over repeats (`DDOF`); None for a single repeat and for harmonic means.
        n: Number of repeats.
        kind: Kind of the repeats: `test_split`, `class_subset`, `train_subset`, `seed` or `single`.
        harmonic_of: The two columns of a harmonic mean.
    """

    column: str
    mean: float
    spread: float | None
    n: int
    kind: str
    harmonic_of: tuple[str, str] | None = None


def column_means(columns: Sequence[Column], records: Iterable[Record]) -> dict[str, ColumnMean]:
    """The means of all columns that have records, by name and in the order of the columns.

    Args:
        columns: Column rules of the protocol.
        records: The records of one row, one for each part and repeat.
    """
    by_part: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.measurement.protocol.repeat.index):
        by_part.setdefault(record.measurement.protocol.part, []).append(record)
    means: dict[str, ColumnMean] = {}
    for column in columns:
        if column.harmonic_of is not None:
            first, second = (means.get(name) for name in column.harmonic_of)
            if first is not None and second is not None:
                means[column.name] = _harmonic(column.name, first, second)
        elif column.part in by_part:
            means[column.name] = _mean(column, by_part[column.part])
    return means


def _mean(column: Column, records: Sequence[Record]) -> ColumnMean:
    """The mean of one metric over repeats."""
    values = [metric_value(record, column.metric) for record in records]
    return ColumnMean(
        column=column.name,
        mean=float(np.mean(values)),
        spread=float(np.std(values, ddof=DDOF)) if len(values) > 1 else None,
        n=len(values),
        kind=records[0].measurement.protocol.repeat.kind,
    )


def metric_value(record: Record, metric: str) -> float:
    """A metric of a record by name, in percent."""
    return float(getattr(record.metrics, metric))


def _harmonic(column: str, a: ColumnMean, b: ColumnMean) -> ColumnMean:
    """The harmonic mean of two unrounded means over repeats, never the mean of harmonic means."""
    return ColumnMean(
        column=column,
        mean=harmonic_mean(a.mean, b.mean),
        spread=None,
        n=min(a.n, b.n),
        kind=a.kind,
        harmonic_of=(a.column, b.column),
    )
