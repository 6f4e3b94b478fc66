"""A table as data, before it is formatted: cells with a published number, our measurement, or both."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from reports.labels import named
from reports.row import Cell, Row
from reports.verdict import Verdict
from results.published_numbers import PublishedNumber
from results.statistics.intervals import Interval


@dataclass(frozen=True)
class TableCell:
    """A cell: a published number, our measurement, or both with the verdict.

    Args:
        published: The published number.
        ours: Our measurement.
        row: Our row.
        verdict: Comparison of the two.
        emphasis: `bold`, `underline` or empty.
        delta_published, delta_ours: Values of a delta row, in percent points.
        plain: Our value in a column of cost: a number, or a word that replaces it; the text of a loss.
        loss: Loss of a probe in percent points, for programs; None for other cells.
        interval: 95 % interval of the loss.
        reasons: Reasons why our value is not ranked; the value has a double dagger, and the notes state the reasons.
        again: The reason why the rank of our value may not hold if the methods are trained again: it has a dagger.
    """

    published: PublishedNumber | None = None
    ours: Cell | None = None
    row: Row | None = None
    verdict: Verdict | None = None
    emphasis: str = ""
    delta_published: Decimal | None = None
    delta_ours: float | None = None
    plain: float | str | None = None
    loss: float | None = None
    interval: Interval | None = None
    reasons: tuple[str, ...] = ()
    again: str = ""

    @property
    def marked(self) -> bool:
        """Whether a note belongs to our value: a reason why it is not ranked, or a mark of its row."""
        return bool(self.reasons) or (self.row is not None and any(mark.chip for mark in self.row.marks))


@dataclass(frozen=True)
class TableRow:
    """A row: a method, or the delta row.

    Args:
        title: Display name of the method, or label of the delta row.
        family: Family of the method.
        cells: Cells in the order of the columns.
        method: Published name of the method, by which the delta row finds it.
        reference: Reference number in the print.
        is_delta: Whether the row is the delta row.
        setting: The settings of the measurement, as far as they are known.
        extra: (name, text) of the columns between method and numbers.
        label: Second label, which names the settings that the row changes; empty for the unchanged row of its title.
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
        title: Title of the table.
        columns: (dataset title, column title).
        rows: Rows in the order of print.
        with_ours: Whether cells can hold our measurements.
        with_published: Whether cells can hold published numbers.
        notes: Footnotes.
        banner: A warning shown above the table, or empty.
        keys: (dataset, column) of each column, as programs read them.
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
