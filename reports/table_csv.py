"""Tables as CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from reports.csv_values import CsvValue, bounds_of, safe_value
from reports.table import Table, TableCell, TableRow
from results.means import DDOF
from results.published_numbers import sources

CSV_FIELDS = (
    "table", "method", "label", "family", "reference", "dataset", "column", "ours", "spread", "n", "repeat_kind",
    "ddof", "fits", "low", "high", "again_low", "again_high", "clusters_known", "again", "signature",
    "published", "published_std", "emphasis", "delta", "verdict", "why", "source",
    "measured_by", "setting", "notes", "not_ranked", "marks", "superseded",
)  # fmt: skip


def csv_text(tables: Sequence[Table]) -> str:
    """One line for each cell with all that is known about it; our values are not rounded."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row in table.rows:
            for (dataset, column), cell in zip(table.keys, row.cells, strict=True):
                writer.writerow(_csv_row(table, row, dataset, column, cell))
    return buffer.getvalue()


def _csv_row(table: Table, row: TableRow, dataset: str, column: str, cell: TableCell) -> dict[str, CsvValue]:
    values: dict[str, CsvValue] = {
        "table": table.name, "method": safe_value(row.title), "label": safe_value(row.label), "family": row.family,
        "reference": row.reference,
        "dataset": dataset, "column": column, "emphasis": cell.emphasis,
    }  # fmt: skip
    if cell.ours:
        values |= {
            "ours": cell.ours.mean, "spread": cell.ours.spread, "n": cell.ours.n, "repeat_kind": cell.ours.kind,
            "ddof": DDOF if cell.ours.spread is not None else None, "fits": len(cell.ours.fits),
            **bounds_of(cell.ours), "signature": safe_value(cell.row.signature if cell.row else ""),
            "not_ranked": safe_value("; ".join(cell.reasons)), "again": cell.again,
        }  # fmt: skip
        if cell.row:
            values |= {
                "marks": safe_value("; ".join(mark.text for mark in cell.row.marks)),
                "superseded": safe_value(cell.row.superseded_text),
            }  # fmt: skip
    elif cell.loss is not None:
        values["ours"] = cell.loss
        values |= {"low": cell.interval.low, "high": cell.interval.high} if cell.interval else {}
    elif cell.plain is not None:
        values["ours"] = cell.plain
    if cell.published:
        number = cell.published
        values |= {
            "published": number.value, "published_std": number.std, "source": sources()[number.source].url,
            "measured_by": number.setting.measured_by, "setting": str(number.setting), "notes": " ".join(number.notes),
        }  # fmt: skip
    if cell.verdict:
        values |= {
            "delta": cell.verdict.delta,
            "verdict": f"{cell.verdict.kind} {cell.verdict.detail}".rstrip(),
            "why": safe_value("; ".join(cell.verdict.why)),
        }
    if row.is_delta:
        printed = cell.delta_published
        values |= {"ours": cell.delta_ours, "published": f"{printed:+}" if printed is not None else None}
    return values
