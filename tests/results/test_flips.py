"""Exact sign-flip tests against enumeration, the binomial test and the reference values."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results.statistics.flips import flip_p, flip_ps, least_p, mcnemar_p
from tests.results.reference import close, reference


def convolved_p(differences: list[int]) -> float:
    """The p value from the distribution of the sum in exact fractions."""
    sums: dict[int, int] = {0: 1}
    for value in differences:
        added: dict[int, int] = {}
        for total, ways in sums.items():
            for signed in (value, -value):
                added[total + signed] = added.get(total + signed, 0) + ways
        sums = added
    observed = abs(sum(differences))
    tail = sum(ways for total, ways in sums.items() if abs(total) >= observed)
    return float(Fraction(tail, 2 ** len(differences)))


def test_p_values_equal_the_reference(shared: Path) -> None:
    for case in reference(shared, "sign_flips"):
        sums = case.get("cluster_sums")
        if sums is None:
            sums = [int(size) for size, count in case["cluster_sums_counts"].items() for _ in range(count)]
        assert flip_p(sums) == close(case["p"])


def test_more_than_two_thousand_videos_are_exact() -> None:
    """A normal approximation with a continuity correction would give 0.000434."""
    differences = [1] * 1700 + [-1] * 1500
    assert flip_p(differences) == close(0.00043334035939975)
    assert flip_p(differences) == close(stats.binomtest(1500, 3200).pvalue)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=10))
@settings(max_examples=40, deadline=None)
def test_sign_flip_equals_the_enumeration_of_all_signs(values: list[int]) -> None:
    differences = np.array(values)
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(values))).reshape(len(values), -1)
    expected = (np.abs(signs.T @ differences) >= abs(differences.sum())).mean()
    assert flip_p(differences) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
@given(st.lists(st.integers(-4000, 4000), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_any_sizes_are_exact(values: list[int]) -> None:
    assert flip_p(values) == close(convolved_p(values))


@pytest.mark.slow
@pytest.mark.parametrize("size", [40, 150])
def test_many_clusters_of_many_sizes_are_exact(size: int) -> None:
    """Enough points that small values of the characteristic function are left out."""
    rng = np.random.default_rng(size)
    for scale in (2, 30):
        values = np.rint(rng.normal(0.1 * scale, scale, size)).astype(int).tolist()
        assert flip_p(values) == close(convolved_p(values))


@pytest.mark.slow
@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_mcnemar_equals_the_binomial_test_and_the_sign_flip_test(only_a: int, only_b: int) -> None:
    expected = stats.binomtest(min(only_a, only_b), only_a + only_b).pvalue if only_a + only_b else 1.0
    differences = np.array([1] * only_a + [-1] * only_b + [0] * 7)
    assert mcnemar_p(only_a, only_b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_p(only_b, only_a) == mcnemar_p(only_a, only_b)
    assert flip_p(differences) == pytest.approx(expected, rel=1e-9)


def test_sign_flip_agrees_with_scipys_permutation_test() -> None:
    differences = np.random.default_rng(3).integers(-3, 4, size=200)
    reference = stats.permutation_test(
        (differences,), lambda x, axis: x.sum(axis=axis), permutation_type="samples", n_resamples=20_000, rng=4
    )
    assert flip_p(differences) == pytest.approx(reference.pvalue, abs=0.01)


@given(st.lists(st.tuples(*[st.integers(0, 40)] * 3), min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_many_pairs_at_once_equal_each_alone(counts: list[tuple[int, int, int]], random: Any) -> None:
    totals, alone = [], []
    for ones, twos, threes in counts:
        signs = [k * random.choice((-1, 1)) for k, n in ((1, ones), (2, twos), (3, threes)) for _ in range(n)]
        totals.append(abs(sum(signs)))
        alone.append(flip_p(signs))
    assert flip_ps(np.array(counts), np.array(totals)) == close(alone)


def test_the_smallest_p_value_depends_on_the_number_of_differing_clusters() -> None:
    for clusters in range(9):
        assert least_p(clusters) == pytest.approx(flip_p([2] * clusters))
