"""Tables as CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from reports.table import Table, TableCell, TableRow
from results.means import DDOF
from results.published_numbers import sources

CSV_FIELDS = (
    "table", "method", "label", "family", "reference", "dataset", "column", "ours", "spread", "n", "repeat_kind",
    "ddof", "low", "high", "signature", "published", "published_std", "emphasis", "delta", "verdict", "why", "source",
    "measured_by", "setting", "notes", "not_ranked", "marks", "superseded",
)  # fmt: skip


def csv_text(tables: Sequence[Table]) -> str:
    """One line a cell with everything known of it, for programs; numbers of ours are not rounded."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row in table.rows:
            for (dataset, column), cell in zip(table.keys, row.cells, strict=True):
                writer.writerow(_csv_row(table, row, dataset, column, cell))
    return buffer.getvalue()


def _csv_row(table: Table, row: TableRow, dataset: str, column: str, cell: TableCell) -> dict[str, object]:
    values: dict[str, object] = {
        "table": table.name, "method": _csv(row.title), "label": _csv(row.label), "family": row.family,
        "reference": row.reference,
        "dataset": dataset, "column": column, "emphasis": cell.emphasis,
    }  # fmt: skip
    if cell.ours:
        values |= {
            "ours": cell.ours.mean, "spread": cell.ours.spread, "n": cell.ours.n, "repeat_kind": cell.ours.kind,
            "ddof": DDOF if cell.ours.spread is not None else None, "low": cell.ours.interval.low,
            "high": cell.ours.interval.high, "signature": _csv(cell.row.signature if cell.row else ""),
            "not_ranked": _csv("; ".join(cell.reasons)),
        }  # fmt: skip
        if cell.row:
            values |= {
                "marks": _csv("; ".join(mark.text for mark in cell.row.marks)),
                "superseded": _csv(cell.row.superseded_text),
            }  # fmt: skip
    elif cell.plain is not None:
        values["ours"] = cell.plain
    if cell.published:
        number = cell.published
        values |= {
            "published": number.value, "published_std": number.std, "source": sources()[number.source].url,
            "measured_by": number.setting.measured_by, "setting": str(number.setting), "notes": " ".join(number.notes),
        }  # fmt: skip
    if cell.verdict:
        values |= {"delta": cell.verdict.delta, "verdict": cell.verdict.kind, "why": _csv("; ".join(cell.verdict.why))}
    if row.is_delta:
        values |= {"ours": cell.delta_ours, "published": cell.delta_published}
        if cell.delta_published is not None:
            values["published"] = f"{cell.delta_published:+}"
    return values


def _csv(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not text.startswith("+Δ") else text
