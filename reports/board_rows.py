"""Rows, cells and groups of the leaderboard, before any format."""

from __future__ import annotations

from dataclasses import dataclass

from reports.command import Again
from reports.labels import named
from reports.row import Cell, Row
from results.published_numbers import PublishedNumber, sources

FILTERS = (
    ("protocol", "Protocol"), ("dataset", "Dataset"), ("backbone", "Backbone"), ("views", "Views"), ("text", "Text"),
    ("init", "Init"), ("status", "Status"), ("params", "Trained parameters"),
)  # fmt: skip
"""Name and title of each filter of the board."""


@dataclass(frozen=True)
class BoardCell:
    """A score of a board row: ours with its repeats, or a published one.

    Args:
        column: Column name.
        value: Mean in percent, for sorting.
        cell: Our measurement.
        number: The published number.
        rank: Rank in its group, or None.
        reason: Reason why this cell has no rank although its row may have one; empty otherwise.
        low: Left end of the interval on the column's scale, in percent of the scale's length.
        high: Right end.
    """

    column: str
    value: float
    cell: Cell | None = None
    number: PublishedNumber | None = None
    rank: int | None = None
    reason: str = ""
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class BoardRow:
    """A row of a group: measured, or known from a paper only.

    Args:
        anchor: Id of the row.
        title: Display name of the method.
        label: Second label, which tells rows of one title apart; empty for the unchanged one.
        cells: By column.
        row: Our row; None for a published one.
        numbers: The published numbers of a published row.
        filters: Values by which the row can be filtered.
        rank: Rank in the primary column, or None.
        reasons: Reasons why the row is not ranked.
        again: The command that measures the row again; None for a published row.
        signature: Signature, or the setting of a published row.
    """

    anchor: str
    title: str
    label: str
    cells: dict[str, BoardCell]
    row: Row | None
    numbers: tuple[PublishedNumber, ...]
    filters: dict[str, str]
    rank: int | None
    reasons: tuple[str, ...]
    again: Again | None
    signature: str

    @property
    def name(self) -> str:
        """Title and second label on one line."""
        return named(self.title, self.label)

    @property
    def chips(self) -> dict[str, bool]:
        """Short remarks that stand in the row, with whether they are warnings."""
        found: dict[str, bool] = {"not ranked": False} if self.row and self.reasons else {}
        for mark in self.row.marks if self.row else ():
            if mark.chip:
                found.setdefault(mark.chip, mark.warn)
        return found


@dataclass(frozen=True)
class Group:
    """Rows that may stand beside each other, under what they share.

    Args:
        anchor: Id of the table.
        protocol: Protocol id.
        dataset: Shown name of the dataset.
        caption: Settings that all rows share.
        columns: (name, title).
        primary: The column by which rows are sorted and ranked first.
        rows: Best first; rows that are not ranked, and published ones, last.
        published: Whether all rows come from papers.
        embedded: Whether the dataset is an embedded one.
    """

    anchor: str
    protocol: str
    dataset: str
    caption: str
    columns: tuple[tuple[str, str], ...]
    primary: str
    rows: tuple[BoardRow, ...]
    published: bool
    embedded: bool


def source_of(number: PublishedNumber) -> tuple[str, str]:
    """Title and address of where a number was printed."""
    source = sources()[number.source]
    return source.title, source.url
