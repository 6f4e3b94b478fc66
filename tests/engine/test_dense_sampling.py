"""Dense sampling: indices of the published codes, random starts in training, and clips of whole fits and evals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.base.errors import UserError
from harness.engine.video import dense_indices
from harness.engine.video.dense_indices import DenseClip, evaluation_indices, training_indices
from harness.engine.video.mm_pipeline import eval_pipeline, fit_pipeline
from harness.engine.video.transforms import SampleDense, SampleViews, seeded_draws
from harness.spec import Recipe, Views
from harness.spec.dense import DENSE_RULES, DenseSampling
from tests.engine import golden


@pytest.mark.parametrize(("reader", "rule"), [("pyav", "slowfast"), ("torchvision", "slowfast_tv")])
def test_slowfast_clips_are_those_of_open_vclip(
    shared: Path, reader: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = golden.facts(shared, "openvclip_sampling")["temporal"]
    sampling, rows = DenseSampling(rule, 16), [row for row in reference["table"] if row["backend"] == reader]
    assert len(rows) == 33
    for row in rows:
        clip = DenseClip(row["frames"], 8, 16, row["fps"])
        assert evaluation_indices(sampling, clip, 3).tolist() == row["test"], row
        assert evaluation_indices(sampling, clip, 1)[0].tolist() == row["test_1view"], row
        for draw in row["train"]:
            monkeypatch.setattr(dense_indices.np.random, "random", lambda u=draw["u"]: u)
            assert training_indices(sampling, clip).tolist() == draw["indices"], (row, draw)


def test_dense_hold_clips_are_those_of_st_adapter(shared: Path) -> None:
    sampling = DenseSampling("dense_hold", 16)
    for row in golden.facts(shared, "stadapter_forward")["sampling"]["table"]:
        clip = DenseClip(row["frames"], 8, 16)
        assert evaluation_indices(sampling, clip, 3).tolist() == row["dense_test"], row
        assert evaluation_indices(sampling, clip, 1)[0].tolist() == row["dense_test_1view"], row
        for draw in row["dense_train"]:
            np.random.seed(draw["numpy_seed"])
            assert training_indices(sampling, clip).tolist() == draw["indices"], (row, draw)


@pytest.mark.parametrize(("key", "frames", "stride"), [("k400_32x4", 32, 4), ("8x16", 8, 16)])
def test_dense_mid_clips_are_those_of_aim(shared: Path, key: str, frames: int, stride: int) -> None:
    sampling = DenseSampling("dense_mid", stride)
    for row in golden.facts(shared, "aim_forward")["sampling"]:
        clip = DenseClip(row["frames"], frames, stride)
        assert evaluation_indices(sampling, clip, 3).reshape(-1).tolist() == row[key]["test3"], row["frames"]
        assert evaluation_indices(sampling, clip, 1).reshape(-1).tolist() == row[key]["test1"], row["frames"]
        for draw in row[key]["train"]:
            np.random.seed(draw["numpy_and_python_seed"])
            assert training_indices(sampling, clip).tolist() == draw["indices"], row["frames"]


@pytest.mark.parametrize("rule", DENSE_RULES)
@pytest.mark.parametrize("total", [1, 2, 31, 113, 300])
def test_every_index_is_a_frame_of_the_video(rule: str, total: int) -> None:
    sampling, clip = DenseSampling(rule, 16), DenseClip(total, 8, 16, 24.0)
    with seeded_draws(total):
        drawn = np.stack([training_indices(sampling, clip) for _ in range(20)])
    for indices in (evaluation_indices(sampling, clip, 4), drawn):
        assert indices.shape[1] == 8 and indices.dtype == np.int64
        assert indices.min() >= 0 and indices.max() < total
    assert len(np.unique(drawn[:, 0])) > 5 or total < 300  # the start is random


class Rate:
    """The part of a reader that sampling uses."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def get_avg_fps(self) -> float:
        return self.rate


def clip_of(total: int, rate: float = 30.0) -> Any:
    return {"total_frames": total, "video_reader": Rate(rate)}


def test_slowfast_uses_the_rate_of_the_video_and_dense_does_not() -> None:
    for rule, same in (("dense", True), ("slowfast", False)):
        clips = [SampleViews(8, 3, f"{rule}:16")(clip_of(300, rate))["frame_inds"].tolist() for rate in (25.0, 30.0)]
        assert (clips[0] == clips[1]) is same
    with pytest.raises(ValueError, match="no frame rate, which sampling=slowfast:16 needs"):
        SampleDense(8, "slowfast:16")(clip_of(300, 0.0))


def test_fits_and_evals_of_dense_views_sample_densely() -> None:
    views = Views(frames=4, clips=3, sampling="dense:2")
    assert views.training == Views(frames=4, sampling="dense:2") and views.single == Views(frames=4)
    assert Views(frames=4, clips=3, sampling="uniform").training == Views(frames=4)
    step = eval_pipeline(views, 32)[1]
    assert step == dict(type="HarnessSampleViews", frames=4, clips=3, sampling="dense:2")
    random = fit_pipeline(views.training, 32, Recipe(1, 1.0))[1]
    assert random == dict(type="HarnessSampleDense", frames=4, sampling="dense:2")
    plain = fit_pipeline(views.training, 32, Recipe(1, 1.0, augmentation="none"))[1]
    assert plain == dict(type="HarnessSampleViews", frames=4, clips=1, sampling="dense:2")


@pytest.mark.parametrize("sampling", ["dense", "dense:", "dense:N", "dense:0", "dense:-2", "dense:1.5", "tight:4"])
def test_a_sampling_that_does_not_exist_is_refused(sampling: str) -> None:
    with pytest.raises(UserError, match=f"views.sampling is {sampling!r}, expected one of .*'slowfast:N'"):
        Views(sampling=sampling)
