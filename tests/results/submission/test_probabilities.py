"""Probabilities that no classifier gives: families of changes of a consistent table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from results.predictions import PROBABILITY_COLUMNS
from results.submission.check_records import _rest
from tests.results.submission.corrupted import fresh
from tests.results.submission.installed_facts import check


def first_five(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """The five largest probabilities of a softmax, as a table stores them."""
    shifted = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    p = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    stored = -np.sort(-p, axis=1)[:, :5].astype(np.float64).round(6)
    return np.pad(stored, ((0, 0), (0, 5 - stored.shape[1])))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(2, 700), st.floats(0.01, 50.0), st.integers(0, 10**6))
def test_every_softmax_is_consistent(classes: int, temperature: float, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 5, (40, classes))
    assert _rest(first_five(logits, temperature), classes) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(6, 700), st.floats(0.0, 0.98), st.integers(0, 10**6))
def test_probabilities_that_leave_too_much_to_the_other_classes_are_found(
    classes: int, factor: float, seed: int
) -> None:
    """All five probabilities are lowered: the other classes would then be more probable than the fifth."""
    p = first_five(np.random.default_rng(seed).normal(0, 5, (40, classes)), 5.0)
    p[:, 4] *= factor * min(1.0, 0.9 * (1 - p[:, :4].sum(axis=1)).min() / ((classes - 5) * p[:, 4].max() + 1e-12))
    p[:, :5] *= 0.5
    assert _rest(p, classes) is not None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["constant", "two patterns", "four decimals", "two decimals"])
def test_constant_and_rounded_probabilities_are_noticed(kind: str, tmp_path: Path) -> None:
    made = fresh("few_shot")
    frame = made.of("k16").frame
    p = frame[PROBABILITY_COLUMNS].to_numpy()
    if "decimals" in kind:
        step = 10 ** -(4 if kind.startswith("four") else 2)
        frame[PROBABILITY_COLUMNS] = (np.floor(p / step) * step).round(6)
        frame["p5"] = np.minimum(frame["p4"], (np.ceil(p[:, 4] / step) * step).round(6))
    else:
        patterns = np.array([[0.6, 0.1, 0.05, 0.04, 0.030001], [0.5, 0.1, 0.06, 0.05, 0.040001]])
        frame[PROBABILITY_COLUMNS] = patterns[np.arange(len(frame)) % (1 if kind == "constant" else 2)]
    made.of("k16").name()
    checked = check(made.write(tmp_path / "a.zip"))
    assert "W009" in {finding.rule for finding in checked.findings}, checked.text()
