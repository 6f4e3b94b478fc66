"""Columns of rows: shots, and the column by which a table is sorted and ranked first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from harness.spec import Column
from reports.layout import PAPER_TABLES
from reports.row import Row

NO_SHOTS: Mapping[str, int] = {}


def shots_of(rows: Sequence[Row]) -> Mapping[str, int]:
    """Training videos per class (K) of each top-1 column, for rows of one protocol; empty unless columns differ in K.

    K is that of the recorded fits of the column's part. The records of untrained methods state no K: a column that has
    no fit takes the K that the published tables print for a column of its name, else the K of a part that is named
    `kN`, as in the protocol `few_shot`.
    """
    fitted = {
        entry.measurement.protocol.part: entry.record.fit.shots
        for row in rows
        for entry in row.entries
        if entry.record.fit and entry.record.fit.shots
    }
    shots = {}
    for rule in rules_of(rows):
        printed = PAPER_TABLES.columns.get(rule.name)
        number = fitted.get(rule.part) or (printed.shots if printed else None) or _named(rule.part)
        if number and rule.harmonic_of is None:
            shots[rule.name] = number
    return shots if len(set(shots.values())) > 1 else NO_SHOTS


def _named(part: str) -> int | None:
    """K of a part with the name `kN`; None for any other part."""
    form = re.fullmatch(r"k([1-9]\d*)", part)
    return int(form[1]) if form else None


def rules_of(rows: Iterable[Row]) -> tuple[Column, ...]:
    """The rules of all columns of the rows, each once, in order."""
    return tuple(dict.fromkeys(rule for row in rows for rule in row.rules))


def primary_column(columns: Sequence[str], harmonic: Iterable[str], shots: Mapping[str, int]) -> str:
    """The column by which a table is sorted and ranked first.

    It is the first harmonic mean. A table without one takes the column with the most shots where columns differ in
    shots, and its first column otherwise.

    Args:
        columns: Names in the order of the table, at least one.
        harmonic: Names of the columns that are harmonic means.
        shots: Training videos per class by column, as `shots_of` returns them.
    """
    means = set(harmonic)
    first = next((column for column in columns if column in means), None)
    return first or max((c for c in columns if c in shots), key=lambda c: shots[c], default=columns[0])
