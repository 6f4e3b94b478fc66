"""Calibration error, log-likelihood, Brier score and AUROC against hand-computed values and full distributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.statistics.class_accuracies import class_accuracies, confusion_matrix
from results.statistics.metrics import accuracies
from results.statistics.probability_metrics import (
    Predicted,
    auroc,
    brier_score,
    calibration_error,
    negative_log_likelihood,
    predicted,
)


def one(probabilities: list[float], label: int, classes: int, ids: list[int] | None = None) -> Predicted:
    """The predictions of one video."""
    return predicted([label], [ids or list(range(len(probabilities)))], [probabilities], classes)


def test_calibration_error_by_hand() -> None:
    # Bins of 1/15: 0.9 twice in bin 14 (one right), 0.55 in bin 9 (right), 0.2 in bin 3, which ends at 0.2 (wrong).
    top = np.array([0.9, 0.9, 0.55, 0.2])
    ids = np.array([[1, 0], [0, 1], [0, 1], [1, 0]])
    values = predicted([1, 1, 0, 0], ids, np.stack([top, np.zeros(4)], axis=1), 2)
    assert calibration_error(values) == pytest.approx(100 * (abs(1 - 1.8) + abs(1 - 0.55) + 0.2) / 4)
    edge = predicted([0, 0], [[0, 1], [1, 0]], [[3 / 15, 0.0], [3.0001 / 15, 0.0]], 2)
    assert calibration_error(edge) == pytest.approx(100 * ((1 - 0.2) + 3.0001 / 15) / 2), "bins are closed above"
    assert calibration_error(predicted([0], [[1, 0]], [[0.0, 0.0]], 2)) == 0.0


def test_a_true_class_in_the_top_five_gives_an_exact_log_likelihood() -> None:
    value = negative_log_likelihood(one([0.5, 0.2, 0.1, 0.1, 0.05], 1, 400))
    assert value is not None and value.exact and value.low == pytest.approx(-np.log(0.2))


def test_with_five_classes_or_fewer_every_value_is_exact() -> None:
    values = one([0.6, 0.3, 0.1, 0.0, 0.0], 2, 3, [2, 0, 1, -1, -1])
    nll, brier = negative_log_likelihood(values), brier_score(values)
    assert nll is not None and nll.exact and nll.low == pytest.approx(-np.log(0.6))
    assert brier is not None and brier.exact and brier.low == pytest.approx(0.4**2 + 0.3**2 + 0.1**2)


def test_with_six_classes_the_sixth_probability_is_the_rest() -> None:
    values = one([0.5, 0.2, 0.1, 0.08, 0.07], 5, 6)
    nll, brier = negative_log_likelihood(values), brier_score(values)
    assert nll is not None and nll.high is not None
    assert nll.low < -np.log(0.05) < nll.high and nll.high - nll.low < 3e-4, "the rounding of five probabilities"
    assert brier is not None and brier.exact
    assert brier.low == pytest.approx(0.25 + 0.04 + 0.01 + 0.0064 + 0.0049 + 0.95**2)


def test_a_true_class_outside_the_top_five_gives_limits() -> None:
    # The rest is 0.04 and the fifth probability 0.06: the true class has 0 to 0.04.
    values = one([0.5, 0.2, 0.12, 0.08, 0.06], 9, 10)
    nll, brier = negative_log_likelihood(values), brier_score(values)
    assert nll is not None and nll.high is None and nll.low == pytest.approx(-np.log(0.04), abs=1e-4)
    assert str(nll) == f"at least {-np.log(0.04 + 5 * 5e-7):.4f}"
    listed = 0.25 + 0.04 + 0.0144 + 0.0064 + 0.0036
    assert brier is not None
    assert (brier.low, brier.high) == pytest.approx((listed + 0.96**2, listed + 0.04**2 + 1.0))


def test_a_stored_zero_of_the_true_class_has_no_upper_limit() -> None:
    value = negative_log_likelihood(one([1.0, 0.0, 0.0, 0.0, 0.0], 1, 5))
    assert value is not None and value.high is None and value.low == pytest.approx(-np.log(5e-7))


def test_videos_without_a_prediction_are_left_out() -> None:
    values = predicted([0, 1], [[0, 1], [-1, -1]], [[0.8, 0.2], [0.0, 0.0]], 2)
    assert len(values.labels) == 1
    nothing = predicted([1], [[-1, -1]], [[0.0, 0.0]], 2)
    assert calibration_error(nothing) is negative_log_likelihood(nothing) is brier_score(nothing) is None


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="found \\(2,\\), \\(1, 2\\)"):
        predicted([0, 1], [[0, 1]], [[0.5, 0.5]], 2)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.integers(2, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5, 1.0, 5.0]))
def test_limits_hold_the_values_of_the_full_distributions(classes: int, videos: int, seed: int, width: float) -> None:
    rng = np.random.default_rng(seed)
    full = rng.dirichlet(np.full(classes, width), videos)
    labels = rng.integers(0, classes, videos)
    ids = np.argsort(-full, axis=1, kind="stable")[:, :5]
    stored = np.round(np.take_along_axis(full, ids, axis=1), 6)
    values = predicted(labels, ids, stored, classes)
    true = np.maximum(full[np.arange(videos), labels], 1e-300)
    listed = (ids == labels[:, None]).any(axis=1)
    nll, brier = negative_log_likelihood(values), brier_score(values)
    assert nll is not None and brier is not None and brier.high is not None
    # A stored value is taken as it is; its rounding moves -ln p by 5e-7 / p.
    rounding = float(np.where(listed, 5e-7 / true, 0.0).mean()) * 1.1 + 1e-9
    expected = float(-np.log(true).mean())
    assert nll.low <= expected + rounding
    assert nll.high is None or nll.high >= expected - rounding
    assert nll.high is not None or not (listed & (true > 1e-5)).all()
    score = float(((full - np.eye(classes)[labels]) ** 2).sum(axis=1).mean())
    assert brier.low - 2e-5 <= score <= brier.high + 2e-5
    assert brier.exact or classes > 6


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(6, 9), st.integers(0, 2**32 - 1))
def test_limits_of_the_brier_score_are_reached(classes: int, seed: int) -> None:
    """Brute force: distributions of the rest over the other classes come near both limits and never pass them."""
    rng = np.random.default_rng(seed)
    full = np.sort(rng.dirichlet(np.ones(classes)))[::-1]
    top, fifth, rest = full[:5], full[4], full[5:].sum()
    label = int(rng.integers(0, classes))
    limits = brier_score(one(top.tolist(), label, classes))
    assert limits is not None and limits.high is not None
    others, target = classes - 5, np.eye(classes)[label]
    scores = []
    for order in (np.roll(np.arange(others), shift) for shift in range(others)):
        packed, left = np.zeros(others), rest
        for index in order:  # fill one class after the other up to the fifth probability
            packed[index] = min(left, fifth)
            left -= packed[index]
        even = np.zeros(others)
        if others > 1:
            even[:] = (rest - min(rest, fifth)) / (others - 1)
        even[order[0]] = min(rest, fifth)
        scores += [((np.r_[top, tail] - target) ** 2).sum() for tail in (packed, even, np.full(others, rest / others))]
    assert min(scores) == pytest.approx(limits.low, abs=1e-9)
    assert max(scores) == pytest.approx(limits.high, abs=1e-9)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12)
)  # fmt: skip
def test_auroc_counts_pairs(positive: list[int], negative: list[int]) -> None:
    wins = sum((p > q) + 0.5 * (p == q) for p in positive for q in negative)
    assert auroc(positive, negative) == pytest.approx(wins / (len(positive) * len(negative)))


def test_auroc_needs_both_sides() -> None:
    assert auroc([0.5], []) is auroc([], [0.5]) is None
    assert auroc([0.9, 0.8], [0.1]) == 1.0


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_calibration_error_equals_a_loop_over_bins(videos: int, seed: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    top = np.round(rng.random(videos), 2)
    first = rng.integers(0, 3, videos)
    labels = rng.integers(0, 3, videos)
    values = predicted(labels, np.stack([first, first], axis=1), np.stack([top, top], axis=1), 3)
    expected = 0.0
    for m in range(1, bins + 1):
        inside = (np.ceil(top * bins) == m) | ((m == 1) & (top == 0))
        if inside.any():
            expected += inside.mean() * abs((first == labels)[inside].mean() - top[inside].mean())
    assert calibration_error(values, bins) == pytest.approx(100 * expected, abs=1e-9)


def test_confusion_matrix_and_class_accuracies_by_hand() -> None:
    labels, first = [0, 0, 0, 1, 1, 3], [0, 0, 2, 1, -1, 0]
    matrix = confusion_matrix(labels, first, 4)
    assert matrix.tolist() == [[2, 0, 1, 0, 0], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
    rows = class_accuracies(matrix, ["a", "b", "c", "d"])
    assert [(r.id, r.name, r.videos, r.correct) for r in rows] == [(0, "a", 3, 2), (1, "b", 2, 1), (2, "c", 0, 0),
                                                                  (3, "d", 1, 0)]  # fmt: skip
    assert [r.accuracy for r in rows] == [pytest.approx(200 / 3), 50.0, None, 0.0]
    present = [r.accuracy for r in rows if r.accuracy is not None]
    assert accuracies(labels, [[i] for i in first]).mean_class == pytest.approx(sum(present) / 3)
    for bad in (([4], [0]), ([0], [4]), ([-1], [0]), ([0, 1], [0])):
        with pytest.raises(ValueError, match="ids below 4"):
            confusion_matrix(*bad, 4)
