"""The leaderboard for programs: `leaderboard.json` and `leaderboard.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from reports.aggregate import DDOF
from reports.board import BoardCell, BoardRow, Group, source_of

SCHEMA = 1


def board_json(groups: Sequence[Group]) -> dict[str, Any]:
    """Everything the board shows, as JSON: groups, rows, cells with repeats; accuracies in percent, not rounded."""
    return {"schema": SCHEMA, "ddof": DDOF, "groups": [_group(group) for group in groups]}


def _group(group: Group) -> dict[str, Any]:
    return {
        "id": group.anchor, "protocol": group.protocol, "dataset": group.dataset, "measured_as": group.caption,
        "primary": group.primary, "published": group.published, "embedded": group.embedded,
        "columns": [name for name, _ in group.columns], "rows": [_row(row) for row in group.rows],
    }  # fmt: skip


def _row(row: BoardRow) -> dict[str, Any]:
    value: dict[str, Any] = {
        "id": row.anchor, "method": row.row.facts["method"] if row.row else row.numbers[0].method, "title": row.title,
        "rank": row.rank, "not_ranked": list(row.reasons), "signature": row.signature, "command": row.command,
        **{name: text for name, text in row.filters.items() if name not in ("protocol", "dataset")},
        "cells": {column: _cell(cell) for column, cell in row.cells.items()},
    }  # fmt: skip
    if row.row:
        value |= {
            "params_trained": row.row.facts["params_trained"], "marks": list(row.row.marks),
            "records": list(row.row.records), "embedded": row.row.facts["embedded"],
        }  # fmt: skip
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
        "rank": cell.rank, "harmonic_of": list(ours.harmonic_of) if ours.harmonic_of else None,
        "repeats": [
            {"index": m.index, "value": m.value, "interval": list(m.interval), "cell": m.facts["cell"],
             "record": m.facts["record"], "evaluated": m.facts["n_evaluated"], "expected": m.facts["n_expected"]}
            for m in ours.measurements
        ],
    }  # fmt: skip


FIELDS = (
    "protocol", "dataset", "group", "method", "title", "column", "value", "spread", "n", "repeat_kind", "ddof", "low",
    "high", "rank", "not_ranked", "status", "backbone", "views", "text", "init", "params_trained", "signature",
    "measured_by", "source", "records",
)  # fmt: skip


def board_csv(groups: Sequence[Group]) -> str:
    """One line a cell of the board."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, FIELDS, lineterminator="\n")
    writer.writeheader()
    for group in groups:
        for row in group.rows:
            for cell in row.cells.values():
                writer.writerow({name: _safe(value) for name, value in _line(group, row, cell).items()})
    return buffer.getvalue()


def _line(group: Group, row: BoardRow, cell: BoardCell) -> dict[str, object]:
    line: dict[str, object] = {
        "protocol": group.protocol, "dataset": group.dataset, "group": group.anchor, "title": row.title,
        "column": cell.column, "rank": cell.rank, "not_ranked": "; ".join(row.reasons), "signature": row.signature,
        **{name: row.filters[name] for name in ("status", "backbone", "views", "text", "init")},
    }  # fmt: skip
    if cell.number:
        line |= {"method": cell.number.method, "value": cell.number.value, "spread": cell.number.std,
                 "measured_by": cell.number.setting.measured_by, "source": source_of(cell.number)[1]}  # fmt: skip
    elif cell.cell and row.row:
        ours = cell.cell
        line |= {
            "method": row.row.facts["method"], "value": ours.mean, "spread": ours.spread, "n": ours.n,
            "repeat_kind": ours.kind, "ddof": DDOF if ours.spread is not None else None, "low": ours.interval.low,
            "high": ours.interval.high, "params_trained": row.row.facts["params_trained"],
            "records": " ".join(m.facts["record"] for m in ours.measurements),
        }  # fmt: skip
    return line


def _safe(value: object) -> object:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
