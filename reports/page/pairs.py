"""The tests of all pairs of rows of a table, as a short text that the page holds."""

from __future__ import annotations

import json
from collections.abc import Sequence

from reports.board_rows import Group
from results.row_statistics import PairStatistics

LEAST_P = 1e-4
"""Smaller p values are shown as `< 0.0001`, and are 0 in the text."""


def pair_matrix(group: Group) -> str:
    """The tests of a group as JSON: by column, the rows and the pairs.

    Rows are their 0-based positions in the group. A pair is `half-width p`, with the half-width of the 95 % interval of
    the difference in percent points and p after Holm's correction. If all pairs of the rows are tested, they are in the
    order (0, 1), (0, 2), ..., (1, 2), ...; otherwise the positions of both rows come first: `0 3 half-width p`. The
    difference itself follows from the cells.
    """
    positions = {row.anchor: number for number, row in enumerate(group.rows)}
    columns = {column: _column(pairs, positions) for column, pairs in group.pairs.items() if pairs}
    return json.dumps(columns, separators=(",", ":")) if columns else ""


def _column(pairs: Sequence[PairStatistics], positions: dict[str, int]) -> tuple[list[int], str]:
    tested = {(min(at), max(at)): pair for pair in pairs for at in [(positions[pair.a], positions[pair.b])]}
    rows = sorted({row for both in tested for row in both})
    complete = len(tested) == len(rows) * (len(rows) - 1) // 2
    texts = []
    for (i, j), pair in sorted(tested.items()):
        half = (pair.interval[1] - pair.interval[0]) / 2 if pair.interval else -1.0
        p = "-" if pair.p_holm is None else f"{pair.p_holm:.2g}" if pair.p_holm >= LEAST_P else "0"
        texts.append(f"{half:.1f} {p}" if complete else f"{i} {j} {half:.1f} {p}")
    return rows, ";".join(texts)
