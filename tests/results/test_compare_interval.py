"""The interval of a comparison and its p value, on given right answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from results.compare import Comparison, compare
from results.predictions import ID_COLUMNS, predictions_frame, read_predictions, write_predictions
from results.record import read_record, write_record
from results.statistics.flips import flip_p
from results.statistics.metrics import accuracies
from tests.results.comparisons import of
from tests.results.factories import write_sample


def write_outcomes(folder: Path, method: str, right: list[np.ndarray], labels: list[np.ndarray]) -> None:
    """Records of the three test splits of zero-shot with given right answers."""
    for index, (hits, truth) in enumerate(zip(right, labels, strict=True), start=1):
        path = write_sample(
            folder, method=method, protocol="zero_shot", repeat=("test_split", index), videos=len(hits),
            classes=int(truth.max()) + 2, list_name=f"split_{index}",
        )  # fmt: skip
        record = read_record(path)
        file = path.with_name(record.predictions.file)
        videos = read_predictions(file)["video"].tolist()
        ids = np.where(hits, truth, truth + 1)[:, None]
        frame = predictions_frame(videos, truth, ids, np.ones_like(ids, dtype=float))
        sha = write_predictions(file, frame)
        metrics = replace(record.metrics, **accuracies(frame["label"], frame[ID_COLUMNS]).as_dict())
        write_record(path, replace(record, metrics=metrics, predictions=replace(record.predictions, sha256=sha)))


def _without(bits: np.ndarray, places: list[int]) -> np.ndarray:
    found = bits.copy()
    found[places] = False
    return found


def test_two_of_34_videos_with_one_video_a_class_are_no_difference(tmp_path: Path) -> None:
    """A class-stratified bootstrap gave 1.96 [0.98, 2.94] for such a table, beside a p value of 0.5."""
    labels = np.arange(34)
    right = labels % 3 > 0
    write_outcomes(tmp_path, "a", [right], [labels])
    write_outcomes(tmp_path, "b", [_without(right, [1, 2])], [labels])
    (part,) = compare(of(tmp_path, "a"), of(tmp_path, "b")).parts
    assert part.p == 0.5 and part.difference == pytest.approx(200 / 34)
    # All classes are one stratum: the standard error is that of 34 differences with two ones.
    error = 100 * np.std([1.0] * 2 + [0.0] * 32, ddof=1) / np.sqrt(34)
    low, high = part.difference - 2.0345 * error, part.difference + 2.0345 * error
    assert part.interval == pytest.approx((low, high), abs=0.01)
    assert part.interval.holds(0.0) and "Too few sources differ to tell." in part.sentence


@pytest.mark.slow
def test_the_p_value_of_equal_lists_is_that_of_the_sums_of_videos(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    right = {name: [rng.random(40) < share for _ in range(3)] for name, share in (("a", 0.7), ("b", 0.5))}
    labels = np.arange(40) % 5
    for name, lists in right.items():
        write_outcomes(tmp_path, name, lists, [labels] * 3)
    (part,) = compare(of(tmp_path, "a"), of(tmp_path, "b")).parts
    steps = np.concatenate([a.astype(np.int64) - b for a, b in zip(right["a"], right["b"], strict=True)])
    assert part.p == pytest.approx(flip_p(steps), rel=1e-9)
    assert part.difference == pytest.approx(100 * steps.mean(), abs=1e-9)
    assert part.interval.low < part.difference < part.interval.high


@pytest.mark.slow
def test_a_test_and_an_interval_that_disagree_are_borderline(tmp_path: Path) -> None:
    """Six videos of 40 differ in one way: p = 0.03. Seven of twenty sources, one against: p = 0.07."""
    labels = np.arange(40) % 2
    ones = np.ones(40, dtype=bool)
    found = set()
    for name, only_a, only_b in (("c", 6, 0), ("d", 8, 2), ("e", 9, 2), ("f", 8, 1), ("g", 7, 1)):
        a, b = _without(ones, list(range(20, 20 + only_b))), _without(ones, list(range(only_a)))
        write_outcomes(tmp_path / name, "a", [a], [labels])
        write_outcomes(tmp_path / name, "b", [b], [labels])
        (part,) = compare(of(tmp_path / name, "a"), of(tmp_path / name, "b")).parts
        disagree = (part.p < 0.05) == part.interval.holds(0.0)
        assert ("borderline" in part.sentence) == disagree
        found.add(disagree)
    assert found == {True, False}


@pytest.mark.slow
def test_every_list_has_one_vote_in_the_test_as_in_the_mean(tmp_path: Path) -> None:
    """A is better on a short list by as many videos as B is on a long one: the mean over lists is for A."""
    sizes = (20, 200)
    labels = [np.arange(n) % 5 for n in sizes]
    ones = [np.ones(n, dtype=bool) for n in sizes]
    write_outcomes(tmp_path, "a", [ones[0], _without(ones[1], list(range(8)))], labels)
    write_outcomes(tmp_path, "b", [_without(ones[0], list(range(8))), ones[1]], labels)
    (part,) = compare(of(tmp_path, "a"), of(tmp_path, "b")).parts
    assert part.difference == pytest.approx((40 - 4) / 2)
    assert part.p < 0.05 and part.interval.low > 0


@pytest.mark.slow
def test_a_comparison_of_the_grid_is_quick(tmp_path: Path) -> None:
    import time

    from tests.results.factories import write_grid

    write_grid(tmp_path)
    start = time.process_time()
    result: Comparison = compare(of(tmp_path, "vificlip"), of(tmp_path, "image_ft"))
    assert len(result.parts) == 9 and time.process_time() - start < 5
