"""Ranks of rows measured the same way, from paired tests on their predictions at 95 %."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.base.errors import UserError
from harness.spec import Column
from reports.entries import Entry
from reports.row import RepeatScore, Row
from results.outcomes import Outcome, read_outcome, videos_of
from results.statistics.ranking import harmonic_pairwise_p, pairwise_p, rank


@dataclass(frozen=True)
class Ranks:
    """Ranks of rows.

    Args:
        by_cell: Ranks by (row key, column); a cell without an entry has no rank.
        reasons: By row key, the reason why the predictions of a row cannot be used.
        lists: By (row key, column), the reason why the lists of a cell keep it from being ranked.
    """

    by_cell: dict[tuple[str, str], int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    lists: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, row: Row, column: str) -> int | None:
        """The rank of a cell, or None."""
        return self.by_cell.get((row.key, column))

    def reasons_of(self, row: Row, column: str) -> tuple[str, ...]:
        """Reasons why a measured cell has no rank: those of its row, and those of the cell."""
        reasons = (self.reasons.get(row.key, ""), row.cells[column].lacks, self.lists.get((row.key, column), ""))
        return (*row.reasons, *(reason for reason in reasons if reason))


@dataclass(frozen=True)
class _Tested:
    """The compared rows of a column, with the fraction of repeats in which each row is right on each video.

    Args:
        rows: R rows.
        right: (R, V) fractions for V distinct videos.
    """

    rows: list[Row]
    right: NDArray[np.float64]


def rank_rows(rows: Iterable[Row]) -> Ranks:
    """Ranks within each group and top-1 column, for the rows that have all repeats of the column.

    Rank = 1 + the number of rows that are better and separable by a paired test (Holm over all pairs of the group's
    column). Rows with a reason not to be ranked are left out of all tests. A column with a single remaining row has no
    rank. Top-5 columns are not ranked, because the test compares right and wrong top-1 answers.
    """
    ranks = Ranks()
    for _, members in groupby(sorted(rows, key=lambda row: (row.group, row.key)), lambda row: row.group):
        _rank_group([row for row in members if not row.reasons], ranks)
    return ranks


def _rank_group(rows: list[Row], ranks: Ranks) -> None:
    outcomes = _read(rows, ranks)
    rows = [row for row in rows if row.key not in ranks.reasons]
    tested: dict[str, _Tested] = {}
    # Harmonic means follow their columns in the rules, so that both columns have been tested before.
    for rule in dict.fromkeys(rule for row in rows for rule in row.rules):
        if rule.harmonic_of is not None:
            _rank_harmonic(rule, tested, ranks)
        elif rule.metric == "top1":
            complete = [row for row in rows if rule in row.rules and _complete(row, rule.name)]
            comparable = _of_same_lists(complete, rule.name, ranks)
            if len(comparable) > 1:
                right, mean = _right(comparable, rule.name, outcomes)
                tested[rule.name] = _Tested(comparable, mean)
                _store(comparable, rule.name, pairwise_p(right), ranks)


def _complete(row: Row, column: str) -> bool:
    return column in row.cells and not row.cells[column].lacks


def _rank_harmonic(rule: Column, tested: dict[str, _Tested], ranks: Ranks) -> None:
    """Rank the rows that have both columns of a harmonic mean."""
    first, second = (tested.get(part) for part in rule.harmonic_of or ("", ""))
    if first is None or second is None:
        return
    in_second = {row.key: i for i, row in enumerate(second.rows)}
    both = [
        (i, in_second[row.key])
        for i, row in enumerate(first.rows)
        if row.key in in_second and rule in row.rules and _complete(row, rule.name)
    ]
    if len(both) > 1:
        p = harmonic_pairwise_p(first.right[[i for i, _ in both]], second.right[[j for _, j in both]])
        _store([first.rows[i] for i, _ in both], rule.name, p, ranks)


def _store(rows: Sequence[Row], column: str, p: NDArray[np.float64], ranks: Ranks) -> None:
    values = [row.cells[column].mean for row in rows]
    for row, position in zip(rows, rank(values, p).ranks, strict=True):
        ranks.by_cell[row.key, column] = position


def _read(rows: Sequence[Row], ranks: Ranks) -> dict[Path, Outcome]:
    """All outcomes of the rows' records; a row with unreadable predictions gets a reason instead."""
    todo = [(row.key, entry) for row in rows for entry in row.entries]

    def read(keyed: Sequence[tuple[str, Entry]]) -> list[tuple[Path, str, Outcome | str]]:
        results: list[tuple[Path, str, Outcome | str]] = []
        for key, entry in keyed:
            sha, n = entry.record.predictions.sha256, entry.measurement.evaluation.evaluated
            try:
                results.append((entry.path, key, read_outcome(entry.predictions, sha, n)))
            except UserError as error:
                results.append((entry.path, key, entry.without_paths(error.message)))
        return results

    outcomes: dict[Path, Outcome] = {}
    # Threads overlap the waiting time of a slow disk; batches of 64 keep the overhead of the pool small.
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(read, [todo[i : i + 64] for i in range(0, len(todo), 64)]):
            for path, key, outcome in results:
                if isinstance(outcome, str):
                    ranks.reasons.setdefault(key, outcome)
                else:
                    outcomes[path] = outcome
    return outcomes


def _of_same_lists(rows: Sequence[Row], column: str, ranks: Ranks) -> list[Row]:
    """The rows measured on the lists that most rows of the column share; other rows get a reason in `ranks.lists`.

    If two sets of lists have equally many rows, the set that was measured first counts, so that a new row cannot
    remove the rank of older rows.
    """
    by_lists: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        by_lists[tuple(sorted({_list(score) for score in row.cells[column].repeats}))].append(row)
    if not by_lists:
        return []
    oldest = {lists: min(row.newest.time for row in members) for lists, members in by_lists.items()}
    most_common = min(by_lists, key=lambda lists: (-len(by_lists[lists]), oldest[lists], lists))
    for lists, members in by_lists.items():
        if lists != most_common:
            for row in members:
                ranks.lists[row.key, column] = (
                    f"{len(set(lists) - set(most_common))} of {len(lists)} lists differ from those of the "
                    f"{len(by_lists[most_common])} ranked rows"
                )
    return by_lists[most_common]


def _list(score: RepeatScore) -> str:
    return score.entry.measurement.evaluation.list.sha256


def _right(
    rows: Sequence[Row], column: str, outcomes: dict[Path, Outcome]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Right answers of R rows on V distinct videos.

    Returns:
        (R, V) integers in one unit for all rows, and (R, V) fractions of the repeats of each video.
    """
    scores = [row.cells[column].repeats for row in rows]
    first = scores[0]
    positions, size = _positions([outcomes[score.entry.path] for score in first], [_list(score) for score in first])
    repeats = [Counter(map(_list, of_row)) for of_row in scores]
    # Rows may have different numbers of repeats. In units of their least common multiple all hits are whole numbers,
    # for which the test is exact.
    unit = math.lcm(*{n for counts in repeats for n in counts.values()})
    right = np.zeros((len(rows), size), dtype=np.int64)
    weight = np.zeros(size)
    for indices in positions.values():
        weight[indices] += 1
    for index, (of_row, counts) in enumerate(zip(scores, repeats, strict=True)):
        for score in of_row:
            sha = _list(score)
            right[index, positions[sha]] += outcomes[score.entry.path].hits * (unit // counts[sha])
    return right, right / (unit * np.maximum(weight, 1))


def _positions(outcomes: Sequence[Outcome], shas: Sequence[str]) -> tuple[dict[str, NDArray[np.int64]], int]:
    """By list, the positions of its videos among the distinct videos of all lists; and the number of these videos."""
    # The usual case, in which all repeats share a list, needs no names of videos.
    if len(set(shas)) == 1:
        return {shas[0]: np.arange(len(outcomes[0].hits))}, len(outcomes[0].hits)
    index: dict[bytes, int] = defaultdict(lambda: len(index))
    positions = {
        sha: np.array([index[video] for video in videos_of(outcome)])
        for sha, outcome in zip(shas, outcomes, strict=True)
    }
    return positions, len(index)
