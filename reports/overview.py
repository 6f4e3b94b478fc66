"""Overview of the board: one line for each method, one column for each measured protocol and dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.board_rows import BoardCell, BoardRow, Group
from reports.layout import family_order

MOST_METHODS, MOST_COLUMNS = 40, 60


@dataclass(frozen=True)
class GlanceCell:
    """A method's cell: the row with the declared recipe and default options, or the range of all rows.

    Args:
        anchor: Id of the row, or of the table where no row is shown.
        cell: Cell of the row with the declared recipe and default options; None if there is not exactly one such row.
        variants: Number of other rows of the method in the column.
        low, high: Smallest and largest value of the other rows, in percent.
        names: Names of the other rows.
        reasons: Reasons why the shown row is not ranked.
    """

    anchor: str
    cell: BoardCell | None
    variants: int = 0
    low: float = 0.0
    high: float = 0.0
    names: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Glance:
    """The line of a method.

    Args:
        title: Display name of the method.
        method: Registered name, for the link to its section.
        cells: Cells by column; None where the method has no row.
    """

    title: str
    method: str
    cells: tuple[GlanceCell | None, ...]


@dataclass(frozen=True)
class Overview:
    """The table: columns are groups, lines are methods in the paper's order of families.

    Args:
        groups: The measured groups; only the largest of each protocol and dataset if there are more than
            `MOST_COLUMNS`.
        main: For each group whether it is the largest of its protocol and dataset, which is shown first.
        lines: At most `MOST_METHODS` methods, those that are measured in most columns.
        left_out: Number of methods that are left out.
    """

    groups: tuple[Group, ...]
    main: tuple[bool, ...]
    lines: tuple[Glance, ...]
    left_out: int


def overview(groups: Sequence[Group]) -> Overview:
    """The overview of the measured groups. Columns are not averaged, because their scales differ."""
    chosen: dict[tuple[str, str], Group] = {}
    for group in groups:
        if not group.published:
            chosen.setdefault((group.protocol, group.dataset), group)  # the first group is the largest
    measured = tuple(group for group in groups if not group.published)
    columns = measured if len(measured) <= MOST_COLUMNS else tuple(chosen.values())
    largest = {group.anchor for group in chosen.values()}
    by_method: dict[tuple[str, str], dict[int, list[BoardRow]]] = {}
    for column, group in enumerate(columns):
        for row in group.rows:
            if row.row and group.primary in row.cells:
                by_method.setdefault((row.row.method, row.title), {}).setdefault(column, []).append(row)
    # Methods that were measured in most columns are kept, in an order that does not depend on their values.
    kept = sorted(by_method, key=lambda key: (-len(by_method[key]), key))[:MOST_METHODS]
    titles = [title for _, title in kept]
    lines = [
        Glance(
            title if titles.count(title) == 1 else f"{title} ({method})",
            method,
            tuple(_cell(by_method[method, title].get(column), group) for column, group in enumerate(columns)),
        )
        for method, title in kept
    ]
    family = {key: _family_order(next(iter(by_method[key].values()))[0]) for key in kept}
    order = sorted(range(len(kept)), key=lambda i: (family[kept[i]], lines[i].title.casefold()))
    main = tuple(group.anchor in largest for group in columns)
    return Overview(columns, main, tuple(lines[i] for i in order), len(by_method) - len(kept))


def _cell(rows: Sequence[BoardRow] | None, group: Group) -> GlanceCell | None:
    """The cell of a method in a column; it never shows the best of several rows."""
    if not rows:
        return None
    declared = [row for row in rows if row.row and row.row.declared]
    # Showing the best of several rows would be a selection on the test set.
    shown = declared[0] if len(declared) == 1 else None
    others = [row for row in rows if row is not shown]
    values = [row.cells[group.primary].value for row in others]
    return GlanceCell(
        anchor=shown.anchor if shown else rows[0].anchor if len(rows) == 1 else group.anchor,
        cell=shown.cells[group.primary] if shown else None,
        variants=len(others),
        low=min(values, default=0.0),
        high=max(values, default=0.0),
        names=tuple(row.label or row.title for row in others),
        reasons=shown.reasons if shown else (),
    )


def _family_order(row: BoardRow) -> int:
    return family_order(row.row.family if row.row else "")
