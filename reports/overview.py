"""The board at a glance: one line a method, one column for each protocol and dataset measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.board import BoardCell, BoardRow, Group

MOST_METHODS = 40
_FAMILIES = {"unimodal": 0, "adapting": 1, "tuning": 2}


@dataclass(frozen=True)
class Glance:
    """A method's line.

    Args:
        title: The method, with its options where several lines are of one method.
        method: Its name, for the link to its section.
        cells: For each column the row's anchor and its cell, or None.
    """

    title: str
    method: str
    cells: tuple[tuple[str, BoardCell] | None, ...]


@dataclass(frozen=True)
class Overview:
    """The table: columns are groups, lines are methods in the paper's order of families.

    Args:
        groups: The largest measured group of each protocol and dataset.
        lines: At most `MOST_METHODS`, those measured in most columns first to be kept.
        left_out: Methods beyond.
    """

    groups: tuple[Group, ...]
    lines: tuple[Glance, ...]
    left_out: int


def overview(groups: Sequence[Group]) -> Overview:
    """The overview of the measured groups. Columns are not averaged: they are not one scale."""
    chosen: dict[tuple[str, str], Group] = {}
    for group in groups:
        if not group.published:
            chosen.setdefault((group.protocol, group.dataset), group)  # the largest stands first
    columns = tuple(chosen.values())
    found: dict[tuple[str, str], dict[int, BoardRow]] = {}
    for place, group in enumerate(columns):
        for row in group.rows:
            if row.row and group.primary in row.cells:
                key = (row.row.facts["method"], row.row.facts["options"])
                found.setdefault(key, {}).setdefault(place, row)
    kept = sorted(found, key=lambda key: (-len(found[key]), key))[:MOST_METHODS]
    several = {method for method, _ in kept if sum(other == method for other, _ in kept) > 1}
    lines = [_line(found[key], columns, key[0], key[1] if key[0] in several else "") for key in kept]
    family = {key: _family(next(iter(found[key].values()))) for key in kept}
    order = sorted(range(len(kept)), key=lambda i: (family[kept[i]], lines[i].title.casefold()))
    return Overview(columns, tuple(lines[i] for i in order), len(found) - len(kept))


def _family(row: BoardRow) -> int:
    return _FAMILIES.get(row.row.facts["family"], 3) if row.row else 3


def _line(rows: dict[int, BoardRow], columns: Sequence[Group], method: str, options: str) -> Glance:
    title = next(iter(rows.values())).title
    cells = tuple(
        (rows[place].anchor, rows[place].cells[group.primary]) if place in rows else None
        for place, group in enumerate(columns)
    )
    return Glance(f"{title} ({options})" if options else title, method, cells)
