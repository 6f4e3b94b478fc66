"""Rows from records: the protocol's column rules average repeats; generations are never averaged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from harness.spec import Column
from reports.dataset_names import DatasetNames
from reports.entries import Entry
from reports.marks import marks_of, reasons_of
from reports.row import Cell, RepeatScore, Row, SupersededRecord
from results.generations import Dated, generations
from results.generations import Row as Generation
from results.intervals import harmonic_interval, wilson
from results.measurement import Expected, keys_of
from results.metrics import harmonic_mean

DDOF = 0
"""Delta degrees of freedom of every spread: it divides by n, as the published code does."""


def rows_of(entries: Iterable[Entry]) -> list[Row]:
    """All rows of the records, sorted by protocol, dataset, group and method.

    Records with the same row key are repeats and parts of one row. If a row has several generations, one of them
    counts (see `results.generations`); records of the other generations are listed with the row as superseded.
    """
    dated = generations([Dated(entry, entry.measurement, entry.time) for entry in entries])
    names = DatasetNames(record.measurement for row in dated.rows for record in row.records)
    by_row: dict[str, list[SupersededRecord]] = defaultdict(list)
    by_line: dict[str, list[SupersededRecord]] = defaultdict(list)
    current = {row.keys.row for row in dated.rows}
    for superseded_record in dated.superseded:
        keys = keys_of(superseded_record.record.measurement)
        record = SupersededRecord(superseded_record.record.item.name, superseded_record.reason)
        (by_row[keys.row] if keys.row in current else by_line[keys.line]).append(record)
    rows = []
    for generation in dated.rows:
        superseded = by_row[generation.keys.row] + by_line.pop(generation.keys.line, [])
        rows.append(_row(generation, names, tuple(sorted(superseded, key=lambda record: record.name))))
    return sorted(rows, key=lambda row: (row.protocol, row.dataset, row.group, row.method, row.key))


def _row(generation: Generation[Entry], names: DatasetNames, superseded: tuple[SupersededRecord, ...]) -> Row:
    """One row from the records that count."""
    entries = tuple(dated.item for dated in generation.records)
    # All records of a row carry equal column rules, unless a protocol changed without a new version: the newest wins.
    newest = max(entries, key=lambda entry: (entry.time, entry.name))
    rules = newest.record.columns
    expected = newest.measurement.protocol.scope.expected
    cells: dict[str, Cell] = {}
    for rule in rules:
        if rule.harmonic_of is not None:
            # Rules are in order: a harmonic mean follows the two columns of which it is the mean.
            first, second = rule.harmonic_of
            if first in cells and second in cells:
                cells[rule.name] = _harmonic(rule.name, cells[first], cells[second])
        else:
            chosen = [entry for entry in entries if entry.measurement.protocol.part == rule.part]
            if chosen:
                cells[rule.name] = _mean(rule, chosen, expected)
    row = Row(
        keys=generation.keys,
        dataset=names.of(newest.measurement.evaluation.list),
        entries=entries,
        rules=rules,
        cells=cells,
        superseded=superseded,
    )
    # Reasons and marks are computed from the finished row.
    return replace(row, reasons=reasons_of(row), marks=marks_of(row))


def _mean(rule: Column, entries: Sequence[Entry], expected: Sequence[Expected]) -> Cell:
    """The mean of one metric over repeats."""
    entries = sorted(entries, key=lambda entry: entry.measurement.protocol.repeat.index)
    values = [float(getattr(entry.record.metrics, rule.metric)) for entry in entries]
    sizes = [entry.measurement.evaluation.evaluated for entry in entries]
    repeats = tuple(
        RepeatScore(value, wilson(value, n), entry.measurement.protocol.repeat.index, entry)
        for value, n, entry in zip(values, sizes, entries, strict=True)
    )
    mean = float(np.mean(values))
    return Cell(
        column=rule.name,
        mean=mean,
        spread=float(np.std(values, ddof=DDOF)) if len(values) > 1 else None,
        n=len(values),
        kind=entries[0].measurement.protocol.repeat.kind,
        # Repeats on the same videos add no information about other videos, so n is the size of one list. If the lists
        # differ (test splits), their union is larger, and the interval is wider than necessary.
        interval=wilson(mean, max(sizes)),
        repeats=repeats,
        lacks=_lacks(rule.part, entries, expected),
    )


def _lacks(part: str, entries: Sequence[Entry], expected: Sequence[Expected]) -> str:
    """How the repeats of a part differ from the prescribed repeats, in words; empty if they are equal."""
    wanted = {prescribed.repeat for prescribed in expected if prescribed.part == part}
    present = {entry.measurement.protocol.repeat for entry in entries}
    if not wanted:
        return f"the record's protocol prescribes no part {part}"
    if not wanted <= present:
        return f"{len(wanted & present)} of {len(wanted)} repeats"
    return f"{len(present)} repeats, the protocol prescribes {len(wanted)}" if present > wanted else ""


def _harmonic(column: str, a: Cell, b: Cell) -> Cell:
    """The harmonic mean of two unrounded means over repeats, never the mean of harmonic means."""
    sizes = [
        max((score.entry.measurement.evaluation.evaluated for score in cell.repeats), default=1) for cell in (a, b)
    ]
    lacks = dict.fromkeys(f"{cell.column}: {cell.lacks}" for cell in (a, b) if cell.lacks)
    return Cell(
        column=column,
        mean=harmonic_mean(a.mean, b.mean),
        spread=None,
        n=min(a.n, b.n),
        kind=a.kind,
        interval=harmonic_interval(a.mean, sizes[0], b.mean, sizes[1]),
        harmonic_of=(a.column, b.column),
        lacks="; ".join(lacks),
    )
