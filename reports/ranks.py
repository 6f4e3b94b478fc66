"""Ranks of rows measured the same way, from their predictions: what the test videos can tell apart at 95 %."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.base.errors import UserError
from reports.aggregate import Row
from results.outcomes import Outcome, read_outcome, videos_of
from results.ranking import harmonic_pairwise_p, pairwise_p, rank


@dataclass(frozen=True)
class Ranks:
    """Ranks of rows.

    Args:
        by_cell: (row key, column) to rank; a cell without an entry is not ranked.
        reasons: Row key to why a row that could be ranked is not.
    """

    by_cell: dict[tuple[str, str], int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def of(self, row: Row, column: str) -> int | None:
        """The rank of a cell, or None."""
        return self.by_cell.get((row.key, column))


def rank_rows(rows: Iterable[Row]) -> Ranks:
    """Ranks within each group and top-1 column; rows with a reason not to be ranked are left out.

    Rank = 1 + the number of rows that are better and separable by a paired test (Holm over all pairs of the group's
    column). Top-5 columns are not ranked: the test is one on right or wrong.
    """
    ranks = Ranks()
    for _, members in groupby(sorted(rows, key=lambda row: row.group), lambda row: row.group):
        _rank_group([row for row in members if not row.reasons], ranks)
    return ranks


def _rank_group(rows: list[Row], ranks: Ranks) -> None:
    outcomes = _read(rows, ranks)
    rows = [row for row in rows if row.key not in ranks.reasons]
    if not rows:
        return
    tested: dict[str, tuple[list[Row], NDArray[np.int64], NDArray[np.float64]]] = {}
    for rule in rows[0].facts["rules"]:
        column = rule["name"]
        if "harmonic_of" in rule:
            _rank_harmonic(column, rule["harmonic_of"], tested, ranks)
        elif rule.get("metric", "top1") == "top1":
            comparable = _same_lists([row for row in rows if column in row.cells], column, ranks)
            if comparable:
                right, mean = _right(comparable, column, outcomes)
                tested[column] = (comparable, right, mean)
                values = [row.cells[column].mean for row in comparable]
                _store(comparable, column, values, pairwise_p(right), ranks)


def _rank_harmonic(
    column: str,
    parts: list[str],
    tested: dict[str, tuple[list[Row], NDArray[np.int64], NDArray[np.float64]]],
    ranks: Ranks,
) -> None:
    """Rank the rows that have both parts."""
    if parts[0] not in tested or parts[1] not in tested:
        return
    (rows_a, _, first), (rows_b, _, second) = tested[parts[0]], tested[parts[1]]
    both = [row for row in rows_a if row.key in {other.key for other in rows_b} and column in row.cells]
    place_a = {row.key: i for i, row in enumerate(rows_a)}
    place_b = {row.key: i for i, row in enumerate(rows_b)}
    if both:
        p = harmonic_pairwise_p(first[[place_a[r.key] for r in both]], second[[place_b[r.key] for r in both]])
        _store(both, column, [row.cells[column].mean for row in both], p, ranks)


def _store(rows: list[Row], column: str, values: list[float], p: NDArray[np.float64], ranks: Ranks) -> None:
    for row, position in zip(rows, rank(values, p).ranks, strict=True):
        ranks.by_cell[row.key, column] = position


def _read(rows: list[Row], ranks: Ranks) -> dict[Path, Outcome]:
    """All outcomes of the rows' records; a row with unreadable predictions gets a reason instead."""
    jobs = {
        m.facts["predictions_path"]: (row.key, m.facts["predictions_sha256"], int(m.facts["n_expected"]))
        for row in rows
        for cell in row.cells.values()
        for m in cell.measurements
    }

    def read(some: list[tuple[Path, tuple[str, str, int]]]) -> list[tuple[Path, str, Outcome | str]]:
        results: list[tuple[Path, str, Outcome | str]] = []
        for path, (key, sha, n) in some:
            try:
                results.append((path, key, read_outcome(path, sha, n)))
            except UserError as error:
                results.append((path, key, error.message))
        return results

    found: dict[Path, Outcome] = {}
    todo = list(jobs.items())
    with ThreadPoolExecutor(4) as pool:  # a slow disk is waited for in turns; a thread for each file costs more
        for results in pool.map(read, [todo[i : i + 64] for i in range(0, len(todo), 64)]):
            for path, key, outcome in results:
                if isinstance(outcome, str):
                    ranks.reasons[key] = outcome
                else:
                    found[path] = outcome
    return found


def _same_lists(rows: list[Row], column: str, ranks: Ranks) -> list[Row]:
    """The rows measured on the lists that most rows of the column share; the others are not ranked, and told why."""
    lists = {row.key: tuple(sorted({m.facts["list_sha256"] for m in row.cells[column].measurements})) for row in rows}
    counts = Counter(lists.values())
    if not counts:
        return []
    usual = max(counts, key=lambda key: (len(key), counts[key], key))
    for row in rows:
        if lists[row.key] != usual:
            ranks.reasons[row.key] = f"{column}: {len(lists[row.key])} of {len(usual)} lists, or other lists"
    return [row for row in rows if lists[row.key] == usual]


def _right(
    rows: list[Row], column: str, outcomes: dict[Path, Outcome]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Right answers of each row on each distinct video: whole numbers in shared units, and fractions of repeats."""
    measurements = [list(row.cells[column].measurements) for row in rows]
    places, size = _places([outcomes[m.facts["predictions_path"]] for m in measurements[0]],
                           [m.facts["list_sha256"] for m in measurements[0]])  # fmt: skip
    repeats = [Counter(m.facts["list_sha256"] for m in ms) for ms in measurements]
    unit = math.lcm(*{n for counts in repeats for n in counts.values()})
    right = np.zeros((len(rows), size), dtype=np.int64)
    weight = np.zeros(size)
    for sha in places:
        weight[places[sha]] += 1
    for index, (ms, counts) in enumerate(zip(measurements, repeats, strict=True)):
        for m in ms:
            sha = m.facts["list_sha256"]
            hits = outcomes[m.facts["predictions_path"]].hits
            right[index, places[sha]] += hits * (unit // counts[sha])
    return right, right / (unit * np.maximum(weight, 1))


def _places(outcomes: list[Outcome], shas: list[str]) -> tuple[dict[str, NDArray[np.int64]], int]:
    """For each list the positions of its videos among the distinct videos of all lists, and their number."""
    if len(set(shas)) == 1:
        return {shas[0]: np.arange(len(outcomes[0].hits))}, len(outcomes[0].hits)
    index: dict[bytes, int] = defaultdict(lambda: len(index))
    places = {
        sha: np.array([index[video] for video in videos_of(outcome)])
        for sha, outcome in zip(shas, outcomes, strict=True)
    }
    return places, len(index)
