"""Smallest differences that a comparison shows, against the reference values and by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from results.statistics.power import PowerCase, expected_design_effect, measured_case, smallest_difference
from tests.results.reference import TOLERANCE, reference


def test_smallest_differences_equal_the_reference(shared: Path) -> None:
    for case in reference(shared, "power"):
        planned = PowerCase(
            case["videos"], case["discordance"], case["design_effect"], case["repeats"], case["agreement"],
            case["fit_sd"] or None,
        )  # fmt: skip
        found = smallest_difference(planned, case["power"], case["alpha"])
        assert found == pytest.approx(case["smallest_difference"], rel=0, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("case", "points"),
    [
        (PowerCase(750, 0.15), 4.0),
        (PowerCase(750, 0.15, repeats=3), 3.2),
        (PowerCase(750, 0.15, repeats=3, fit_sd=0.01), 4.4),
        (PowerCase(1896, 0.12, 1.93), 3.1),
        (PowerCase(1896, 0.12, 1.93, 3), 2.5),
        (PowerCase(3783, 0.12, 1.93), 2.2),
        (PowerCase(3783, 0.12, 1.93, 3), 1.8),
        (PowerCase(3783, 0.12, 1.93, 3, fit_sd=0.01), 3.5),
        (PowerCase(3783, 0.12, 1.93, 5, fit_sd=0.01), 2.4),
        (PowerCase(1530, 0.15, 2.04), 4.0),
        (PowerCase(1530, 0.15, 2.04, 3), 3.2),
        (PowerCase(1530, 0.15, 2.04, 3, fit_sd=0.01), 4.4),
        (PowerCase(19_877, 0.08), 0.6),
        (PowerCase(24_777, 0.10), 0.6),
    ],
)
def test_the_table_of_the_documentation(case: PowerCase, points: float) -> None:
    found = smallest_difference(case)
    assert found is not None and round(100 * found, 1) == points


def test_the_root_solves_the_formula_of_connor() -> None:
    delta = smallest_difference(PowerCase(750, 0.15))
    assert delta is not None
    expected = 1.959963984540054 * math.sqrt(0.15 / 750) + 0.8416212335729143 * math.sqrt((0.15 - delta**2) / 750)
    assert delta == pytest.approx(expected, abs=1e-12)
    assert smallest_difference(PowerCase(750, 0.15), exact=True) == pytest.approx(delta + 1 / 750, abs=1e-12)


def test_small_lists_cannot_show_any_difference() -> None:
    """A difference cannot exceed the share of the videos on which the methods differ."""
    assert smallest_difference(PowerCase(20, 0.05)) is None
    assert smallest_difference(PowerCase(5, 1.0, 40.0)) is None
    assert smallest_difference(PowerCase(750, 0.15, repeats=2, fit_sd=0.2)) is None


def test_one_fit_cannot_show_what_other_fits_would_do() -> None:
    assert smallest_difference(PowerCase(3783, 0.12, fit_sd=0.0)) is None
    two = smallest_difference(PowerCase(3783, 0.12, repeats=2, fit_sd=0.0))
    assert two == smallest_difference(PowerCase(3783, 0.12, repeats=2))


def test_more_tests_need_larger_differences() -> None:
    one, many = (smallest_difference(PowerCase(1530, 0.15, 2.0, tests=tests)) for tests in (1, 45))
    assert one is not None and many is not None and many > 1.3 * one


def test_measured_variances_stand_for_the_guesses() -> None:
    guessed = PowerCase(3783, 0.12, 1.93, 3, fit_sd=0.01)
    measured = measured_case(guessed.variance, 1e-4, replace(guessed, design_effect=1.0, fit_sd=None))
    assert (measured.design_effect, measured.fit_sd) == pytest.approx((1.93, 0.01))
    assert smallest_difference(measured) == pytest.approx(smallest_difference(guessed), abs=1e-12)


def test_the_design_effect_of_equal_clusters_grows_with_their_size() -> None:
    assert expected_design_effect([5] * 100) == pytest.approx(1.8)
    assert expected_design_effect([1] * 100, 0.5) == 1.0
    assert expected_design_effect([2, 6], 0.5) == pytest.approx(1 + (40 / 8 - 1) / 2)


@pytest.mark.parametrize(
    "changes", [{"videos": 0}, {"repeats": 0}, {"tests": 0}, {"discordance": 0.0}, {"discordance": 1.2},
                {"agreement": -0.1}, {"design_effect": 0.0}],
)  # fmt: skip
def test_cases_out_of_range_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="found PowerCase"):
        smallest_difference(replace(PowerCase(750, 0.15), **changes))  # type: ignore[arg-type]
