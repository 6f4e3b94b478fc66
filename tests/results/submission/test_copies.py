"""Copies of one fit that are shown as several, whatever is changed in them, and independent fits, which are not."""

from __future__ import annotations

import itertools
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS, read_predictions
from results.record import find_records, read_record
from results.submission.copies import MOST_PAIRS, SMALLEST_DISTANCE, Sketch, distance, nearest, sketch_of
from tests.conftest import in_process
from tests.results.factories import predictions_of
from tests.results.submission.corrupted import fresh
from tests.results.submission.forge import Forge
from tests.results.submission.installed_facts import check


@cache
def softmax_table(seed: int = 0, videos: int = 120, classes: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = predictions_of([f"v{i}.avi" for i in range(videos)], np.arange(videos) % classes,
                           rng.normal(size=(videos, classes)), rng)  # fmt: skip
    logits = -np.sort(-rng.normal(0, 2, (videos, classes)), axis=1)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    frame[PROBABILITY_COLUMNS] = p[:, :5].round(6)
    return frame


def disguised(frame: pd.DataFrame, temperature: float, noise: float, replaced: float, seed: int) -> pd.DataFrame:
    """A copy with another temperature, noise in the log probabilities, and other predictions for some videos."""
    rng = np.random.default_rng(seed)
    copy = frame.copy()
    p = copy[PROBABILITY_COLUMNS].to_numpy() ** temperature * np.exp(rng.normal(0, noise, (len(copy), 5)))
    p = -np.sort(-p, axis=1)
    copy[PROBABILITY_COLUMNS] = (p / p.sum(axis=1, keepdims=True) * 0.97).round(6)
    rows = rng.random(len(copy)) < replaced
    copy.loc[rows, ID_COLUMNS] = copy.loc[rows, ID_COLUMNS].to_numpy()[:, ::-1]
    return copy


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.floats(0.7, 1.5), st.floats(0.0, 0.005), st.floats(0.0, 0.25), st.integers(0, 10**6))
def test_a_disguised_copy_is_nearer_than_independent_fits(
    temperature: float, noise: float, replaced: float, seed: int
) -> None:
    copy = disguised(softmax_table(), temperature, noise, replaced, seed)
    apart = distance(sketch_of(softmax_table()), sketch_of(copy))
    assert apart is not None and apart < SMALLEST_DISTANCE


def test_unrelated_tables_are_far_apart_and_tiny_tables_are_not_compared() -> None:
    apart = distance(sketch_of(softmax_table(0)), sketch_of(softmax_table(1)))
    assert apart is not None and apart > 10 * SMALLEST_DISTANCE
    assert distance(sketch_of(softmax_table().head(5)), sketch_of(softmax_table().head(5))) is None


def test_many_repeats_do_not_take_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr("results.submission.copies.distance", lambda a, b: compared.append((a, b)) or 1.0)
    sketch = sketch_of(softmax_table().head(20))
    assert not list(nearest([sketch] * 100))
    assert len(compared) == MOST_PAIRS


def test_tables_of_different_lists_are_not_compared() -> None:
    first, second = softmax_table().head(100), softmax_table().tail(100)
    assert not list(nearest([sketch_of(first), sketch_of(second)]))


def copied(made: Forge, noise: float) -> None:
    """The predictions of the first fit as those of all three, with its own noise in each repeat."""
    for part, index in itertools.product(("base", "novel", "joint"), (2, 3)):
        item, first = made.of(part, index), made.of(part, 1)
        item.frame = disguised(first.frame, 1.0, noise, 0.0, index)
        item.derive()


@pytest.mark.slow
def test_a_fit_with_noise_shown_as_three_is_refused(tmp_path: Path) -> None:
    made = fresh()
    copied(made, 0.001)
    checked = check(made.write(tmp_path / "a.zip"))
    assert checked.rules() == {"P008"} and "at a distance of 0.0" in checked.text()


@pytest.mark.slow
def test_noise_beyond_the_bound_is_not_detected(tmp_path: Path) -> None:
    """The threat model names this limit: enough noise makes a copy look like another fit."""
    made = fresh()
    copied(made, 0.5)
    assert check(made.write(tmp_path / "a.zip")).passed


METHODS = ["text_ft", "efficient_prompt", "xclip", "image_ft", "vificlip", "actionclip", "bridge_prompt"]
"""Built-in methods whose rows have several fits; all other methods are untrained, or have one fit in a row."""


@pytest.mark.slow
def test_independent_fits_of_every_built_in_method_are_far_apart(tmp_path: Path) -> None:
    """Short fits are nearest to each other, because they start from one CLIP."""
    places = ("--dataset", "mini_target", "--runs", tmp_path, "--no-report", "--quiet", "--workers", "0")
    short = ("--recipe", "epochs=2", "--recipe", "warmup_epochs=0")
    assert in_process("run", "--method", *METHODS, "--protocol", "b2n", "--part", "base", *short, *places) == 0
    seeds = ("--protocol", "few_shot", "--shots", "4", "--seeds", "2")
    assert in_process("run", "--method", *METHODS, *seeds, *short, *places) == 0
    tables: dict[tuple[str, str], list[Sketch]] = defaultdict(list)
    for path in find_records(tmp_path):
        record = read_record(path)
        m = record.measurement
        frame = read_predictions(path.with_name(record.predictions.file))
        tables[m.method.name, m.protocol.name].append(sketch_of(frame))
    assert {name for name, _ in tables} == set(METHODS) and all(len(fits) > 1 for fits in tables.values())
    apart = [distance(a, b) for fits in tables.values() for a, b in itertools.combinations(fits, 2)]
    assert min(value for value in apart if value is not None) > 3 * SMALLEST_DISTANCE
