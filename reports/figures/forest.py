"""The forest column of a table: for each row an interval, its repeats, the published value and the leader's line.

The same picture is drawn by `board.js` after a table is sorted by another column.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reports.board_rows import BoardCell
from reports.figures.svg import attribute, short

WIDTH, HEIGHT = 220, 24
_MARGIN = 7.0
_MIDDLE = 12


@dataclass(frozen=True)
class ForestScale:
    """The axis that the pictures of all rows of a table share.

    Args:
        low: Value at the left end, in percent.
        high: Value at the right end.
        leader: Value of the best ranked row; None without ranks.
    """

    low: float
    high: float
    leader: float | None

    def __call__(self, value: float) -> float:
        """The pixel of a value; values outside the axis are at its ends."""
        share = (value - self.low) / (self.high - self.low)
        return _MARGIN + min(max(share, 0.0), 1.0) * (WIDTH - 2 * _MARGIN)


def forest_scale(cells: Iterable[BoardCell]) -> ForestScale:
    """The axis of a column: all means, intervals and repeats, published values near them, at least one percent point.

    A published value that is further away than half the length of the axis is drawn at its end, because the axis would
    otherwise show no difference between our rows.
    """
    ends: list[float] = []
    printed: list[float] = []
    leader: float | None = None
    for board in cells:
        if board.cell is None:
            continue
        ends += (board.value, *(board.cell.interval or ()), *(repeat.value for repeat in board.cell.repeats))
        if board.beside:
            printed.append(board.beside.number.number)
        if board.rank == 1 and (leader is None or board.value > leader):
            leader = board.value
    low, high = min(ends, default=0.0), max(ends, default=100.0)
    reach = max(high - low, 1.0) / 2
    near = [value for value in printed if low - reach <= value <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    return ForestScale(low, max(high, low + 1.0), leader)


def forest(board: BoardCell, scale: ForestScale, title: str) -> str:
    """The picture of a row, as an `<svg>` element.

    Args:
        board: A measured cell.
        scale: Axis of the column.
        title: Display name of the column, for screen readers.
    """
    cell = board.cell
    if cell is None:
        return ""
    parts = []
    if scale.leader is not None:
        parts.append(f'<path class="fl" d="M{short(scale(scale.leader))} 0v{HEIGHT}"/>')
    words = f"{title} {cell.mean:.1f}"
    if cell.interval:
        low, high = cell.interval
        parts.append(f'<path class="fi" d="M{short(scale(low))} {_MIDDLE}H{short(scale(high))}"/>')
        words += f", 95 % interval {low:.1f} to {high:.1f}"
    if len(cell.repeats) > 1:
        dots = "".join(f"M{short(scale(repeat.value))} {_MIDDLE + 6}h0" for repeat in cell.repeats)
        parts.append(f'<path class="fr" d="{dots}"/>')
    parts.append(f'<path class="fm" d="M{short(scale(cell.mean))} {_MIDDLE}h0"/>')
    if board.beside:
        number = board.beside.number.number
        parts.append(f'<path class="fp" d="M{short(scale(number))} {_MIDDLE - 5}l5 5-5 5-5-5z"/>')
        words += f", published {board.beside.number.value}"
    head = f'<svg class="forest{" best" if board.rank == 1 else ""}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
    return f"{head} aria-label={attribute(words)}>{''.join(parts)}</svg>"
