"""A table as data, before any format: cells that hold a published number, a measurement of ours, or both."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from reports.aggregate import Cell, Row
from reports.verdict import Verdict
from results.published_numbers import PublishedNumber


@dataclass(frozen=True)
class TableCell:
    """A cell: a published number, our measurement, or both with the verdict; `text` for computed deltas."""

    published: PublishedNumber | None = None
    ours: Cell | None = None
    row: Row | None = None
    verdict: Verdict | None = None
    emphasis: str = ""
    delta_published: Decimal | None = None
    delta_ours: float | None = None
    plain: float | None = None


@dataclass(frozen=True)
class TableRow:
    """A row: a method, or the delta row. `setting` says how it was measured, as far as it is known."""

    label: str
    family: str
    cells: tuple[TableCell, ...]
    method: str = ""
    reference: int | None = None
    is_delta: bool = False
    setting: str = ""
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Table:
    """A table ready to be written in any format.

    Args:
        name: The name that `--table` takes, with its block.
        title: Shown above.
        columns: (dataset title, column title).
        rows: In print order.
        with_ours: Whether cells can hold our measurements.
        with_published: Whether cells can hold published numbers.
        notes: Footnotes.
        banner: A warning shown above, or empty.
    """

    name: str
    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[TableRow, ...]
    with_ours: bool
    with_published: bool
    notes: tuple[str, ...] = ()
    banner: str = ""
    keys: tuple[tuple[str, str], ...] = field(default=())
