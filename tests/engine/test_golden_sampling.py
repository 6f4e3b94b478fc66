"""Frames of segments: indices of ST-Adapter, AIM, MoTE, Vita-CLIP, EZ-CLIP and ViCLIP, and clips of fits and evals."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from harness.engine.video import segment_indices
from harness.engine.video.mm_pipeline import eval_pipeline, fit_pipeline
from harness.engine.video.segment_indices import Segments, evaluation_indices, training_indices
from harness.engine.video.transforms import SampleSegments, SampleViews, seeded_draws
from harness.spec import Recipe, Views
from harness.spec.segments import SEGMENT_RULES
from tests.engine import golden


@pytest.fixture
def python_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws of Python's generator, which AIM and MoTE use; the engine draws the same range with NumPy."""
    monkeypatch.setattr(segment_indices.np.random, "randint", lambda first, stop: random.randint(first, stop - 1))


def test_segments_are_those_of_st_adapter(shared: Path) -> None:
    for row in golden.facts(shared, "stadapter_forward")["sampling"]["table"]:
        segments = Segments(row["frames"], 8)
        assert evaluation_indices("segments", segments, 1).tolist() == row["uniform_test"], row["frames"]
        assert evaluation_indices("segments", segments, 1)[0].tolist() == row["uniform_test_1view"], row["frames"]
        for draw in row["uniform_train"]:
            np.random.seed(draw["numpy_seed"])
            assert training_indices("segments", segments).tolist() == draw["indices"], (row["frames"], draw)


def test_segments_are_those_of_aim(shared: Path, python_draws: None) -> None:
    for row in golden.facts(shared, "aim_forward")["sampling"]:
        uniform, segments = row["uniform_8"], Segments(row["frames"], 8)
        assert uniform["test3"] is None  # upstream takes one clip
        assert evaluation_indices("segments", segments, 1)[0].tolist() == uniform["test1"], row["frames"]
        for draw in uniform["train"]:
            random.seed(draw["numpy_and_python_seed"])
            assert training_indices("segments", segments).tolist() == draw["indices"], (row["frames"], draw)


def test_segments_are_those_of_mote(shared: Path, python_draws: None) -> None:
    for row in golden.facts(shared, "mote_forward")["sampling_0based"]:
        segments = Segments(row["frames"], 8)
        assert evaluation_indices("segments_mote", segments, 1)[0].tolist() == row["val"]
        for clips in (1, 3, 4):
            expected = row[f"test_clips{clips}"]
            assert evaluation_indices("segments_mote", segments, clips).tolist() == expected, (row["frames"], clips)
        for draw in row["train"]:
            random.seed(draw["python_seed"])
            assert training_indices("segments_mote", segments).tolist() == draw["indices_0based"], (row["frames"], draw)


def test_segments_are_those_of_ez_clip(shared: Path) -> None:
    for frames, row in golden.facts(shared, "ezclip_pipeline")["index_table"].items():
        for count in (8, 16):
            segments = Segments(int(frames), count)
            found = evaluation_indices("segments_actionclip", segments, 1)[0]
            assert (found + 1).tolist() == row[f"val_T{count}"], (frames, count)  # files are numbered from 1
            for seed in (0, 1):
                np.random.seed(seed)
                drawn = training_indices("segments_actionclip", segments)
                assert (drawn + 1).tolist() == row[f"train_T{count}_seed{seed}"], (frames, count, seed)


def test_segments_are_those_of_vita_clip(shared: Path) -> None:
    facts = golden.facts(shared, "vitaclip_pipeline")
    assert "fails" in facts["tsn_eval"]
    for frames, row in facts["index_table"].items():
        for seed in (0, 1):
            np.random.seed(seed)
            drawn = training_indices("segments", Segments(int(frames), 8)).tolist()
            assert drawn == row[f"train_tsn_seed{seed}"], (frames, seed)


def test_segments_are_those_of_viclip(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = golden.facts(shared, "viclip_forward")
    for frames, expected in facts["sampling_middle"].items():
        found = evaluation_indices("segments_viclip", Segments(int(frames), 8), 1)[0].tolist()
        assert found == expected, frames
    monkeypatch.setattr(segment_indices.np.random, "randint", lambda length: random.choice(range(length)))
    random.seed(5)
    for frames, expected in facts["sampling_rand_seed5"].items():
        assert training_indices("segments_viclip", Segments(int(frames), 8)).tolist() == expected, frames


@pytest.mark.parametrize("rule", SEGMENT_RULES)
@pytest.mark.parametrize("total", [1, 2, 7, 31, 300])
def test_every_index_is_a_frame_of_the_video(rule: str, total: int) -> None:
    segments = Segments(total, 8)
    with seeded_draws(total):
        drawn = np.stack([training_indices(rule, segments) for _ in range(20)])
    for indices in (evaluation_indices(rule, segments, 3), drawn):
        assert indices.shape[1] == 8 and indices.dtype == np.int64
        assert indices.min() >= 0 and indices.max() < total
    assert len(np.unique(drawn, axis=0)) > 10 or total < 31


@pytest.mark.parametrize("rule", SEGMENT_RULES)
def test_fits_and_evals_sample_segments(rule: str) -> None:
    views = Views(frames=4, clips=2, sampling=rule)
    assert views.training == Views(frames=4, sampling=rule) and views.single == Views(frames=4)
    step = dict(type="HarnessSampleViews", frames=4, clips=2, sampling=rule)
    assert eval_pipeline(views, 32)[1] == step
    assert fit_pipeline(views.training, 32, Recipe(1, 1.0))[1] == dict(
        type="HarnessSampleSegments", frames=4, sampling=rule
    )
    fixed = fit_pipeline(views.training, 32, Recipe(1, 1.0, augmentation="none"))[1]
    assert fixed == step | {"clips": 1}
    found = SampleViews(4, 2, rule)({"total_frames": 50})["frame_inds"]
    assert found.tolist() == evaluation_indices(rule, Segments(50, 4), 2).reshape(-1).tolist()
    with seeded_draws(3):
        drawn = SampleSegments(4, rule)({"total_frames": 50})["frame_inds"]
    with seeded_draws(3):
        assert drawn.tolist() == training_indices(rule, Segments(50, 4)).tolist()
