"""The verdict of a table in one sentence: leader, rows that are not separable from it, reproduced values."""

from __future__ import annotations

from dataclasses import dataclass

from reports.board_rows import BoardRow, Group
from reports.verdict import INSIDE, OUTSIDE

MOST_NAMES = 4


@dataclass(frozen=True)
class Printed:
    """The name of a row, its value, and the published value that it was compared with, as texts."""

    name: str
    value: str
    printed: str


@dataclass(frozen=True)
class Standing:
    """The verdict of a table, from the ranks of its primary column.

    Args:
        leader: The best ranked row; None if no row is ranked.
        ties: Names of the other rows with rank 1, at most `MOST_NAMES`.
        more: Number of other rows with rank 1 that are not named.
        worse: Number of ranked rows that are separably worse.
        reason: The reason why no row is ranked.
        inside: Rows that agree with the value of their paper.
        outside: Rows that do not.
    """

    leader: BoardRow | None = None
    ties: tuple[str, ...] = ()
    more: int = 0
    worse: int = 0
    reason: str = ""
    inside: tuple[Printed, ...] = ()
    outside: tuple[Printed, ...] = ()


def standing(group: Group) -> Standing:
    """The verdict of a measured group."""
    inside, outside = (_printed(group, kind) for kind in (INSIDE, OUTSIDE))
    ranked = [row for row in group.rows if row.rank]
    if not ranked:
        reasons = list(dict.fromkeys(reason for row in group.rows for reason in row.reasons))
        alone = "the table has no other row" if len(group.rows) == 1 else "no two rows can be compared"
        return Standing(reason="; ".join(reasons[:2]) or alone, inside=inside, outside=outside)
    first = [row for row in ranked if row.rank == 1]
    first.sort(key=lambda row: -row.cells[group.primary].value)
    names = [row.name for row in first[1:]]
    # A single further name takes no more room than the words that would replace it.
    kept = names if len(names) == MOST_NAMES + 1 else names[:MOST_NAMES]
    return Standing(
        first[0], tuple(kept), len(names) - len(kept), len(ranked) - len(first), "", inside, outside
    )


def _printed(group: Group, kind: str) -> tuple[Printed, ...]:
    """The rows of which the verdict on the primary column has a kind."""
    found = []
    for row in group.rows:
        cell = row.cells.get(group.primary)
        if cell and cell.beside and cell.beside.verdict.kind == kind:
            found.append(Printed(row.name, f"{cell.value:.1f}", cell.beside.number.value))
    return tuple(found)
