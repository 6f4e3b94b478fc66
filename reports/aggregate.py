"""Rows from records: the protocol's column rules average repeats; generations are never averaged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.spec import Column
from reports.dataset_names import DatasetNames
from reports.entries import Entry
from reports.marks import marks_of, reasons_of
from reports.row import Cell, RepeatScore, Row, SupersededRecord
from results.generations import Dated, generations
from results.generations import Row as Generation
from results.means import ColumnMean, column_means, metric_value
from results.measurement import Expected, keys_of
from results.statistics.scores import harmonic_slopes


def rows_of(entries: Iterable[Entry]) -> list[Row]:
    """All rows of the records, sorted by protocol, dataset, group and method.

    Records with the same row key are repeats and parts of one row. If a row has several generations, one of them
    counts (see `results.generations`); records of the other generations are listed with the row as superseded.
    """
    dated = generations(
        [Dated(e, e.measurement, e.time, e.record.predictions.sha256, e.accepted) for e in entries]
    )
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
        # `pop`, because several current rows can share a line: its older records are listed with the first of them.
        superseded = by_row[generation.keys.row] + by_line.pop(generation.keys.line, [])
        rows.append(_row(generation, names, tuple(sorted(superseded, key=lambda record: record.name))))
    return sorted(rows, key=lambda row: (row.protocol, row.dataset, row.group, row.method, row.key))


def _row(generation: Generation[Entry], names: DatasetNames, superseded: tuple[SupersededRecord, ...]) -> Row:
    """One row from the records that count."""
    entries = tuple(dated.item for dated in generation.records)
    # All records of a row carry equal column rules, unless a protocol changed without a new version: the newest wins.
    newest = max(entries, key=lambda entry: (entry.time, entry.name))
    rules = (*newest.record.columns, *_transform_columns(newest.record.columns, entries))
    expected = newest.measurement.protocol.scope.expected
    cells: dict[str, Cell] = {}
    by_name = {rule.name: rule for rule in rules}
    for name, mean in column_means(rules, [entry.record for entry in entries]).items():
        if mean.harmonic_of is None:
            cells[name] = _cell(mean, by_name[name], entries, expected)
        else:
            cells[name] = _harmonic_cell(mean, *(cells[column] for column in mean.harmonic_of))
    row = Row(
        keys=generation.keys,
        dataset=names.of(newest.measurement.table_list),
        entries=entries,
        rules=rules,
        cells=cells,
        superseded=superseded,
    )
    # Reasons and marks are computed from the finished row.
    return replace(row, reasons=reasons_of(row), marks=marks_of(row))


def _transform_columns(rules: Sequence[Column], entries: Sequence[Entry]) -> tuple[Column, ...]:
    """A column for each part with a view transform that the rules lack: a transform of a plugin that was requested."""
    parts = {rule.part for rule in rules}
    others = {m.protocol.part for m in (entry.measurement for entry in entries) if m.evaluation.transform} - parts
    return tuple(Column(part, part) for part in sorted(others))


def _cell(mean: ColumnMean, rule: Column, entries: Sequence[Entry], expected: Sequence[Expected]) -> Cell:
    """The cell of a mean over repeats."""
    chosen = [entry for entry in entries if entry.measurement.protocol.part == rule.part]
    chosen.sort(key=lambda entry: entry.measurement.protocol.repeat.index)
    repeats = [
        RepeatScore(metric_value(entry.record, rule.metric), entry.measurement.protocol.repeat.index, entry)
        for entry in chosen
    ]
    fits: dict[str, list[float]] = defaultdict(list)
    for score in repeats:
        if score.entry.measurement.fitted is not None:
            fits[score.entry.measurement.keys.fit].append(score.value)
    return Cell(
        mean.column, mean.mean, mean.spread, mean.n, mean.kind, tuple(repeats),
        lacks="; ".join(filter(None, (_lacks(rule.part, chosen, expected), _without_meaning(rule, chosen)))),
        fits=tuple(sum(values) / len(values) for values in fits.values()),
    )  # fmt: skip


def _without_meaning(rule: Column, entries: Sequence[Entry]) -> str:
    """The reason why a metric is not meaningful on these lists; empty if it is meaningful.

    Five guesses at five classes or fewer are always right: the top-5 accuracy is 100 % for every method.
    """
    classes = min((len(entry.record.classes) for entry in entries), default=0)
    if rule.metric != "top5" or not 0 < classes <= 5:
        return ""
    return f"top-5 is not meaningful with {classes} classes"


def _lacks(part: str, entries: Sequence[Entry], expected: Sequence[Expected]) -> str:
    """The difference between the repeats of a part and the prescribed repeats, in words; empty if they are equal."""
    wanted = {prescribed.repeat for prescribed in expected if prescribed.part == part}
    present = {entry.measurement.protocol.repeat for entry in entries}
    if not wanted and any(entry.measurement.evaluation.transform for entry in entries):
        return ""  # the view transform of a plugin, which no protocol can prescribe
    if not wanted:
        return f"the record's protocol prescribes no part {part}"
    if not wanted <= present:
        return f"{len(wanted & present)} of {len(wanted)} repeats"
    return f"{len(present)} repeats, the protocol prescribes {len(wanted)}" if present > wanted else ""


def _harmonic_cell(mean: ColumnMean, a: Cell, b: Cell) -> Cell:
    """The cell of a harmonic mean of two cells."""
    lacks = dict.fromkeys(f"{cell.column}: {cell.lacks}" for cell in (a, b) if cell.lacks)
    slope_a, slope_b = harmonic_slopes(a.mean, b.mean)
    fits: tuple[float, ...] = ()
    # Fits are paired by position; columns with different numbers of fits have no common spread.
    if len(a.fits) == len(b.fits):
        fits = tuple(slope_a * first + slope_b * second for first, second in zip(a.fits, b.fits, strict=True))
    return Cell(
        mean.column, mean.mean, mean.spread, mean.n, mean.kind, harmonic_of=mean.harmonic_of, lacks="; ".join(lacks),
        fits=fits,
    )  # fmt: skip
