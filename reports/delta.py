"""The delta row of a table: one method minus the best method of another family, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from reports.layout import PAPER_TABLES
from reports.table import TableCell, TableRow


def delta_row(rows: Sequence[TableRow]) -> TableRow:
    """The delta row of some rows, of published and of our values each among themselves.

    Our values are those of the unchanged rows: the best of several variants would be a best of k.
    """
    delta = PAPER_TABLES.delta
    cells = tuple(
        TableCell(delta_published=_published(rows, column), delta_ours=_ours(rows, column))
        for column in range(len(rows[0].cells))
    )
    return TableRow(delta.label, delta.family, cells, is_delta=True)


def has_delta_method(rows: Sequence[TableRow]) -> bool:
    """Whether the method of the delta row is among the rows."""
    return any(row.method == PAPER_TABLES.delta.method for row in rows)


def _published(rows: Sequence[TableRow], column: int) -> Decimal | None:
    delta = PAPER_TABLES.delta
    values = [row.cells[column].published for row in rows if row.method == delta.method]
    others = [row.cells[column].published for row in rows if row.family == delta.over]
    # Decimal, because a difference of printed values has exactly the printed digits.
    printed = [Decimal(number.value) for number in others if number]
    return Decimal(values[0].value) - max(printed) if values and values[0] and printed else None


def _ours(rows: Sequence[TableRow], column: int) -> float | None:
    delta = PAPER_TABLES.delta
    unchanged = [row for row in rows if not row.label]
    values = [row.cells[column].ours for row in unchanged if row.method == delta.method]
    others = [cell.mean for row in unchanged if row.family == delta.over and (cell := row.cells[column].ours)]
    return values[0].mean - max(others) if len(values) == 1 and values[0] and others else None
