"""Values of CSV files that people open in a spreadsheet."""

from __future__ import annotations

from reports.row import Cell

CsvValue = str | int | float | None

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_DELTA = "+Δ"
"""Start of the label of a delta row, which is not a formula."""


def safe_value(value: CsvValue) -> CsvValue:
    """A value that a spreadsheet does not take for a formula: such a text gets an apostrophe in front."""
    if isinstance(value, str) and value.startswith(_FORMULA) and not value.startswith(_DELTA):
        return f"'{value}"
    return value


def bounds_of(cell: Cell) -> dict[str, CsvValue]:
    """The intervals of a measured cell: for other videos, and for the method trained again; empty if unknown."""
    found = cell.statistics
    if found is None:
        return {}
    again = found.again
    return {
        "low": found.other.low, "high": found.other.high, "again_low": again.low if again else None,
        "again_high": again.high if again else None, "clusters_known": "yes" if found.known else "no",
    }  # fmt: skip
