"""Rows, cells and groups of the leaderboard, before they are formatted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields

from reports.command import RunCommand
from reports.labels import named
from reports.page.beside import Beside
from reports.row import Cell, Mark, Row
from results.published_numbers import PublishedNumber, Source, sources
from results.row_statistics import PairStatistics

FILTERS = (
    ("protocol", "Protocol"), ("dataset", "Dataset"), ("backbone", "Backbone"), ("views", "Views"), ("text", "Text"),
    ("init", "Init"), ("status", "Status"), ("params", "Trained parameters"),
)  # fmt: skip
"""Name and title of each filter of the board, in the order of the filter bar; names are fields of `RowFilters`."""


@dataclass(frozen=True)
class RowFilters:
    """Values by which a row can be filtered, as texts.

    Args:
        protocol: Registered name of the protocol.
        dataset: Shown name of the dataset.
        backbone: Architecture and weights.
        views: Views in evaluation.
        text: Source of the class texts.
        init: The weights that the method starts from.
        status: Statuses of the records, separated by blanks.
        params: Size class of the trained parameters.
    """

    protocol: str
    dataset: str
    backbone: str
    views: str
    text: str
    init: str
    status: str
    params: str

    def items(self) -> Iterator[tuple[str, str]]:
        """(name, value) of every filter, in order."""
        return ((name, self.value(name)) for name in _FILTER_NAMES)

    def value(self, name: str) -> str:
        """The value of a filter by its name."""
        return str(getattr(self, name))

    def choices(self, name: str) -> list[str]:
        """The values of a filter that the row passes: all its statuses, or the one value of any other filter."""
        value = self.value(name)
        return value.split(" ") if name == "status" else [value]


_FILTER_NAMES = tuple(field.name for field in fields(RowFilters))

NOT_RANKED = Mark("not ranked", chip="not ranked", warn=False)


@dataclass(frozen=True)
class BoardCell:
    """A cell of a board row: a measurement with its repeats, or a published number.

    Args:
        column: Column name.
        value: Mean in percent, for sorting.
        cell: The measurement; None for a published number.
        number: The published number; None for a measurement.
        rank: Rank in its group, or None.
        reason: Reason why this cell has no rank although its row may have one; empty otherwise.
        again: The reason why the rank may not hold if the methods are trained again; empty without a reason.
        gap: A sentence on the gap to the next worse row of the column; empty for the worst row.
        beside: The published value of the row's method, which is shown below ours; None without one.
    """

    column: str
    value: float
    cell: Cell | None = None
    number: PublishedNumber | None = None
    rank: int | None = None
    reason: str = ""
    again: str = ""
    gap: str = ""
    beside: Beside | None = None


@dataclass(frozen=True)
class BoardRow:
    """A row of a group: measured, or reported by a paper.

    Args:
        anchor: Id of the row.
        title: Display name of the method.
        label: Second label, which names the settings that the row changes; empty for the unchanged row of its title.
        cells: Cells by column.
        row: The measured row; None for a published row.
        numbers: The published numbers of a published row; empty for a measured row.
        filters: Values by which the row can be filtered.
        rank: Rank in the primary column, or None.
        reasons: Reasons why the row is not ranked.
        again: The reason why the rank may not hold if the methods are trained again; empty without a reason.
        command: The command that repeats the measurement; None for a published row.
        signature: Signature of a measured row, setting of a published row.
    """

    anchor: str
    title: str
    label: str
    cells: Mapping[str, BoardCell]
    row: Row | None
    numbers: tuple[PublishedNumber, ...]
    filters: RowFilters
    rank: int | None
    reasons: tuple[str, ...]
    command: RunCommand | None
    signature: str
    again: str = ""

    @property
    def name(self) -> str:
        """Title and second label, on one line."""
        return named(self.title, self.label)

    @property
    def chips(self) -> tuple[Mark, ...]:
        """The marks with a chip, which is shown in the row itself; each chip once."""
        if self.row is None:
            return ()
        marks = (*((NOT_RANKED,) if self.reasons else ()), *self.row.marks)
        first = {mark.chip: mark for mark in reversed(marks) if mark.chip}
        return tuple(dict.fromkeys(first[mark.chip] for mark in marks if mark.chip))


@dataclass(frozen=True)
class Group:
    """Rows that may be compared: a table of the board.

    Args:
        anchor: Id of the table.
        protocol: Registered name of the protocol.
        dataset: Shown name of the dataset.
        caption: Settings that all rows share.
        columns: Names of the columns, in order.
        primary: The column by which rows are sorted and ranked first.
        rows: Best first, then the rows without a rank; published rows are in the order of print.
        published: Whether all rows come from papers.
        embedded: Whether the dataset is embedded.
        pairs: Tests of pairs of ranked rows by column, with the anchors of the rows.
        short_caption: The caption, if another table of the protocol and dataset has the same backbone and views.
    """

    anchor: str
    protocol: str
    dataset: str
    caption: str
    columns: tuple[str, ...]
    primary: str
    rows: tuple[BoardRow, ...]
    published: bool
    embedded: bool
    pairs: Mapping[str, tuple[PairStatistics, ...]] = field(default_factory=dict)
    short_caption: str = ""

    @property
    def measured_as(self) -> str:
        """Backbone and views, by which readers choose a table."""
        filters = self.rows[0].filters
        return "as published" if self.published else f"{filters.backbone} · {filters.views}"

    @property
    def shared(self) -> dict[str, str]:
        """The filter values that all rows of a measured group share, by name of the filter."""
        if self.published:
            return {}
        first = dict(self.rows[0].filters.items())
        return {name: value for name, value in first.items() if all(r.filters.value(name) == value for r in self.rows)}

    @property
    def heading(self) -> str:
        """Backbone and views of the table, or its whole caption if another table of its dataset shares both."""
        return "rows from papers" if self.published else self.short_caption or self.measured_as


def source_of(number: PublishedNumber) -> Source:
    """The source that printed a number."""
    return sources()[number.source]
