"""Intervals for other videos and for methods trained again, against the reference values, scipy and hand examples."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from results.statistics.intervals import Interval, cell_interval, cell_interval_again, wilson
from results.statistics.list_design import list_design
from results.statistics.scores import accuracy_scores, harmonic_scores, t_quantile
from results.statistics.trained_again import (
    BorrowedSpread,
    FitSpread,
    borrow_spread,
    borrowed_half_width,
    fit_spread,
    half_width_again,
    p_again,
)
from tests.results.reference import TOLERANCE, close, design, reference, scores_of


def percent(limits: list[float]) -> tuple[float, float]:
    return 100 * limits[0], 100 * limits[1]


def near(limits: list[float]) -> object:
    return pytest.approx(percent(limits), rel=0, abs=100 * TOLERANCE)


# --- Wilson


def test_wilson_equals_the_reference(shared: Path) -> None:
    for case in reference(shared, "wilson"):
        assert wilson(100 * case["right"] / case["n"], case["n"]) == near(case["interval"])


@pytest.mark.parametrize(("hits", "n"), [(0, 30), (17, 30), (400, 750), (750, 750), (12_345, 19_877)])
def test_wilson_equals_scipys(hits: int, n: int) -> None:
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(100 * hits / n, n) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)


def test_wilson_covers_95_percent_over_accuracies() -> None:
    """Exact coverage (binomial sums, no simulation) over the accuracies of the field's tables."""
    coverages = []
    for n in (750, 1530, 2088):
        low, high = np.array([wilson(100 * k / n, n) for k in range(n + 1)]).T / 100
        for p in np.linspace(0.05, 0.95, 91):
            coverages.append(stats.binom.pmf(np.arange(n + 1), n, p)[(low <= p) & (p <= high)].sum())
    assert np.mean(coverages) == pytest.approx(0.95, abs=0.002)
    assert min(coverages) > 0.94 and max(coverages) < 0.96


@pytest.mark.parametrize(("accuracy", "n"), [(50.0, 0), (-0.1, 10), (100.1, 10), (math.nan, 10)])
def test_wilson_refuses_other_numbers(accuracy: float, n: int) -> None:
    with pytest.raises(ValueError, match="need n > 0 and an accuracy in"):
        wilson(accuracy, n)


# --- other videos


def test_intervals_of_cells_equal_the_reference(shared: Path) -> None:
    for case in reference(shared, "cells"):
        scores, expected = scores_of(case["repeats"]), case["expected"]
        assert cell_interval(scores) == near(expected["interval"]), case["name"]
        spread = fit_spread(scores)
        assert (spread is not None) == ("s2" in expected)
        if spread is not None:
            assert spread.observed == close(expected["s2"]), case["name"]
            assert spread.interaction == close(expected["variance_interaction"]), case["name"]
            assert spread.between == close(expected["between_fits"]), case["name"]
            assert half_width_again(scores, spread) == close(expected["half_width_again"]), case["name"]
            assert cell_interval_again(scores, spread) == near(expected["interval_again"]), case["name"]


def test_the_interval_of_a_harmonic_mean_equals_the_reference(shared: Path) -> None:
    for case in reference(shared, "harmonic_means"):
        ids: dict[str, int] = {}
        base, novel = (
            accuracy_scores([design(case[part]["class"], case[part]["cluster"], ids)], [case[part]["right"]])
            for part in ("base", "novel")
        )
        scores = harmonic_scores(base, novel)
        assert scores is not None
        assert cell_interval(scores) == near(case["expected"]["interval"])


def test_the_interval_has_a_length_where_no_variance_is_seen() -> None:
    """All right, all wrong, and whole classes right or wrong: the effective number of clusters replaces n."""
    listed = list_design([0, 0, 0, 1, 1, 1], [0, 0, 1, 2, 3, 3])
    for right in ([1] * 6, [0] * 6, [1, 1, 1, 0, 0, 0]):
        scores = accuracy_scores([listed], [right])
        quantile, n = scores.quantile, scores.effective
        share = np.mean(right)
        expected = stats.binomtest(0, 1)  # only the formula of Wilson is used below
        assert expected.pvalue == 1.0
        width = 1 + quantile**2 / n
        half = quantile / width * math.sqrt(share * (1 - share) / n + quantile**2 / (4 * n**2))
        center = (share + quantile**2 / (2 * n)) / width
        low, high = max(0.0, center - half), min(1.0, center + half)
        assert cell_interval(scores) == pytest.approx((100 * low, 100 * high))
        assert low < high


def test_a_harmonic_mean_without_variance_takes_the_smaller_list() -> None:
    base = accuracy_scores([list_design([0] * 8, range(8))], [[1] * 8])
    novel = accuracy_scores([list_design([1] * 4, range(8, 12))], [[1] * 4])
    scores = harmonic_scores(base, novel)
    assert scores is not None and scores.variance == 0.0
    assert scores.effective == pytest.approx(4.0)
    interval = cell_interval(scores)
    assert interval is not None and interval.low < 70 and interval.high == pytest.approx(100.0)


def test_one_source_has_no_interval() -> None:
    scores = accuracy_scores([list_design([0, 0, 1], [3, 3, 3])], [[1, 0, 1]])
    assert cell_interval(scores) is None
    assert cell_interval_again(scores, FitSpread(2, 0.0, 0.0, 0.0)) is None


def test_a_number_within_its_rounding_is_inside() -> None:
    assert Interval(51.34, 60.0).holds(51.3, 0.05) and not Interval(51.36, 60.0).holds(51.3, 0.05)


# --- trained again


def test_p_values_of_other_fits_solve_their_equation() -> None:
    rng = np.random.default_rng(6)
    for fits in (2, 3, 5, 12):
        gap, variance, between = (
            rng.uniform(0, 0.2, 200),
            10.0 ** rng.uniform(-7, -2, 200),
            10.0 ** rng.uniform(-8, -2, 200),
        )
        df = rng.uniform(1, 700, 200)
        variance[:10], between[10:20] = 0.0, 0.0
        p = p_again(gap, variance, df, between, fits)
        seen = p > 1e-50  # scipy's quantiles fail at much smaller p values
        tail = p[seen] / 2
        width = special.stdtrit(df[seen], tail) ** 2 * variance[seen]
        width += special.stdtrit(fits - 1, tail) ** 2 * between[seen] / fits
        assert np.sqrt(width) == pytest.approx(gap[seen], rel=1e-8)
        assert (gap[~seen] ** 2 > 50 * variance[~seen]).all()


def test_p_values_of_other_fits_at_the_borders() -> None:
    def p(gap: float, variance: float, between: float) -> float:
        return float(p_again(np.array([gap]), np.array([variance]), np.array([9.0]), np.array([between]), 3)[0])

    assert (p(0.0, 1e-4, 1e-4), p(0.0, 0.0, 0.0), p(0.1, 0.0, 0.0)) == (1.0, 1.0, 0.0)
    assert p(0.02, 1e-4, 0.0) == pytest.approx(2 * stats.t.sf(2.0, 9))
    assert p(0.02, 0.0, 3e-4) == pytest.approx(2 * stats.t.sf(2.0, 2))
    assert p(-0.02, 1e-4, 1e-5) == p(0.02, 1e-4, 1e-5)


def test_two_fits_are_not_conclusive_and_have_a_long_interval() -> None:
    """Where fits dominate, the interval of two fits is 3.6 times as long as that of three."""
    lengths = [FitSpread(n, 1e-4, 0.0, 1e-4) for n in (2, 3)]
    ratio = lengths[0].quantile / math.sqrt(2) / (lengths[1].quantile / math.sqrt(3))
    assert ratio == pytest.approx(3.6, abs=0.05)


def test_the_spread_of_other_rows_is_pooled_over_their_degrees_of_freedom() -> None:
    borrowed = borrow_spread([FitSpread(3, 4e-4, 1e-4, 3e-4), FitSpread(2, 1e-4, 1e-4, 0.0)])
    assert borrowed == BorrowedSpread(2, 3, pytest.approx(3e-4), pytest.approx(2e-4))
    assert borrow_spread([]) is None
    listed = list_design([0] * 20, range(20))
    single = accuracy_scores([listed], [[1, 0] * 10])
    assert borrowed is not None
    for sides in (1, 2):
        expected = single.quantile**2 * single.variance + t_quantile(3) ** 2 * sides * 2e-4
        assert borrowed_half_width(single, borrowed, sides) == pytest.approx(math.sqrt(expected))


def test_a_single_repeat_has_no_spread() -> None:
    assert fit_spread(accuracy_scores([list_design([0, 0], [0, 1])], [[1, 0]])) is None
