"""Tests and intervals of pairs, tables of all pairs of a column, and ranks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from results.statistics import pairs
from results.statistics.flip_tables import FAR_ABOVE, MANY_CLUSTERS
from results.statistics.flips import flip_p
from results.statistics.holm import holm
from results.statistics.list_design import list_design
from results.statistics.pair_tables import PairTable, pair_table
from results.statistics.ranking import corrected_pairs, rank
from results.statistics.row_scores import RowScores, accuracy_row, flip_differences, harmonic_row
from results.statistics.trained_again import fit_spread
from tests.results.reference import TOLERANCE, close, reference, rows_of

LIST = list_design(np.arange(40) // 2 % 4, np.arange(40) // 2)
VIDEOS = list_design(np.arange(40) % 4, np.arange(40))


def row(right: list[np.ndarray], fits: bool = True, listed: object = LIST) -> RowScores:
    return accuracy_row([listed] * len(right), right, range(1, len(right) + 1), fits)  # type: ignore[list-item]


def answers(seed: int, share: float = 0.6, fits: int = 1, videos: int = 40) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(99).random(videos)
    return [np.where(rng.random(videos) < 0.5, common, rng.random(videos)) < share for _ in range(fits)]


# --- a pair


def test_pairs_equal_the_reference(shared: Path) -> None:
    for case in reference(shared, "pairs"):
        a, b = rows_of(case)
        test, expected = pairs.compare_pair(a, b), case["expected"]
        assert test.difference == close(expected["difference"])
        assert flip_differences(a, b)[0] * 1.0 == pytest.approx(_reduced(expected["cluster_sums"])), case["name"]
        assert test.p == close(expected["p_flip"]), case["name"]
        assert test.scores.scores == close(expected["scores"])
        assert test.scores.variance == close(expected["variance"])
        assert (test.scores.df, test.scores.quantile) == close((expected["df"], expected["quantile"]))
        if test.scores.variance:  # the reference holds D +- q sqrt(V) also where V = 0 and is not clipped
            assert test.interval == _clipped(expected["interval"])
        if "p_again" in expected:
            assert test.again is not None
            assert test.again.p == pytest.approx(expected["p_again"], rel=0, abs=1e-10)
            assert test.again.spread.observed == close(expected["s2"])
            assert test.again.spread.interaction == close(expected["variance_interaction"])
            assert test.again.spread.between == close(expected["between_fits"])
            assert test.interval_again == _clipped(expected["interval_again"])


def _reduced(sums: list[int]) -> list[float]:
    unit = max(1, math.gcd(*sums))
    return [value / unit for value in sums]


def _clipped(limits: list[float]) -> object:
    return pytest.approx([100 * min(max(x, -1.0), 1.0) for x in limits], rel=0, abs=100 * TOLERANCE)


def test_no_variance_still_gives_a_length() -> None:
    """Equal answers, and answers that differ in one way everywhere: D +- q^2 / (q^2 + G_eff), clipped."""
    right = np.ones(40, dtype=bool)
    same, opposite = pairs.compare_pair(row([right]), row([right])), pairs.compare_pair(row([right]), row([~right]))
    half = same.scores.quantile**2 / (same.scores.quantile**2 + same.scores.effective)
    assert (same.p, same.differing, same.interval) == (1.0, 0, pytest.approx((-100 * half, 100 * half)))
    assert (opposite.difference, opposite.interval) == (1.0, pytest.approx((100 - 100 * half, 100.0)))
    assert opposite.p == pytest.approx(2.0**-19)


def test_few_sources_cannot_tell() -> None:
    """Five differing sources give at least p = 0.0625; six give 0.03125, above Holm's first threshold of 3 pairs."""
    right = np.zeros(40, dtype=bool)
    for sources, too_few, of_three in ((5, True, True), (6, False, True), (7, False, False)):
        better = right.copy()
        better[: 2 * sources] = True
        test = pairs.compare_pair(row([better]), row([right]))
        assert (test.differing, test.too_few_sources(), test.too_few_sources(0.05 / 3)) == (sources, too_few, of_three)
        assert test.p == pytest.approx(2.0 ** (1 - sources))


def test_one_source_has_no_p_value() -> None:
    listed = list_design([0, 0, 1, 1], [5, 5, 5, 5])
    a, b = (row([np.array([first, 0, 1, 1])], listed=listed) for first in (1, 0))
    test = pairs.compare_pair(a, b)
    assert math.isnan(test.p) and test.interval is None and test.interval_again is None


def test_repeats_are_paired_by_index() -> None:
    """Only common repeats count, whatever their order; a shared training subset cancels."""
    first, second, third, fourth = answers(1, fits=4)
    a = accuracy_row([LIST] * 3, [first, second, third], [1, 2, 3], True)
    b = accuracy_row([LIST] * 3, [fourth, second, first], [4, 2, 1], True)
    test = pairs.compare_pair(a, b)
    assert (test.scores.repeats, test.difference, test.scores.variance, test.p) == (2, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="common repeat"):
        pairs.compare_pair(a, accuracy_row([LIST], [fourth], [4], True))


def test_an_untrained_method_is_paired_with_every_repeat() -> None:
    fits = answers(2, fits=3)
    untrained = accuracy_row([LIST], answers(3), (), False)
    test = pairs.compare_pair(row(fits), untrained)
    repeated = pairs.compare_pair(row(fits), row(answers(3) * 3))
    assert test.p == repeated.p and test.scores.variance == pytest.approx(repeated.scores.variance)
    assert test.again is not None and repeated.again is not None
    assert test.again.p == pytest.approx(repeated.again.p)
    both = pairs.compare_pair(untrained, accuracy_row([LIST], answers(4), (), False))
    assert both.again is None and both.interval_again is None


def test_repeats_of_one_fit_have_no_spread_between_fits() -> None:
    assert pairs.compare_pair(row(answers(2, fits=3), False), row(answers(3, fits=3), False)).again is None


def test_weights_make_lists_of_different_lengths_count_equally() -> None:
    """A wins 2 of 4 videos of the short list, B 4 of 8 of the long list: no difference in the mean."""
    short, long = list_design([0] * 4, range(4)), list_design([0] * 8, range(4, 12))
    nothing = [np.zeros(4, dtype=int), np.zeros(8, dtype=int)]
    a = accuracy_row([short, long], [np.array([1, 1, 0, 0]), nothing[1]], [1, 2], False, weights=[2, 1])
    b = accuracy_row([short, long], [nothing[0], np.array([1, 1, 1, 1, 0, 0, 0, 0])], [1, 2], False, weights=[2, 1])
    assert flip_differences(a, b)[0].sum() == 0
    assert pairs.compare_pair(a, b).p == 1.0


def harmonic(seed: int, share: float = 0.6, fits: int = 1, designs: object = None) -> RowScores:
    base, novel = LIST, list_design(4 + np.arange(40) // 2 % 4, 10 + np.arange(40) // 2)
    rows = [
        accuracy_row([listed] * fits, answers(seed + 50 * part, share, fits), range(1, fits + 1), fits > 1)
        for part, listed in enumerate((base, novel))
    ]
    found = harmonic_row(*rows)
    assert found is not None
    return found


def test_harmonic_means_take_a_t_test() -> None:
    a, b = harmonic(1, 0.8), harmonic(2, 0.5)
    test = pairs.compare_pair(a, b)
    from scipy import stats

    expected = 2 * stats.t.sf(abs(test.difference) / math.sqrt(test.scores.variance), test.scores.df)
    assert test.p == pytest.approx(expected)
    assert test.difference == pytest.approx(a.scores.mean - b.scores.mean)
    same = pairs.compare_pair(a, a)
    assert (same.p, same.differing) == (1.0, 0)


def test_a_gap_of_harmonic_means_without_variance_is_bounded_by_its_sources() -> None:
    """A is right everywhere, B in none of the novel classes but one: whole classes differ, so that V = 0."""
    listed = list_design([0, 0, 1, 1], [0, 1, 2, 3])
    novel = list_design([2, 2, 3, 3], [4, 5, 6, 7])
    everything = accuracy_row([listed], [[1, 1, 1, 1]], [1], False)
    a = harmonic_row(everything, accuracy_row([novel], [[1, 1, 1, 1]], [1], False))
    b = harmonic_row(everything, accuracy_row([novel], [[1, 1, 0, 0]], [1], False))
    assert a is not None and b is not None
    test = pairs.compare_pair(a, b)
    assert (test.scores.variance, test.differing, test.p) == (0.0, 2, 0.5)
    nothing = accuracy_row([novel], [[0, 0, 0, 0]], [1], False)
    assert harmonic_row(accuracy_row([listed], [[0, 0, 0, 0]], [1], False), nothing) is None


# --- all pairs of a column


@pytest.mark.slow
@pytest.mark.parametrize("case", ["videos", "clusters", "harmonic", "one fit"])
def test_the_table_of_a_column_equals_the_test_of_each_pair(case: str) -> None:
    """With untrained rows, with two equal rows, and with rows that have more repeats than others."""
    fits = 1 if case == "one fit" else 3
    listed = VIDEOS if case in ("videos", "one fit") else LIST
    if case == "harmonic":
        rows = [harmonic(seed, 0.4 + 0.05 * seed, fits) for seed in range(7)]
    else:
        rows = [row(answers(seed, 0.4 + 0.05 * seed, fits), True, listed) for seed in range(6)]
        rows += [row(answers(8, fits=fits + 2), True, listed), accuracy_row([listed], answers(9), (), False)]
    rows.append(rows[2])
    table = pair_table(rows)
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if i != j:
                _check_pair(table, (i, j), pairs.compare_pair(a, b))
    assert (np.diag(table.p) == 1.0).all()


def _check_pair(table: PairTable, at: tuple[int, int], test: pairs.PairTest) -> None:
    assert table.difference[at] == close(test.difference)
    assert table.variance[at] == close(test.scores.variance)
    assert table.df[at] == pytest.approx(test.scores.df, rel=1e-9)
    assert table.effective[at] == pytest.approx(test.scores.effective)
    assert table.differing[at] == test.differing
    if table.approximate[at]:
        assert (test.p > FAR_ABOVE / 1.5 and test.differing >= MANY_CLUSTERS) or test.p < 0.05 / 100
    else:
        assert table.p[at] == close(test.p)
    assert test.interval is not None
    assert 100 * table.half_width(*at) == pytest.approx(_half(test.interval, test.difference))
    assert (test.again is None) == np.isnan(table.p_again[at])
    if test.again is not None:
        assert table.p_again[at] == pytest.approx(test.again.p, rel=0, abs=1e-10)
        assert (table.fits[at], table.between[at]) == (test.again.spread.fits, close(test.again.spread.between))
        assert test.interval_again is not None
        assert 100 * table.half_width_again(*at) == pytest.approx(_half(test.interval_again, test.difference))


def _half(interval: pairs.Interval, difference: float) -> float:
    """Half of an interval whose side away from 0 may be clipped."""
    return 100 * abs(difference) - (interval.low if difference > 0 else -interval.high)


def test_long_columns_take_the_normal_approximation_only_far_from_every_threshold() -> None:
    rng = np.random.default_rng(7)
    listed = list_design(np.arange(600) // 5 % 6, np.arange(600) // 5)
    common = rng.random(600)
    rows = [
        row([np.where(rng.random(600) < 0.5, common, rng.random(600)) < 0.5 + 0.03 * m for _ in range(2)], True, listed)
        for m in range(8)
    ]
    table = pair_table(rows)
    assert table.approximate.any() and not table.approximate.all()
    for i in range(8):
        for j in range(i):
            exact = flip_p(flip_differences(rows[i], rows[j])[0])
            if table.approximate[i, j]:
                assert exact > 0.15 or exact < 0.05 / 28
                assert table.p[i, j] == pytest.approx(exact, abs=0.05)
            else:
                assert table.p[i, j] == close(exact)


def test_rows_on_other_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="same lists"):
        pair_table([row(answers(1)), row(answers(2), listed=VIDEOS)])


# --- ranks


def table_of(p: list[list[float]], p_again: list[list[float]] | None = None) -> PairTable:
    size = len(p)
    table = pair_table([row(answers(seed)) for seed in range(size)])
    again = np.full((size, size), np.nan) if p_again is None else np.array(p_again)
    return PairTable(**{**vars(table), "p": np.array(p), "p_again": again})


def test_holm_equals_the_reference(shared: Path) -> None:
    for case in reference(shared, "holm"):
        assert holm(case["p"]) == close(case["corrected"])


def test_holm_by_hand() -> None:
    """Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, which the step before lifts to 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0] and holm([0.2]).tolist() == [0.2] and not len(holm([]))


def test_ranks_share_where_videos_cannot_tell_and_holm_is_applied() -> None:
    p = [[1, 0.2, 1e-5, 1e-6], [0.2, 1, 0.03, 1e-6], [1e-5, 0.03, 1, 1e-6], [1e-6, 1e-6, 1e-6, 1]]
    result = rank([70.0, 69.0, 66.0, 20.0], table_of(p))
    # 0.03 is the fifth smallest of six p values: 2 x 0.03 > 0.05, so the second and third are not separable.
    assert result.ranks == (1, 1, 2, 4)
    assert result.groups[1] == {0, 1, 2}
    assert result.p_holm[1, 2] == pytest.approx(0.06)
    assert result.next_worse == (2, 3, 3, None)
    assert result.holds_again == (False, False, False, None)


def test_the_second_family_is_corrected_on_its_own_and_never_changes_a_rank() -> None:
    p = [[1, 1e-5, 1e-6], [1e-5, 1, 1e-6], [1e-6, 1e-6, 1]]
    again = [[np.nan, 0.02, 0.03], [0.02, np.nan, 0.01], [0.03, 0.01, np.nan]]
    result = rank([70.0, 60.0, 50.0], table_of(p, again))
    assert result.ranks == rank([70.0, 60.0, 50.0], table_of(p)).ranks == (1, 2, 3)
    # Sorted 0.01 x 3, 0.02 x 2, 0.03: the second step lifts the third value to 0.04.
    assert result.p_again_holm[np.triu_indices(3, 1)] == pytest.approx([0.04, 0.04, 0.03])
    assert result.holds_again == (True, True, None)
    unknown = [[np.nan, 0.02, np.nan], [0.02, np.nan, np.nan], [np.nan] * 3]
    corrected = corrected_pairs(np.array(unknown))
    assert corrected[0, 1] == 0.02 and np.isnan(corrected[0, 2])


def test_rank_of_one_row_and_of_equal_rows() -> None:
    assert rank([5.0], pair_table([row(answers(1))])).ranks == (1,)
    same = [row(answers(1)), row(answers(1))]
    assert rank([5.0, 5.0], pair_table(same)).ranks == (1, 1)
    with pytest.raises(ValueError, match="tests of 1 rows, found 2"):
        rank([5.0], pair_table(same))


def test_rows_with_one_source_are_not_separable() -> None:
    listed = list_design([0, 0, 1, 1], [5, 5, 5, 5])
    rows = [row([np.array(right)], listed=listed) for right in ([1, 1, 1, 1], [0, 0, 0, 0])]
    assert rank([100.0, 0.0], pair_table(rows)).ranks == (1, 1)


def test_spread_of_the_difference_cancels_what_both_fits_share() -> None:
    """A common effect of the training subset on both methods is no spread of their difference."""
    fits = answers(5, fits=3)
    better = [np.where(np.arange(40) < 4, True, right) for right in fits]
    spread = fit_spread(pairs.compare_pair(row(better), row(fits)).scores)
    assert spread is not None and spread.observed < 1e-3
