"""Ranks of rows measured the same way, from paired tests on their predictions at 95 %.

Two families of tests answer two questions. The tests for other videos decide the ranks. The tests for methods that are
trained again never change a rank: they mark ranks that another training may change.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise

import numpy as np

from harness.spec import Column
from reports.class_scores import RowClasses
from reports.row import Cell, RepeatScore, Row
from reports.samples import GroupSamples
from reports.statistics_words import FEW_FITS, MAY_NOT_HOLD, NOT_SEPARABLE, SEPARABLE, TOO_FEW_SOURCES
from results.row_samples import RowSample
from results.row_statistics import PairStatistics
from results.statistics.flips import least_p
from results.statistics.pair_tables import PairTable, pair_table
from results.statistics.pairs import ALPHA, around
from results.statistics.ranking import Ranking, rank
from results.statistics.trained_again import CONCLUSIVE_FITS, borrow_spread, fit_spread


@dataclass(frozen=True)
class ColumnTests:
    """The tests of all pairs of ranked rows of a column.

    Args:
        keys: Keys of the rows.
        table: The tests, as matrices.
        ranking: Ranks and p values after Holm's correction, each family over all its pairs.
        known: Whether the sources of the videos are known.
    """

    keys: tuple[str, ...]
    table: PairTable
    ranking: Ranking
    known: bool

    def pair(self, i: int, j: int, names: Sequence[str]) -> PairStatistics:
        """The statistics of row `i` minus row `j`, with the names of all rows in place of their keys."""
        table = self.table
        again = not math.isnan(table.p_again[i, j])
        gap, differing = float(table.difference[i, j]), int(table.differing[i, j])
        return PairStatistics(
            a=names[i], b=names[j], difference=100.0 * gap, p=float(table.p[i, j]),
            p_holm=float(self.ranking.p_holm[i, j]), approximate=bool(table.approximate[i, j]), differing=differing,
            few_sources=self.too_few_sources(i, j), interval=around(gap, table.half_width(i, j)),
            fits=int(table.fits[i, j]), p_again=float(table.p_again[i, j]) if again else None,
            p_again_holm=float(self.ranking.p_again_holm[i, j]) if again else None,
            again=around(gap, table.half_width_again(i, j)) if again else None, variance=float(table.variance[i, j]),
            fit_variance=float(table.between[i, j]) if again else None, df=float(table.df[i, j]),
            sources=float(table.effective[i, j]), known=self.known,
        )  # fmt: skip

    def too_few_sources(self, i: int, j: int) -> bool:
        """Whether the smallest possible p of the sources in which two rows differ exceeds Holm's first threshold."""
        pairs = len(self.keys) * (len(self.keys) - 1) // 2
        return least_p(int(self.table.differing[i, j])) > ALPHA / pairs


@dataclass(frozen=True)
class Ranks:
    """Ranks of rows.

    Args:
        by_cell: Ranks by (row key, column); a cell without an entry has no rank.
        reasons: By row key, the reason why the predictions of a row cannot be used.
        lists: By (row key, column), the reason why the lists of a cell keep it from being ranked.
        again: By (row key, column), why the rank may change if the methods are trained again; absent if it may not.
        gaps: By (row key, column), a sentence on the gap to the next worse row.
        tests: The tests by (group key, column).
    """

    by_cell: dict[tuple[str, str], int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    lists: dict[tuple[str, str], str] = field(default_factory=dict)
    again: dict[tuple[str, str], str] = field(default_factory=dict)
    gaps: dict[tuple[str, str], str] = field(default_factory=dict)
    tests: dict[tuple[str, str], ColumnTests] = field(default_factory=dict)

    def of(self, row: Row, column: str) -> int | None:
        """The rank of a cell, or None."""
        return self.by_cell.get((row.key, column))

    def reasons_of(self, row: Row, column: str) -> tuple[str, ...]:
        """Reasons why a measured cell has no rank: those of its row, and those of the cell."""
        reasons = (self.reasons.get(row.key, ""), row.cells[column].lacks, self.lists.get((row.key, column), ""))
        return (*row.reasons, *(reason for reason in reasons if reason))


@dataclass(frozen=True)
class Analysis:
    """Rows with the statistics of their cells, in the given order, their ranks, and accuracies by class by row key."""

    rows: tuple[Row, ...]
    ranks: Ranks
    classes: Mapping[str, RowClasses]


def rank_rows(rows: Iterable[Row]) -> Ranks:
    """The ranks of rows, see `analyse`."""
    return analyse(rows).ranks


def analyse(rows: Iterable[Row]) -> Analysis:
    """Read the predictions of all rows, compute the intervals of their cells, and rank them.

    Ranks are made within each group and top-1 column, for the rows that have all repeats of the column. Rank = 1 + the
    number of rows that are better and separable by a paired test (Holm over all pairs of the group's column). Rows with
    a reason not to be ranked are left out of all tests. A column with a single remaining row has no rank. Top-5 columns
    are not ranked, because the test compares right and wrong top-1 answers.
    """
    given = list(rows)
    ranks, found, classes = Ranks(), dict[str, Row](), dict[str, RowClasses]()
    for _, members in groupby(sorted(given, key=lambda row: (row.group, row.key)), lambda row: row.group):
        samples = GroupSamples(list(members))
        ranks.reasons.update(samples.reasons)
        classes |= samples.classes
        found |= {row.key: row for row in _with_borrowed(samples)}
        _rank_group([row for row in samples.rows if not row.reasons and row.key not in ranks.reasons], samples, ranks)
    return Analysis(tuple(found[row.key] for row in given), ranks, classes)


def _with_borrowed(samples: GroupSamples) -> list[Row]:
    """The rows; cells with one fit have the spread of the other rows of their column that have several fits."""
    # Only columns with a single fit somewhere need the spread of their other rows.
    columns = dict.fromkeys(name for row in samples.rows for name, cell in row.cells.items() if len(cell.fits) == 1)
    if not columns:
        return samples.rows
    borrowed = {}
    for column in columns:
        complete = [samples.of(row, column) for row in samples.rows if column in row.cells and _complete(row, column)]
        spreads = [fit_spread(sample.row.scores) for sample in complete if sample is not None and sample.row.fits]
        borrowed[column] = borrow_spread([spread for spread in spreads if spread is not None])

    def with_spread(column: str, cell: Cell) -> Cell:
        return replace(cell, borrowed=borrowed[column]) if len(cell.fits) == 1 and borrowed[column] else cell

    return [
        replace(row, cells={column: with_spread(column, cell) for column, cell in row.cells.items()})
        for row in samples.rows
    ]


def _rank_group(rows: list[Row], samples: GroupSamples, ranks: Ranks) -> None:
    tested: dict[str, list[Row]] = {}
    # Harmonic means follow their columns in the rules, so that both columns have been tested before.
    for rule in dict.fromkeys(rule for row in rows for rule in row.rules):
        complete = [row for row in rows if rule in row.rules and _complete(row, rule.name)]
        if rule.harmonic_of is not None:
            first, second = (tested.get(part, []) for part in rule.harmonic_of)
            both = {row.key for row in first} & {row.key for row in second}
            comparable = [row for row in complete if row.key in both]
        elif rule.metric == "top1":
            comparable = tested[rule.name] = _of_same_lists(complete, rule.name, ranks)
        else:
            continue
        _test(comparable, rule, samples, ranks)


def _complete(row: Row, column: str) -> bool:
    return column in row.cells and not row.cells[column].lacks


def _test(rows: Sequence[Row], rule: Column, samples: GroupSamples, ranks: Ranks) -> None:
    """Test all pairs of rows of a column, and store their ranks."""
    found = [(row, samples.of(row, rule.name)) for row in rows]
    for row, sample in found:
        # A single source of videos gives no variance between sources, and so neither an interval nor a test.
        if sample is None or sample.row.scores.one_source:
            ranks.lists[row.key, rule.name] = row.cells[rule.name].no_interval
    pairs = [(row, sample) for row, sample in found if sample is not None and not sample.row.scores.one_source]
    if len(pairs) < 2:
        return
    chosen = [row for row, _ in pairs]
    table = pair_table([sample.row for _, sample in pairs])
    _forget_single_fits([sample for _, sample in pairs], table)
    ranking = rank([row.cells[rule.name].mean for row in chosen], table)
    for row, position in zip(chosen, ranking.ranks, strict=True):
        ranks.by_cell[row.key, rule.name] = position
    known = all(sample.known for _, sample in pairs)
    tests = ColumnTests(tuple(row.key for row in chosen), table, ranking, known)
    ranks.tests[chosen[0].group, rule.name] = tests
    ranks.gaps.update({(chosen[i].key, rule.name): text for i, text in _gaps(chosen, rule.name, tests)})
    for i, row in enumerate(chosen):
        if text := _again(chosen, i, rule.name, ranking):
            ranks.again[row.key, rule.name] = text


def _gaps(rows: Sequence[Row], column: str, tests: ColumnTests) -> Iterator[tuple[int, str]]:
    """For each row, whether its gap to the next worse row is larger than chance of videos explains."""
    order = sorted(range(len(rows)), key=lambda i: -rows[i].cells[column].mean)
    for i, j in pairwise(order):
        if tests.ranking.p_holm[i, j] < ALPHA:
            yield i, SEPARABLE
        else:
            yield i, TOO_FEW_SOURCES if tests.too_few_sources(i, j) else NOT_SEPARABLE


def _forget_single_fits(samples: Sequence[RowSample], table: PairTable) -> None:
    """A pair with a trained row of one fit has no statement on other fits, whatever is known of the other row."""
    single = np.array([sample.fits == 1 for sample in samples])
    either = single[:, None] | single[None, :]
    table.p_again[either] = np.nan
    table.between[either] = np.nan
    table.fits[either] = 1


def _again(rows: Sequence[Row], i: int, column: str, ranking: Ranking) -> str:
    """The reason why another training may swap a row and the next worse separable row; empty without a reason."""
    fits, worse = len(rows[i].cells[column].fits), ranking.next_worse[i]
    if 0 < fits < CONCLUSIVE_FITS:
        return FEW_FITS[fits]
    if worse is None or ranking.holds_again[i]:
        return ""
    other_fits = len(rows[worse].cells[column].fits)
    if not fits and not other_fits:
        return ""  # nothing is trained
    if 0 < other_fits < CONCLUSIVE_FITS:
        return f"{MAY_NOT_HOLD}: {rows[worse].title} has {'one fit' if other_fits == 1 else 'two fits'}"
    return MAY_NOT_HOLD


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
