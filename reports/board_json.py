"""The leaderboard for programs: `leaderboard.json` and `leaderboard.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from reports.board_rows import FILTERS, BoardCell, BoardRow, Group, source_of
from reports.entries import Damaged
from results.means import DDOF

SCHEMA = 2


def board_json(groups: Sequence[Group], damaged: Sequence[Damaged] = ()) -> dict[str, Any]:
    """Everything the board shows, as JSON: groups, rows, cells with repeats; accuracies in percent, not rounded."""
    return {
        "schema": SCHEMA, "ddof": DDOF, "groups": [_group(group) for group in groups],
        "damaged": [{"record": one.name, "reason": one.message, "hint": one.hint} for one in damaged],
    }  # fmt: skip


def _group(group: Group) -> dict[str, Any]:
    return {
        "id": group.anchor, "protocol": group.protocol, "dataset": group.dataset, "measured_as": group.caption,
        "primary": group.primary, "published": group.published, "embedded": group.embedded,
        "columns": [name for name, _ in group.columns], "rows": [_row(row) for row in group.rows],
    }  # fmt: skip


def _row(row: BoardRow) -> dict[str, Any]:
    value: dict[str, Any] = {
        "id": row.anchor, "method": row.row.method if row.row else row.numbers[0].method, "title": row.title,
        "label": row.label, "rank": row.rank, "not_ranked": list(row.reasons), "signature": row.signature,
        **{name: text for name, text in row.filters.items() if name not in ("protocol", "dataset")},
        "cells": {column: _cell(cell) for column, cell in row.cells.items()},
    }  # fmt: skip
    if row.row:
        value |= {
            "params_trained": row.row.params_trained, "marks": [mark.text for mark in row.row.marks],
            "records": [entry.name for entry in row.row.entries], "embedded": row.row.embedded,
            "time": row.row.newest.time, "row": row.row.key, "group": row.row.group,
            "superseded": [{"record": one.name, "reason": one.reason} for one in row.row.superseded],
        }  # fmt: skip
        if row.again:
            value |= {"command": row.again.command, "command_notes": list(row.again.notes)}
    else:
        number = row.numbers[0]
        value |= {"source": source_of(number)[1], "measured_by": number.setting.measured_by}
    return value


def _cell(cell: BoardCell) -> dict[str, Any]:
    if cell.number:
        return {"printed": cell.number.value, "printed_std": cell.number.std, "notes": list(cell.number.notes)}
    ours = cell.cell
    if ours is None:
        return {}
    return {
        "mean": ours.mean, "spread": ours.spread, "n": ours.n, "kind": ours.kind, "interval": list(ours.interval),
        "rank": cell.rank, "not_ranked": cell.reason,
        "harmonic_of": list(ours.harmonic_of) if ours.harmonic_of else None,
        "repeats": [
            {"index": r.index, "value": r.value, "interval": list(r.interval), "cell": r.entry.record.key,
             "record": r.entry.name, "evaluated": r.entry.measurement.evaluation.evaluated,
             "expected": r.entry.measurement.evaluation.list.n}
            for r in ours.repeats
        ],
    }  # fmt: skip


FIELDS = (
    "protocol", "dataset", "group", "method", "title", "label", "column", "value", "spread", "n", "repeat_kind", "ddof",
    "low", "high", "rank", "not_ranked", *(name for name, _ in FILTERS[2:]), "params_trained", "signature",
    "measured_by", "source", "records", "marks", "superseded", "time",
)  # fmt: skip


def board_csv(groups: Sequence[Group]) -> str:
    """One line a cell of the board."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, FIELDS, lineterminator="\n")
    writer.writeheader()
    for group in groups:
        for row in group.rows:
            shared = _shared(group, row)
            for cell in row.cells.values():
                writer.writerow({name: _safe(value) for name, value in {**shared, **_line(row, cell)}.items()})
    return buffer.getvalue()


def _shared(group: Group, row: BoardRow) -> dict[str, object]:
    """The fields that all cells of a row share."""
    line: dict[str, object] = {
        "protocol": group.protocol, "dataset": group.dataset, "group": group.anchor, "title": row.title,
        "label": row.label, "signature": row.signature,
        **{name: text for name, text in row.filters.items() if name in FIELDS},
    }  # fmt: skip
    if row.row:
        line |= {
            "method": row.row.method, "params_trained": row.row.params_trained, "time": row.row.newest.time,
            "marks": "; ".join(mark.text for mark in row.row.marks),
            "superseded": row.row.superseded_text,
        }  # fmt: skip
    return line


def _line(row: BoardRow, cell: BoardCell) -> dict[str, object]:
    reasons = [*row.reasons, cell.reason] if cell.reason not in "; ".join(row.reasons) else row.reasons
    line: dict[str, object] = {"column": cell.column, "rank": cell.rank, "not_ranked": "; ".join(reasons)}
    if cell.number:
        line |= {"method": cell.number.method, "value": cell.number.value, "spread": cell.number.std,
                 "measured_by": cell.number.setting.measured_by, "source": source_of(cell.number)[1]}  # fmt: skip
    elif cell.cell:
        ours = cell.cell
        line |= {
            "value": ours.mean, "spread": ours.spread, "n": ours.n, "repeat_kind": ours.kind,
            "ddof": DDOF if ours.spread is not None else None, "low": ours.interval.low, "high": ours.interval.high,
            "records": " ".join(r.entry.name for r in ours.repeats),
        }  # fmt: skip
    return line


def _safe(value: object) -> object:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
