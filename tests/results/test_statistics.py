"""Statistics against scipy, hand-computed examples and simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results.statistics.holm import holm
from results.statistics.intervals import harmonic_interval, wilson
from results.statistics.metrics import harmonic_mean
from results.statistics.paired import balance_interval, flip_p, flip_ps, mcnemar_p, mean_interval, sign_flip_p
from results.statistics.ranking import harmonic_pairwise_p, pairwise_p, rank

SLOW = pytest.mark.slow

# --- intervals


@pytest.mark.parametrize(("hits", "n"), [(0, 30), (17, 30), (400, 750), (750, 750), (12_345, 19_877)])
def test_wilson_equals_scipys(hits: int, n: int) -> None:
    reference = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(100 * hits / n, n) == pytest.approx((100 * reference.low, 100 * reference.high), abs=1e-9)


def test_wilson_covers_95_percent_over_accuracies() -> None:
    """Exact coverage (binomial sums, no simulation) over the accuracies of the field's tables."""
    coverages = []
    for n in (750, 1530, 2088):
        low, high = np.array([wilson(100 * k / n, n) for k in range(n + 1)]).T / 100
        for p in np.linspace(0.05, 0.95, 91):
            coverages.append(stats.binom.pmf(np.arange(n + 1), n, p)[(low <= p) & (p <= high)].sum())
    assert np.mean(coverages) == pytest.approx(0.95, abs=0.002)
    assert min(coverages) > 0.94 and max(coverages) < 0.96


def test_harmonic_interval_covers_95_percent() -> None:
    rng = np.random.default_rng(1)
    for a, b, n in ((0.74, 0.53, 750), (0.16, 0.12, 2000), (0.93, 0.68, 1695)):
        truth = 100 * harmonic_mean(a, b)
        counts = rng.binomial(n, [a, b], size=(4000, 2))
        inside = [harmonic_interval(100 * x / n, n, 100 * y / n, n).holds(truth) for x, y in counts]
        assert np.mean(inside) == pytest.approx(0.95, abs=0.01)


def test_harmonic_interval_has_a_length_even_at_the_border() -> None:
    for a, b in ((0, 0), (100, 100), (0, 50)):
        low, high = harmonic_interval(a, 30, b, 30)
        assert 0 <= low < high <= 100


def outcome_pairs(rng: np.random.Generator, n: int, p_a: float, p_b: float, classes: int) -> tuple[np.ndarray, ...]:
    """Correlated hits of two methods on n videos, and the classes of the videos."""
    shared = rng.normal(size=n)
    a = 0.8 * shared + 0.6 * rng.normal(size=n) < stats.norm.ppf(p_a)
    b = 0.8 * shared + 0.6 * rng.normal(size=n) < stats.norm.ppf(p_b)
    return a, b, np.arange(n) % classes


# --- paired tests


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_mcnemar_equals_the_binomial_test_and_the_sign_flip_test(only_a: int, only_b: int) -> None:
    expected = stats.binomtest(min(only_a, only_b), only_a + only_b).pvalue if only_a + only_b else 1.0
    differences = np.array([1] * only_a + [-1] * only_b + [0] * 7)
    assert mcnemar_p(only_a, only_b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_p(only_b, only_a) == mcnemar_p(only_a, only_b)
    assert sign_flip_p(differences) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=10))
@settings(max_examples=60, deadline=None)
def test_sign_flip_equals_the_enumeration_of_all_signs(values: list[int]) -> None:
    differences = np.array(values)
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(values))).reshape(len(values), -1)
    expected = (np.abs(signs.T @ differences) >= abs(differences.sum())).mean()
    assert sign_flip_p(differences) == pytest.approx(expected, rel=1e-9)


def test_sign_flip_agrees_with_scipys_permutation_test() -> None:
    rng = np.random.default_rng(3)
    differences = rng.integers(-3, 4, size=200)
    reference = stats.permutation_test(
        (differences,), lambda x, axis: x.sum(axis=axis), permutation_type="samples", n_resamples=20_000, rng=4
    )
    assert sign_flip_p(differences) == pytest.approx(reference.pvalue, abs=0.01)


@given(st.lists(st.tuples(*[st.integers(0, 40)] * 3), min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_many_pairs_at_once_equal_each_alone(counts: list[tuple[int, int, int]], random: Any) -> None:
    totals = []
    for ones, twos, threes in counts:
        signs = [k * random.choice((-1, 1)) for k, n in ((1, ones), (2, twos), (3, threes)) for _ in range(n)]
        totals.append(abs(sum(signs)))
    together = flip_ps(np.array(counts), np.array(totals))
    alone = [flip_p(count, total) for count, total in zip(counts, totals, strict=True)]
    assert together == pytest.approx(alone, rel=1e-9, abs=1e-12)


def test_many_differing_videos_take_the_normal_approximation_without_a_jump() -> None:
    base = np.array([1] * 1030 + [-1] * 970)
    exact, normal = sign_flip_p(base), sign_flip_p(np.concatenate([base, [1, -1]]))
    assert normal == pytest.approx(exact, abs=2e-3)


def test_the_size_of_the_paired_tests_is_at_most_5_and_a_half_percent() -> None:
    """Under the null: two methods of equal accuracy, correlated videos; one list, and three fits on one list."""
    rng = np.random.default_rng(5)
    rounds = 2500
    single, repeated, harmonic = 0, 0, 0
    for _ in range(rounds):
        a, b, _ = outcome_pairs(rng, 300, 0.6, 0.6, 12)
        single += mcnemar_p(int((a & ~b).sum()), int((b & ~a).sum())) < 0.05
        shared = rng.normal(size=300)
        hits = 0.8 * shared + 0.6 * rng.normal(size=(6, 300)) < 0.25
        repeated += sign_flip_p(hits[:3].sum(axis=0) - hits[3:].sum(axis=0)) < 0.05
        c, d, _ = outcome_pairs(rng, 300, 0.4, 0.4, 12)
        harmonic += harmonic_pairwise_p(np.array([a, b], dtype=float), np.array([c, d], dtype=float))[0, 1] < 0.05
    assert single / rounds <= 0.055
    assert repeated / rounds <= 0.055
    assert harmonic / rounds <= 0.055


@pytest.mark.parametrize("rounds", [200, pytest.param(3000, marks=SLOW)])
def test_family_wise_error_of_rank_groups_is_at_most_5_and_a_half_percent(rounds: int) -> None:
    """Five equal methods: how often any two get different ranks."""
    rng = np.random.default_rng(6)
    wrong = 0
    for _ in range(rounds):
        hits = (0.8 * rng.normal(size=300) + 0.6 * rng.normal(size=(5, 300)) < 0.25).astype(np.int64)
        wrong += len(set(rank(hits.mean(axis=1), pairwise_p(hits)).ranks)) > 1
    assert wrong / rounds <= 0.055


# --- the interval that belongs to the paired test

DIFFERENCES = st.lists(st.integers(-3, 3), min_size=1, max_size=60).map(np.array)


def outcomes_of(only_a: int, only_b: int, n: int) -> np.ndarray:
    return np.array([1] * only_a + [-1] * only_b + [0] * (n - only_a - only_b))


@given(DIFFERENCES)
@settings(max_examples=300, deadline=None)
def test_the_interval_holds_0_exactly_where_p_is_005_or_more(differences: np.ndarray) -> None:
    """Without a tolerance: for any table of videos, one list or several, however few videos a class has."""
    interval = mean_interval(differences)
    assert interval.holds(0.0) == (sign_flip_p(differences) >= 0.05)
    assert interval.low <= differences.mean() <= interval.high and interval.low < interval.high


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_one_list_agrees_with_mcnemars_exact_test(only_a: int, only_b: int, same: int) -> None:
    if only_a + only_b + same:
        interval = mean_interval(outcomes_of(only_a, only_b, only_a + only_b + same))
        assert interval.holds(0.0) == (mcnemar_p(only_a, only_b) >= 0.05)


def test_far_from_exact_numbers_agree_too() -> None:
    """Beyond `EXACT_UP_TO` both the p value and the interval take the same normal approximation."""
    for only_a in range(1030, 1200, 7):
        differences = outcomes_of(only_a, 1030, 4000)
        assert mean_interval(differences).holds(0.0) == (sign_flip_p(differences) >= 0.05)
        usual = differences.mean() - 1.96 * differences.std() / 4000**0.5
        assert mean_interval(differences).low == pytest.approx(usual, abs=0.001)


@given(st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_the_balance_of_one_list_is_clopper_and_pearsons(only_a: int, only_b: int) -> None:
    if only_a + only_b:
        reference = stats.binomtest(only_a, only_a + only_b).proportion_ci(0.95, method="exact")
        low, high = balance_interval(outcomes_of(only_a, only_b, 100))
        assert (low, high) == pytest.approx((2 * reference.low - 1, 2 * reference.high - 1), abs=1e-8)


def test_the_interval_of_one_list_by_hand() -> None:
    """Two of 34 videos differ, both for A: the p value is 0.5."""
    balance = stats.binomtest(2, 2).proportion_ci(0.95, method="exact")
    share = stats.binomtest(2, 34).proportion_ci(0.95, method="wilson")
    size = 2 / 34
    low = size - np.hypot(size * (1 - (2 * balance.low - 1)), size - share.low)
    interval = mean_interval(outcomes_of(2, 0, 34))
    assert interval == pytest.approx((low, share.high), abs=1e-9)
    assert interval.holds(0.0) and mcnemar_p(2, 0) == 0.5
    nothing = stats.binomtest(0, 34).proportion_ci(0.95, method="wilson").high
    assert mean_interval(outcomes_of(0, 0, 34)) == pytest.approx((-nothing, nothing), abs=1e-9)


@given(DIFFERENCES)
@settings(max_examples=60, deadline=None)
def test_the_interval_turns_with_the_sides_and_grows_with_the_unit(differences: np.ndarray) -> None:
    low, high = mean_interval(differences)
    assert mean_interval(-differences) == pytest.approx((-high, -low), abs=1e-8)
    if differences.any():
        assert mean_interval(3 * differences) == pytest.approx((3 * low, 3 * high), abs=1e-6)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9).map(np.array), st.floats(0.02, 0.98))
@settings(max_examples=60, deadline=None)
def test_the_limits_of_the_balance_invert_the_enumeration_of_all_signs(differences: np.ndarray, share: float) -> None:
    """Each difference is positive with the chance `share`; the balance lies inside unless a tail is below 2.5 %."""
    sizes = np.abs(differences[differences != 0])
    if not len(sizes):
        assert balance_interval(differences) == (-1.0, 1.0)
        return
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(sizes))).reshape(len(sizes), -1)
    chances = np.prod(np.where(signs > 0, share, 1 - share), axis=0)
    sums, total = sizes @ signs, differences.sum()
    tails = chances[sums >= total].sum(), chances[sums <= total].sum()
    low, high = balance_interval(differences)
    if min(abs(tail - 0.025) for tail in tails) > 1e-6:
        assert (low <= 2 * share - 1 <= high) == (min(tails) >= 0.025)


def coverage_of_one_list(n: int, only_a: float, only_b: float) -> float:
    """Exact: the sum over all pairs of discordant counts (a trinomial)."""
    covered = 0.0
    first = stats.binom.pmf(np.arange(n + 1), n, only_a)
    for a in np.flatnonzero(first > 1e-7):
        second = stats.binom.pmf(np.arange(n - a + 1), n - a, only_b / (1 - only_a))
        for b in np.flatnonzero(second > 1e-5):
            inside = mean_interval(outcomes_of(int(a), int(b), n)).holds(only_a - only_b, 1e-12)
            covered += float(first[a] * second[b]) * inside
    return covered


@pytest.mark.parametrize(
    ("n", "only_a", "only_b"),
    [(34, 0.05, 0.05), (34, 0.02, 0.03), (34, 0.01, 0.06), (34, 0.3, 0.05), (34, 0.6, 0.0),
     pytest.param(120, 0.1, 0.05, marks=SLOW), pytest.param(120, 0.3, 0.05, marks=SLOW),
     pytest.param(300, 0.05, 0.05, marks=SLOW), pytest.param(300, 0.2, 0.1, marks=SLOW)],
)  # fmt: skip
def test_the_interval_of_one_list_covers(n: int, only_a: float, only_b: float) -> None:
    assert coverage_of_one_list(n, only_a, only_b) > 0.93


@pytest.mark.parametrize("rounds", [100, pytest.param(800, marks=SLOW)])
@pytest.mark.parametrize(("n", "p_a", "p_b", "fits"), [(120, 0.7, 0.6, 3), (300, 0.6, 0.55, 1), (30, 0.95, 0.9, 3)])
def test_the_interval_covers_over_several_fits(n: int, p_a: float, p_b: float, fits: int, rounds: int) -> None:
    """Several fits on one list: a video's outcomes are not independent, the videos are."""
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(rounds):
        shared = rng.normal(size=n)
        a, b = ((0.8 * shared + 0.6 * rng.normal(size=(fits, n)) < stats.norm.ppf(p)).sum(axis=0) for p in (p_a, p_b))
        inside += mean_interval(a.astype(np.int64) - b).holds(fits * (p_a - p_b))
    assert inside / rounds > 0.93 - 2 * (0.05 * 0.95 / rounds) ** 0.5


# --- ranks


def test_holm_by_hand() -> None:
    """Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, which the step before lifts to 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0] and holm([0.2]).tolist() == [0.2] and not len(holm([]))


def test_pairwise_p_equals_the_test_of_each_pair() -> None:
    rng = np.random.default_rng(7)
    for top in (2, 4):
        right = rng.integers(0, top, size=(6, 400))
        p = pairwise_p(right)
        for i in range(6):
            for j in range(6):
                expected = 1.0 if i == j else sign_flip_p(right[i] - right[j])
                if top == 2 or 1e-8 < expected < 0.19:
                    assert p[i, j] == pytest.approx(expected, rel=1e-6, abs=1e-12)
                else:
                    assert (p[i, j] < 0.01) == (expected < 0.01)


def test_ranks_share_where_videos_cannot_tell_and_holm_is_applied() -> None:
    p = np.array([[1, 0.2, 1e-5, 1e-6], [0.2, 1, 0.03, 1e-6], [1e-5, 0.03, 1, 1e-6], [1e-6, 1e-6, 1e-6, 1]])
    result = rank([70.0, 69.0, 66.0, 20.0], p)
    # 0.03 is the fifth smallest of six p values: 2 x 0.03 > 0.05, so the second and third are not separable.
    assert result.ranks == (1, 1, 2, 4)
    assert result.groups[1] == {0, 1, 2}
    assert result.p[1, 2] == pytest.approx(0.06)


def test_rank_of_one_row_and_of_equal_rows() -> None:
    assert rank([5.0], np.ones((1, 1))).ranks == (1,)
    assert rank([5.0, 5.0], pairwise_p(np.array([[1, 0, 1], [1, 0, 1]]))).ranks == (1, 1)
