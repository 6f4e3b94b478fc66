"""Values of CSV files that people open in a spreadsheet."""

from __future__ import annotations

CsvValue = str | int | float | None

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_DELTA = "+Δ"
"""Start of the label of a delta row, which is not a formula."""


def safe_value(value: CsvValue) -> CsvValue:
    """A value that a spreadsheet does not take for a formula: such a text gets an apostrophe in front."""
    if isinstance(value, str) and value.startswith(_FORMULA) and not value.startswith(_DELTA):
        return f"'{value}"
    return value
