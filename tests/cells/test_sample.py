"""`--limit`: samples of lists, which are part of the measurement and never ranked."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.errors import UserError
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.data.lists.sample import sampled
from harness.machine.settings import load_settings
from harness.spec import VideoList
from results.measurement import keys_of
from results.measurement_words import mean_lacks, signature, unranked_reasons

ROWS = tuple((f"v_{label}_{i:02}.avi", label) for label in range(4) for i in range(5 + label))


def cells(tmp_path, protocol="few_shot", limit=0, method="vificlip", **more):
    request = Request((MethodChoice(method),), (protocol,), ("mini_target",), limit=limit, **more)
    return expand(request, load_settings({"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache")}))


@pytest.mark.slow
@given(st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_a_sample_has_n_videos_of_each_class_and_is_a_part_of_larger_samples(small: int, more: int) -> None:
    rows = VideoList("val", ROWS, "published")
    few, many = sampled(rows, small), sampled(rows, small + more)
    counts = Counter(label for _, label in few.rows)
    assert counts == {label: min(small, 5 + label) for label in range(4)}
    assert set(few.rows) <= set(many.rows) <= set(ROWS)
    assert list(few.rows) == [row for row in ROWS if row in set(few.rows)], "list order"
    assert sampled(rows, small) == few
    assert sampled(rows, 8) is rows and few.origin == ("published" if len(few) == len(ROWS) else "generated")


def test_a_sample_follows_the_names_of_the_videos_in_any_folder() -> None:
    moved = VideoList("val", tuple((f"folder/{path.removesuffix('.avi')}.mp4", label) for path, label in ROWS))
    plain = sampled(VideoList("val", ROWS), 2)
    assert [path[7:-4] for path in sampled(moved, 2).paths] == [path[:-4] for path in plain.paths]


def test_the_sample_is_in_every_key_of_an_eval_and_keeps_a_row_from_being_ranked(tmp_path) -> None:
    whole, sample = cells(tmp_path), cells(tmp_path, limit=2)
    for a, b in zip(whole.evals, sample.evals, strict=True):
        assert b.measurement.evaluation.sample == "2 videos per class, seed 0"
        assert b.measurement.evaluation.list.n == 2 * 24
        keys, others = keys_of(a.measurement), keys_of(b.measurement)
        assert not {keys.number, keys.cell, keys.row, keys.line, keys.group} & {
            others.number, others.cell, others.row, others.line, others.group
        }  # fmt: skip
        assert "a sample of the list: 2 videos per class, seed 0" in unranked_reasons(b.measurement)
        assert mean_lacks(b.measurement) and "+sample(2 videos per class, seed 0)" in signature(b.measurement)
    # A fit on a list that the sample leaves unchanged is shared with the whole lists.
    assert whole.fits[0].key == sample.fits[0].key and whole.fits[1].key != sample.fits[1].key
    assert len(sample.fits[3].train) == 2 * 24


def test_a_sample_that_does_not_fill_the_batch_has_a_smaller_batch(tmp_path) -> None:
    fit = cells(tmp_path, "zero_shot", limit=1, views={"frames": "4"}).fits[0]
    assert len(fit.train) == 36 and fit.recipe.effective_batch <= 36


@pytest.mark.parametrize("protocol", ["b2n", "few_shot", "supervised", "zero_shot", "zero_shot_full"])
def test_every_protocol_takes_a_limit(tmp_path, protocol: str) -> None:
    for cell in cells(tmp_path, protocol, limit=3).evals:
        assert max(Counter(label for _, label in cell.test.rows).values()) == 3


def test_a_negative_limit_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="--limit is -1, expected 1 or more videos per class"):
        cells(tmp_path, limit=-1)
