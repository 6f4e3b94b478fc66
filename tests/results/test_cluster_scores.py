"""Cluster scores, variances and degrees of freedom against the reference values and against explicit matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.statistics.list_design import MERGED, list_design
from results.statistics.scores import (
    accuracy_scores,
    design_effect,
    difference,
    harmonic_scores,
    harmonic_slopes,
)
from tests.results.reference import close, design, reference, scores_of

LIST = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.booleans()), min_size=2, max_size=30)


def test_scores_of_cells_equal_the_reference(shared: Path) -> None:
    for case in reference(shared, "cells"):
        scores, expected = scores_of(case["repeats"]), case["expected"]
        assert scores.values == close(expected["accuracies"]), case["name"]
        assert scores.mean == close(expected["mean"]), case["name"]
        for found, wanted in zip(scores.by_repeat, expected["scores_per_repeat"], strict=True):
            assert found == close(wanted), case["name"]
        assert scores.scores == close(expected["scores"]), case["name"]
        assert scores.shares == close(expected["cluster_weights"]), case["name"]
        assert scores.variance == close(expected["variance"]), case["name"]
        assert scores.strata == expected["strata"], case["name"]
        assert scores.effective == close(expected["effective_clusters"]), case["name"]
        assert scores.df_rule == close(expected["df_rule"]), case["name"]
        if expected["df_observed"] is not None:
            assert scores.df_observed == close(expected["df_observed"]), case["name"]
        assert scores.df == close(expected["df"]), case["name"]
        assert scores.quantile == close(expected["quantile"]), case["name"]


def test_scores_of_harmonic_means_equal_the_reference(shared: Path) -> None:
    for case in reference(shared, "harmonic_means"):
        names = sorted({*case["base"]["cluster"], *case["novel"]["cluster"]})
        ids = {name: i for i, name in enumerate(names)}
        parts = [
            accuracy_scores([design(case[part]["class"], case[part]["cluster"], ids)], [case[part]["right"]])
            for part in ("base", "novel")
        ]
        scores, expected = harmonic_scores(*parts), case["expected"]
        assert scores is not None
        assert [part.mean for part in parts] == close([expected["base"], expected["novel"]])
        assert harmonic_slopes(*(part.mean for part in parts)) == close(tuple(expected["slopes"]))
        assert scores.mean == close(expected["harmonic_mean"])
        assert dict(zip(names, scores.scores, strict=True)) == close(
            dict(zip(expected["clusters"], expected["scores"], strict=True))
        )
        assert (scores.variance, scores.df) == close((expected["variance"], expected["df"]))


@pytest.mark.slow
@given(LIST)
@settings(max_examples=60, deadline=None)
def test_the_variance_is_cr2_of_the_regression_on_class_dummies(videos: list[tuple[int, int, bool]]) -> None:
    """Explicit hat matrices: the residuals of each cluster are multiplied by (I - H_gg)^(-1/2)."""
    classes, clusters, right = (np.array(column) for column in zip(*videos, strict=True))
    listed = list_design(classes, clusters)
    scores = accuracy_scores([listed], [right])
    if scores.one_source or MERGED in listed.strata or len(listed.strata) < len(np.unique(classes)):
        return
    dummies = (classes[:, None] == np.unique(classes)).astype(float)
    hat = dummies @ np.linalg.inv(dummies.T @ dummies) @ dummies.T
    residuals = right - hat @ right
    to_mean = dummies.mean(axis=0) @ np.linalg.inv(dummies.T @ dummies) @ dummies.T
    expected = []
    for cluster in np.unique(clusters):
        own = np.flatnonzero(clusters == cluster)
        values, vectors = np.linalg.eigh(np.eye(len(own)) - hat[np.ix_(own, own)])
        expected.append(to_mean[own] @ vectors @ np.diag(values**-0.5) @ vectors.T @ residuals[own])
    assert scores.scores == pytest.approx(expected, abs=1e-12)
    assert scores.mean == pytest.approx(right.mean())


@pytest.mark.slow
@given(LIST)
@settings(max_examples=40, deadline=None)
def test_single_videos_give_the_stratified_variance(videos: list[tuple[int, int, bool]]) -> None:
    classes, _, right = (np.array(column) for column in zip(*videos, strict=True))
    if (np.bincount(classes)[np.unique(classes)] < 2).any():
        return
    scores = accuracy_scores([list_design(classes, np.arange(len(classes)))], [right])
    expected = 0.0
    for label in np.unique(classes):
        own = right[classes == label]
        expected += (len(own) / len(right)) ** 2 * own.mean() * (1 - own.mean()) / (len(own) - 1)
    assert scores.variance == pytest.approx(expected, abs=1e-14)
    assert scores.df == pytest.approx(max(1, len(right) - len(np.unique(classes))))


def test_classes_with_one_source_are_merged() -> None:
    two = list_design([0, 0, 0, 5, 6], [0, 1, 2, 3, 4])
    assert two.strata.tolist() == [MERGED, 0]
    one_film = list_design([0, 0, 0, 1, 1, 5, 6, 6], [0, 1, 2, 3, 4, 9, 9, 9])
    assert one_film.strata.tolist() == [0, 1]  # both classes of film 9 join class 1, which has fewer videos
    joined = accuracy_scores([one_film], [[1, 1, 0, 1, 0, 1, 0, 0]])
    by_hand = accuracy_scores(
        [list_design([0, 0, 0, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 9, 9, 9])], [[1, 1, 0, 1, 0, 1, 0, 0]]
    )
    assert joined.scores == pytest.approx(by_hand.scores, abs=1e-15)
    tie = list_design([3, 3, 4, 4, 8], [0, 1, 2, 3, 4])
    assert (tie.strata.tolist(), np.bincount(tie.cell_stratum).tolist()) == ([3, 4], [3, 2])


def test_a_list_with_one_source_has_no_variance_and_says_so() -> None:
    scores = accuracy_scores([list_design([0, 0, 1, 1], [7, 7, 7, 7])], [[1, 0, 1, 1]])
    assert scores.one_source and scores.variance == 0.0
    assert np.isfinite(scores.scores).all()


def test_equal_outcomes_leave_a_variance_of_exactly_zero() -> None:
    rng = np.random.default_rng(4)
    classes, clusters = rng.integers(0, 7, 300), rng.integers(0, 60, 300)
    listed = list_design(classes, clusters)
    a, b, c = (rng.random(300) < 0.7 for _ in range(3))
    same = difference(accuracy_scores([listed] * 3, [a, b, c]), accuracy_scores([listed] * 3, [c, a, b]))
    assert (same.variance, same.df_observed) == (0.0, 2.0)
    everywhere = difference(accuracy_scores([listed], [a | True]), accuracy_scores([listed], [a & False]))
    assert (everywhere.mean, everywhere.variance) == (1.0, 0.0)
    assert not everywhere.by_repeat.any()


def test_overlapping_lists_share_the_scores_of_their_common_sources() -> None:
    """A source that two lists share counts once: its two scores are averaged before they are squared."""
    first, second = list_design([0] * 4, [0, 1, 2, 3]), list_design([0] * 4, [0, 1, 4, 5])
    answers = [1, 0, 1, 1]
    both = accuracy_scores([first, second], [answers, answers])
    z = accuracy_scores([first], [answers]).scores
    expected = np.array([z[0], z[1], z[2] / 2, z[3] / 2, z[2] / 2, z[3] / 2])
    assert both.clusters.tolist() == [0, 1, 2, 3, 4, 5]
    assert both.scores == pytest.approx(expected)
    assert both.shares == pytest.approx([0.25, 0.25, 0.125, 0.125, 0.125, 0.125])


def test_mean_class_accuracy_weights_the_videos() -> None:
    classes, right = [0, 0, 0, 0, 1, 1], [1, 1, 1, 0, 0, 1]
    scores = accuracy_scores([list_design(classes, range(6), mean_class=True)], [right])
    assert scores.mean == pytest.approx((0.75 + 0.5) / 2)
    assert scores.variance == pytest.approx(0.25 * (0.75 * 0.25 / 3 + 0.25 / 1))
    assert scores.shares == pytest.approx([0.125] * 4 + [0.25] * 2)


def test_a_harmonic_mean_adds_the_scores_of_a_common_film() -> None:
    base = accuracy_scores([list_design([0, 0, 0], [0, 1, 2])], [[1, 1, 0]])
    novel = accuracy_scores([list_design([1, 1, 1], [0, 3, 4])], [[1, 0, 0]])
    scores = harmonic_scores(base, novel)
    assert scores is not None
    slopes = harmonic_slopes(2 / 3, 1 / 3)
    assert slopes == pytest.approx((2 / 9, 8 / 9))
    assert scores.scores[0] == pytest.approx(slopes[0] * base.scores[0] + slopes[1] * novel.scores[0])
    assert (scores.strata, scores.videos) == (2, None)
    nothing = accuracy_scores([list_design([0, 0], [0, 1])], [[0, 0]])
    assert harmonic_scores(nothing, nothing) is None


def test_the_design_effect_is_the_ratio_of_the_variances() -> None:
    classes, right = [0] * 8, [1, 1, 1, 1, 0, 0, 0, 0]
    clustered = accuracy_scores([list_design(classes, [0, 0, 1, 1, 2, 2, 3, 3])], [right])
    plain = accuracy_scores([list_design(classes, range(8))], [right])
    assert design_effect(clustered, plain) == pytest.approx((0.25 / 3) / (0.25 / 7))
    assert np.isnan(design_effect(plain, difference(plain, plain)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: list_design([0, 1], [0]), "need (N,) classes"),
        (lambda: list_design([], []), "N > 0"),
        (lambda: accuracy_scores([], []), "at least one"),
        (lambda: accuracy_scores([list_design([0, 0], [0, 1])], [[1, 0, 1]]), "(K, 2), found (1, 3)"),
    ],
)
def test_wrong_shapes_are_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError) as error:
        call()  # type: ignore[operator]
    assert message in str(error.value)


def test_pairs_need_the_same_lists_and_repeats() -> None:
    one, other = (accuracy_scores([list_design([0, 0], ids)], [[1, 0]]) for ids in ([0, 1], [0, 2]))
    with pytest.raises(ValueError, match="different clusters"):
        difference(one, other)
    listed = list_design([0, 0], [0, 1])
    two, three = (accuracy_scores([listed] * n, [[1, 0]] * n) for n in (2, 3))
    with pytest.raises(ValueError, match="found 2 and 3"):
        difference(two, three)
    assert difference(three, one).repeats == 3
