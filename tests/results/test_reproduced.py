"""Arithmetic of the verdict "reproduced"."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.statistics.reproduced import WIDEST, borrowed_reproduction, reproduction, videos_outside
from results.statistics.trained_again import BorrowedSpread
from tests.results.reference import TOLERANCE, reference


def test_intervals_equal_the_reference(shared: Path) -> None:
    for case in reference(shared, "reproduction_percent"):
        expected = reproduction(case["ours"], case["published_repeats"])
        assert expected.interval == pytest.approx(case["expected"], rel=0, abs=100 * TOLERANCE)


def test_half_the_last_printed_digit_is_added() -> None:
    ours = [71.2, 72.5, 70.9]
    exact, rounded = reproduction(ours, 3), reproduction(ours, 3, 0.05)
    assert rounded.half_width == pytest.approx(exact.half_width + 0.05)
    edge = exact.center + exact.half_width
    assert rounded.holds(edge + 0.04) and not exact.holds(edge + 0.04) and not rounded.holds(edge + 0.06)


def test_equal_fits_agree_only_within_the_rounding() -> None:
    same = reproduction([70.0, 70.0, 70.0], 3, 0.05)
    assert same.holds(70.04) and not same.holds(70.06)


def test_a_long_interval_gives_no_verdict() -> None:
    assert reproduction([70.0, 70.1, 70.2], 3).conclusive
    assert not reproduction([69.0, 71.0], 3).conclusive
    assert reproduction([70.0, 70.0], 1, WIDEST).conclusive


def test_a_single_fit_borrows_the_observed_spread_of_other_rows() -> None:
    """The videos are the same on both sides, so the observed variance counts and not the component between fits."""
    borrowed = BorrowedSpread(rows=2, df=4, observed=1e-4, between=0.0)
    alone = borrowed_reproduction(70.0, borrowed, 3, 0.05)
    assert alone.half_width == pytest.approx(2.7764451051977987 * (1 + 1 / 3) ** 0.5 + 0.05)


def test_untrained_methods_are_outside_by_a_number_of_videos() -> None:
    assert videos_outside(70.0, 70.04, 750, 0.05) == 0
    assert videos_outside(100 * 525 / 750, 100 * 522 / 750, 750) == 3
    assert videos_outside(70.0, 69.5, 750, 0.05) == 4  # 0.45 points of 750 videos are 3.4 videos


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="found 1 and 3"):
        reproduction([70.0], 3)
    with pytest.raises(ValueError, match="found 2 and 0"):
        reproduction([70.0, 71.0], 0)
    with pytest.raises(ValueError, match="found 0"):
        borrowed_reproduction(70.0, BorrowedSpread(1, 2, 1e-4, 0.0), 0)
