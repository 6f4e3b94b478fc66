"""A table as data, before any format: cells that hold a published number, a measurement of ours, or both."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from reports.labels import named
from reports.row import Cell, Row
from reports.verdict import Verdict
from results.published_numbers import PublishedNumber


@dataclass(frozen=True)
class TableCell:
    """A cell: a published number, our measurement, or both with the verdict.

    Args:
        published: The published number.
        ours: Our measurement.
        row: Our row.
        verdict: Comparison of the two.
        emphasis: `bold`, `underline` or empty.
        delta_published, delta_ours: Values of a delta row.
        plain: Our value of a compute column: a number, or a word where there is none.
        reasons: Reasons why our value is not ranked; it is marked, and the notes name them.
    """

    published: PublishedNumber | None = None
    ours: Cell | None = None
    row: Row | None = None
    verdict: Verdict | None = None
    emphasis: str = ""
    delta_published: Decimal | None = None
    delta_ours: float | None = None
    plain: float | str | None = None
    reasons: tuple[str, ...] = ()

    @property
    def marked(self) -> bool:
        """True if a note belongs to our value: a reason why it is not ranked, or a changed setting."""
        return bool(self.reasons) or (self.row is not None and any(mark.chip for mark in self.row.marks))


@dataclass(frozen=True)
class TableRow:
    """A row: a method, or the delta row.

    Args:
        title: The method.
        family: Its family.
        cells: By column.
        method: Name by which delta rows find it.
        reference: The print's reference number.
        is_delta: Whether it is the delta row.
        setting: How it was measured, as far as it is known.
        extra: Further columns with their texts.
        label: Second label, which tells our rows of one title apart; empty for the unchanged one.
    """

    title: str
    family: str
    cells: tuple[TableCell, ...]
    method: str = ""
    reference: int | None = None
    is_delta: bool = False
    setting: str = ""
    extra: tuple[tuple[str, str], ...] = ()
    label: str = ""

    @property
    def name(self) -> str:
        """Title and second label."""
        return named(self.title, self.label)


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
