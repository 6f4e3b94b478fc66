"""Coverage of the intervals and size of the tests by simulation, with the bounds of docs/statistics.md.

The slow tests take 2,000 lists each (Monte-Carlo error of a coverage of 95 %: 1.0 point). Tests on the lists of UCF-101
and HMDB-51 need the official annotations; a list with the shape of UCF-101's is always tested.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulated_lists import (
    SimulatedList,
    independent_list,
    nested_list,
    official_list,
    ucf_like_list,
)
from benchmarks.simulated_tests import Coverage, Size, coverage, inside, rejections, scores_of
from results.statistics import pairs
from results.statistics.flips import flip_ps
from results.statistics.list_design import list_design
from results.statistics.pair_tables import pair_table
from results.statistics.power import PowerCase, expected_design_effect, smallest_difference
from results.statistics.ranking import rank
from results.statistics.row_scores import accuracy_row
from results.statistics.scores import difference, harmonic_scores

LISTS = 2000
VIDEOS = independent_list()
Official = Callable[[str], SimulatedList]


@pytest.fixture(scope="module")
def official(shared: Path) -> Official:
    folder = shared / "splits" / "official"
    if not folder.is_dir():
        pytest.skip(f"needs the official annotations in {folder}")
    return lambda name: official_list(name, folder / name)


# --- cheap: every default run


@pytest.mark.slow
def test_a_few_simulated_lists_keep_the_bounds() -> None:
    found = coverage(Coverage(VIDEOS, 0.7, 0.15, fits=3, fit_sd=0.015), 300, 21)
    assert found.again is not None
    assert 0.91 <= found.other[0] <= 0.99 and found.again[0] >= 0.91
    harmonic = coverage(Coverage(independent_list(600, 20), 0.75, 0.15, novel_mean=0.55), 300, 61)
    assert 0.91 <= harmonic.other[0] <= 0.99
    sizes = rejections(Size(nested_list("clusters", 6, 10, 5), 0.3, 0.5), 300, 2)
    assert sizes.clusters <= 0.085 and sizes.covered >= 0.91
    assert sizes.videos > 0.15  # single videos of one source are not independent


@pytest.mark.slow
@pytest.mark.parametrize(("sd", "wide"), [(0.3, 0.9), (1.0, 3.1)])
def test_a_true_reproduction_is_inside_in_95_percent(sd: float, wide: float) -> None:
    agreed, half = inside(sd, 0.0, 4000, 31)
    assert agreed == pytest.approx(0.95, abs=0.012)
    assert half == pytest.approx(wide, abs=0.1)


@pytest.mark.slow
def test_a_value_far_off_is_outside_where_fits_differ_little() -> None:
    assert inside(0.3, 3.0, 4000, 31)[0] < 0.01


def test_the_size_of_the_paired_tests_is_at_most_5_and_a_half_percent() -> None:
    """Two methods of equal accuracy on correlated videos: one list, three fits on one list, and harmonic means."""
    rng, rounds = np.random.default_rng(5), 2500
    listed, second = (
        list_design(np.arange(300) % 12, np.arange(300)),
        list_design(np.arange(300) % 12, 300 + np.arange(300)),
    )

    def answers(fits: int) -> np.ndarray:
        return 0.8 * rng.normal(size=(rounds, 1, 300)) + 0.6 * rng.normal(size=(rounds, fits, 300)) < 0.25

    single, repeated = answers(2).astype(int), answers(6).astype(int)
    for differences in (single[:, 0] - single[:, 1], repeated[:, :3].sum(axis=1) - repeated[:, 3:].sum(axis=1)):
        counts = np.stack([(np.abs(differences) == size).sum(axis=1) for size in (1, 2, 3)], axis=1)
        assert (flip_ps(counts, np.abs(differences.sum(axis=1))) < 0.05).mean() <= 0.055
    scores = [
        scores_of(design, hits[:, None]) for design in (listed, second) for hits in np.moveaxis(answers(2)[:800], 1, 0)
    ]
    p = []
    for base_a, base_b, novel_a, novel_b in zip(*scores, strict=True):
        a, b = harmonic_scores(base_a, novel_a), harmonic_scores(base_b, novel_b)
        assert a is not None and b is not None
        p.append(pairs.harmonic_p(difference(a, b), 300))
    assert (np.array(p) < 0.05).mean() <= 0.055


@pytest.mark.parametrize("rounds", [200, pytest.param(3000, marks=pytest.mark.slow)])
def test_family_wise_error_of_rank_groups_is_at_most_5_and_a_half_percent(rounds: int) -> None:
    """Five equal methods: how often any two get different ranks."""
    rng = np.random.default_rng(6)
    listed, wrong = list_design(np.arange(300) // 2 % 10, np.arange(300) // 2), 0
    for _ in range(rounds):
        hits = 0.8 * np.repeat(rng.normal(size=150), 2) + 0.6 * rng.normal(size=(5, 300)) < 0.25
        rows = [accuracy_row([listed], [right], [1], False) for right in hits]
        wrong += len(set(rank(hits.mean(axis=1).tolist(), pair_table(rows)).ranks)) > 1
    assert wrong / rounds <= 0.055


# --- slow: the bounds

slow = pytest.mark.slow


@slow
@pytest.mark.parametrize(("mean", "class_sd"), [(0.2, 0.0), (0.7, 0.0), (0.7, 0.2), (0.97, 0.0)])
def test_independent_videos_cover(mean: float, class_sd: float) -> None:
    assert 0.94 <= coverage(Coverage(VIDEOS, mean, class_sd), 2 * LISTS, 21).other[0] <= 0.96


@slow
def test_an_extreme_accuracy_covers() -> None:
    assert 0.92 <= coverage(Coverage(VIDEOS, 0.99), 2 * LISTS, 21).other[0] <= 0.98


@slow
@pytest.mark.parametrize("fit_sd", [0.0, 0.015, 0.04])
def test_three_fits_on_independent_videos_cover(fit_sd: float) -> None:
    found = coverage(Coverage(VIDEOS, 0.7, 0.15, fits=3, fit_sd=fit_sd), 2 * LISTS, 21)
    assert found.again is not None
    assert 0.94 <= found.other[0] <= 0.96
    assert 0.935 <= found.again[0] <= 0.98


@slow
def test_few_clusters_cover() -> None:
    listed = nested_list("20 clusters of 5", 4, 5, 5)
    assert 0.92 <= coverage(Coverage(listed, 0.7, icc=0.5), 2 * LISTS, 21).other[0] <= 0.98


@slow
@pytest.mark.parametrize(("icc", "fits", "fit_sd"), [(0.0, 1, 0.0), (0.2, 1, 0.0), (0.5, 1, 0.0), (0.2, 3, 0.01)])
@pytest.mark.parametrize("name", ["like ucf101", "ucf101", "hmdb51"])
def test_clustered_lists_cover(name: str, icc: float, fits: int, fit_sd: float, request: pytest.FixtureRequest) -> None:
    listed = _list(name, request)
    mean, class_sd, low, high = (0.6, 0.2, 0.92, 0.98) if name == "hmdb51" else (0.8, 0.15, 0.935, 0.965)
    found = coverage(Coverage(listed, mean, class_sd, icc, fits, fit_sd), LISTS, 21)
    assert low <= found.other[0] <= high
    if found.again is not None:
        assert 0.935 <= found.again[0] <= 0.98


@slow
@pytest.mark.parametrize("name", ["like ucf101", "ucf101", "hmdb51"])
def test_harmonic_means_cover(name: str, request: pytest.FixtureRequest) -> None:
    """A film of HMDB-51 can have base and novel classes."""
    mean, novel, class_sd = (0.7, 0.5, 0.2) if name == "hmdb51" else (0.93, 0.75, 0.1)
    found = coverage(Coverage(_list(name, request), mean, class_sd, 0.2, 3, 0.01, novel), LISTS, 61)
    assert found.again is not None
    assert 0.92 <= found.other[0] <= 0.98
    assert 0.935 <= found.again[0] <= 0.98


def _list(name: str, request: pytest.FixtureRequest) -> SimulatedList:
    if name == "like ucf101":
        return ucf_like_list()
    listed: SimulatedList = request.getfixturevalue("official")(name)
    return listed


@slow
@pytest.mark.parametrize(("icc", "class_sd"), [(0.0, 0.0), (0.2, 0.0), (0.5, 0.0), (0.2, 0.06)])
@pytest.mark.parametrize("name", ["like ucf101", "ucf101", "hmdb51"])
def test_the_size_of_cluster_flips(name: str, icc: float, class_sd: float, request: pytest.FixtureRequest) -> None:
    psi = 0.15 if name == "hmdb51" else 0.12
    assert rejections(Size(_list(name, request), psi, icc, class_sd), LISTS, 2).clusters <= 0.065


@slow
@pytest.mark.parametrize("clusters", [6, 12])
@pytest.mark.parametrize("icc", [0.0, 0.5])
def test_the_size_of_cluster_flips_of_few_clusters(clusters: int, icc: float) -> None:
    listed = nested_list("few", clusters // 3, 3, 10)
    assert rejections(Size(listed, 0.3, icc), LISTS, 2).clusters <= 0.065


@slow
@pytest.mark.parametrize("fits", [3, 5])
@pytest.mark.parametrize("fit_sd", [0.0, 0.01, 0.02])
@pytest.mark.parametrize("name", ["independent", "ucf101", "hmdb51"])
def test_the_size_of_the_test_for_other_fits(
    name: str, fit_sd: float, fits: int, request: pytest.FixtureRequest
) -> None:
    listed = VIDEOS if name == "independent" else _list(name, request)
    found = rejections(Size(listed, 0.15, 0.2 if listed.design.repeated else 0.0, 0.0, fits, fit_sd), LISTS // 2, 71)
    assert found.again is not None and found.again <= 0.075


@slow
@pytest.mark.parametrize("fits", [1, 3])
def test_the_smallest_difference_is_found_in_about_80_percent(fits: int) -> None:
    listed = ucf_like_list()
    gap = smallest_difference(PowerCase(listed.videos, 0.12, expected_design_effect(listed.sizes), fits))
    assert gap is not None
    found = rejections(Size(listed, 0.12, 0.2, fits=fits, gap=gap), LISTS // 2, 91)
    assert 0.75 <= found.clusters <= 0.86
