"""Statistics against scipy, statsmodels and simulation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from harness.base.errors import UserError
from results.compare import compare
from results.intervals import harmonic_interval, wilson
from results.metrics import harmonic_mean
from results.paired import bootstrap_interval, flip_p, flip_ps, mcnemar_p, sign_flip_p
from results.predictions import read_predictions, write_predictions
from results.ranking import harmonic_pairwise_p, pairwise_p, rank
from tests.results.factories import write_sample

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


@pytest.mark.parametrize(
    ("n", "classes", "rounds"),
    [(300, 12, 600), pytest.param(300, 12, 4000, marks=SLOW), pytest.param(750, 25, 4000, marks=SLOW)],
)
def test_bootstrap_interval_covers_95_percent(n: int, classes: int, rounds: int) -> None:
    """The slow rounds have a standard error of 0.3 %."""
    rng = np.random.default_rng(2)
    inside = 0
    for number in range(rounds):
        a, b, labels = outcome_pairs(rng, n, 0.6, 0.55, classes)
        differences = 100.0 * (a.astype(float) - b)
        inside += bootstrap_interval(differences, labels, seed=number, resamples=1000).holds(5.0)
    assert inside / rounds == pytest.approx(0.95, abs=0.01)


def test_bootstrap_is_stratified_by_class() -> None:
    """All variation lies between classes, which a stratified bootstrap must not count."""
    labels = np.repeat(np.arange(10), 20)
    differences = np.where(labels < 5, 1.0, -1.0)
    assert bootstrap_interval(differences, labels) == pytest.approx((0.0, 0.0))
    assert np.ptp(bootstrap_interval(differences, np.zeros(200, dtype=int))) > 0.2


# --- paired tests


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_mcnemar_equals_statsmodels_binomial_and_the_sign_flip_test(only_a: int, only_b: int) -> None:
    expected = stats.binomtest(min(only_a, only_b), only_a + only_b).pvalue if only_a + only_b else 1.0
    differences = np.array([1] * only_a + [-1] * only_b + [0] * 7)
    assert mcnemar_p(only_a, only_b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_p(only_a, only_b) == pytest.approx(mcnemar([[7, only_a], [only_b, 0]]).pvalue, rel=1e-9)
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


# --- ranks


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


# --- compare


def test_compare_two_records(tmp_path: Path) -> None:
    common = {"protocol": "few_shot", "part": "k16", "shots": 16, "videos": 240, "list_name": "val"}
    a = write_sample(tmp_path, method="a", accuracy=0.7, **common)
    b = write_sample(tmp_path, method="b", accuracy=0.6, frames=16, **common)
    (part,) = compare(a, b).parts
    (one,) = part.lists
    assert part.name == "few_shot/mini_target/k16"
    assert part.difference == pytest.approx(10.0) == pytest.approx(one.accuracy_a - one.accuracy_b)
    assert one.both + one.only_a + one.only_b + one.neither == one.n == part.videos == 240
    assert part.p == one.p == mcnemar_p(one.only_a, one.only_b)
    assert part.interval.holds(10.0) and part.interval.low < part.difference < part.interval.high
    assert len(part.flips) == one.only_a + one.only_b
    assert sum(flip.right == "a" for flip in part.flips) == one.only_a
    assert all((f.label == f.predicted_a) == (f.right == "a") for f in part.flips)
    changes = [abs(change.change) for change in part.classes]
    assert len(changes) == 12 and changes == sorted(changes, reverse=True)
    assert np.mean([change.change for change in part.classes]) == pytest.approx(10.0)
    assert part.differing == ("views.frames: 8 against 16",)
    assert compare(b, a).parts[0].difference == pytest.approx(-10.0)


def test_compare_folders_matches_lists_and_repeats_and_counts_a_video_once(tmp_path: Path) -> None:
    for method, accuracy in (("a", 0.72), ("b", 0.6)):
        for index in (1, 2, 3):
            for part in ("base", "novel"):
                write_sample(tmp_path, method=method, accuracy=accuracy, part=part, repeat=("train_subset", index))
    result = compare(tmp_path, tmp_path, "a", "b")
    assert [part.name for part in result.parts] == ["b2n/mini_target/base", "b2n/mini_target/novel"]
    for part in result.parts:
        assert len(part.lists) == 3 and part.videos == 120
        assert part.difference == pytest.approx(np.mean([one.accuracy_a - one.accuracy_b for one in part.lists]))
        assert part.p_holm >= part.p
    assert max(part.p_holm for part in result.parts) <= 2 * max(part.p for part in result.parts)


def test_compare_across_test_splits_pools_their_videos(tmp_path: Path) -> None:
    for method, accuracy in (("a", 0.7), ("b", 0.6)):
        for index in (1, 2, 3):
            write_sample(tmp_path, method=method, accuracy=accuracy, protocol="zero_shot", repeat=("test_split", index))
    (part,) = compare(tmp_path, tmp_path, "a", "b").parts
    assert part.videos == 360 and part.difference == pytest.approx(10.0)
    assert part.p < min(one.p for one in part.lists)


def test_an_untrained_method_is_compared_with_every_repeat(tmp_path: Path) -> None:
    write_sample(tmp_path, method="clip", trained=False, part="base", accuracy=0.4)
    for index in (1, 2, 3):
        write_sample(tmp_path, method="a", part="base", repeat=("train_subset", index), accuracy=0.7)
    (part,) = compare(tmp_path, tmp_path, "a", "clip").parts
    assert len(part.lists) == 3 and part.difference == pytest.approx(30.0)


def test_a_part_of_the_list_is_compared_on_the_common_videos(tmp_path: Path) -> None:
    a, b = write_sample(tmp_path, method="a"), write_sample(tmp_path, method="b")
    value = json.loads(b.read_text("utf-8"))
    file = b.with_name(value["predictions"]["file"])
    value["predictions"]["sha256"] = write_predictions(file, read_predictions(file).drop(index=[3, 8]))
    value["data"]["n_evaluated"] = 118
    b.write_text(json.dumps(value), "utf-8")
    (part,) = compare(a, b).parts
    assert part.videos == 118 and part.differing == ("B has 118 of 120 videos",)


def test_equal_predictions_differ_in_nothing(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    (part,) = compare(path, path).parts
    assert (part.difference, part.p, part.flips) == (0.0, 1.0, ()) and tuple(part.interval) == (0.0, 0.0)


def test_nothing_in_common_is_an_error_that_says_so(tmp_path: Path) -> None:
    a = write_sample(tmp_path, part="base")
    b = write_sample(tmp_path, part="novel")
    with pytest.raises(UserError, match="no evaluated list in common"):
        compare(a, b)
    with pytest.raises(UserError, match="no record of method 'zzz'"):
        compare(tmp_path, tmp_path, "vificlip", "zzz")


def test_two_runs_of_one_repeat_are_not_paired_at_random(tmp_path: Path) -> None:
    for method in ("a", "b"):
        for draw in (0, 1):
            write_sample(tmp_path, method=method, seed=draw, draw=draw)
    with pytest.raises(UserError, match="Several records measure the same repeat"):
        compare(tmp_path, tmp_path, "a", "b")
