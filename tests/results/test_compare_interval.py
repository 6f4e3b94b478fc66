"""The interval of a comparison never contradicts its p value."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results.compare import Comparison, compare
from results.predictions import ID_COLUMNS, predictions_frame, read_predictions, write_predictions
from results.record import read_record, write_record
from results.statistics.metrics import accuracies
from results.statistics.paired import sign_flip_p
from tests.results.comparisons import of
from tests.results.factories import write_sample

# --- the interval never contradicts the p value


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


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Up to three lists of several lengths, many with classes of one video: right answers of A and B, labels."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        n = draw(st.integers(2, 40))
        bits = st.lists(st.booleans(), min_size=n, max_size=n).map(np.array)
        a = draw(bits)
        b = draw(st.one_of(bits, st.just(a), st.lists(st.integers(0, n - 1), max_size=9).map(partial(_without, a))))
        labels = np.arange(n) if draw(st.booleans()) else np.arange(n) % draw(st.integers(1, n))
        found.append((a, b, labels.astype(np.int64)))
    return found


def _without(bits: np.ndarray, places: list[int]) -> np.ndarray:
    found = bits.copy()
    found[places] = False
    return found


@given(lists=tables())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_0_lies_in_the_interval_exactly_where_p_is_005_or_more(
    tmp_path_factory: pytest.TempPathFactory, lists: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> None:
    """Exact, for lists of one and of several lengths."""
    folder = tmp_path_factory.mktemp("compare")
    for method, place in (("a", 0), ("b", 1)):
        write_outcomes(folder, method, [one[place] for one in lists], [one[2] for one in lists])
    (part,) = compare(of(folder, "a"), of(folder, "b")).parts
    assert part.interval.holds(0.0) == (part.p >= 0.05)
    truth = np.mean([100 * (a.mean() - b.mean()) for a, b, _ in lists])
    assert part.difference == pytest.approx(truth, abs=1e-9)
    assert part.interval.low - 0.05 <= truth <= part.interval.high + 0.05
    if len({len(a) for a, _, _ in lists}) == 1:
        steps = np.concatenate([a.astype(np.int64) - b for a, b, _ in lists])
        assert part.p == pytest.approx(sign_flip_p(steps), rel=1e-9)


def test_two_of_34_videos_with_one_video_a_class_are_no_difference(tmp_path: Path) -> None:
    """A class-stratified bootstrap gave 1.96 [0.98, 2.94] for such a table, beside a p value of 0.5."""
    labels = np.arange(34)
    right = labels % 3 > 0
    write_outcomes(tmp_path, "a", [right], [labels])
    write_outcomes(tmp_path, "b", [_without(right, [1, 2])], [labels])
    (part,) = compare(of(tmp_path, "a"), of(tmp_path, "b")).parts
    assert part.p == 0.5 and part.difference == pytest.approx(200 / 34)
    assert part.interval == pytest.approx((-4.90, 19.09), abs=0.01)


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


def test_a_comparison_of_the_grid_is_quick(tmp_path: Path) -> None:
    import time

    from tests.results.factories import write_grid

    write_grid(tmp_path)
    start = time.process_time()
    result: Comparison = compare(of(tmp_path, "vificlip"), of(tmp_path, "image_ft"))
    assert len(result.parts) == 9 and time.process_time() - start < 5
