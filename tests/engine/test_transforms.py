"""Sampling and augmentation: indices as published, one coin per clip, draws from the key alone."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmaction.datasets.transforms import SampleFrames

from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw
from harness.engine.video.transforms import (
    ClipGrayScale,
    PackClip,
    PerFrameColorJitter,
    SampleViews,
    centre_indices,
    resize_side,
    seeded_draws,
    train_indices,
)
from harness.spec import Recipe, Views
from tests.conftest import write_clip

RECIPE = Recipe(epochs=1, lr=1e-3)


def sampled(total: int, frames: int, test: bool) -> np.ndarray:
    """mmaction2's sampler, which the pipelines use for single views."""
    step = SampleFrames(clip_len=1, frame_interval=1, num_clips=frames, test_mode=test)
    return np.asarray(step({"total_frames": total, "start_index": 0})["frame_inds"])


@given(st.integers(1, 1000), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_centre_indices_equal_the_sampler_of_single_views(total: int, frames: int) -> None:
    np.testing.assert_array_equal(centre_indices(total, frames), sampled(total, frames, test=True))


@given(st.integers(1, 1000), st.integers(1, 40), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_train_indices_equal_the_sampler_of_single_views(total: int, frames: int, seed: int) -> None:
    with seeded_draws(seed):
        ours = train_indices(total, frames)
    with seeded_draws(seed):
        theirs = sampled(total, frames, test=False)
    np.testing.assert_array_equal(ours, theirs)


@given(st.integers(1, 400), st.integers(1, 32), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_train_indices_take_one_frame_per_segment(total: int, frames: int, seed: int) -> None:
    with seeded_draws(seed):
        found = train_indices(total, frames)
    assert len(found) == frames and found.min() >= 0 and found.max() < total
    if total >= frames:
        segment = total // frames
        np.testing.assert_array_equal(found // segment, np.arange(frames))
    else:
        with seeded_draws(seed + 1):
            np.testing.assert_array_equal(found, train_indices(total, frames))  # short clips are not random


@given(st.integers(1, 300), st.integers(1, 16), st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_uniform_views_share_out_the_dense_indices(total: int, frames: int, clips: int) -> None:
    found = SampleViews(frames, clips, "uniform")({"total_frames": total})
    views = found["frame_inds"].reshape(clips, frames)
    np.testing.assert_array_equal(np.sort(views.ravel()), np.sort(centre_indices(total, frames * clips)))
    assert (np.diff(views, axis=1) >= 0).all()
    assert (found["num_clips"], found["clip_len"]) == (clips * frames, 1)


def test_random_views_differ_and_follow_the_seed() -> None:
    step = SampleViews(8, 4, "random")

    def draw(seed: int) -> np.ndarray:
        with seeded_draws(seed):
            return np.asarray(step({"total_frames": 400})["frame_inds"])

    assert len(np.unique(draw(1).reshape(4, 8), axis=0)) == 4
    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))


def test_seeded_draws_govern_three_generators_and_put_them_back() -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = draws()
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    with seeded_draws(1, 2, 3):
        inside = draws()
    assert draws() == expected
    with seeded_draws(1, 2, 3):
        assert draws() == inside
    for key in ((1, 2, 4), (2, 1, 3), (1, 2)):
        with seeded_draws(*key):
            assert all(a != b for a, b in zip(draws(), inside, strict=True))
    with pytest.raises(ZeroDivisionError), seeded_draws(1):
        _ = 1 / 0
    assert torch.initial_seed() == 5


def frames(count: int = 4, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (12, 14, 3), dtype=np.uint8)
    return [image.copy() for _ in range(count)]


def test_colour_jitter_draws_per_frame_with_one_coin_per_clip() -> None:
    changed = 0
    for seed in range(200):
        with seeded_draws(seed):
            found = PerFrameColorJitter()({"imgs": frames()})["imgs"]
        same = [np.array_equal(image, frames()[0]) for image in found]
        assert all(same) or not any(same)
        if not any(same):
            changed += 1
            assert not np.array_equal(found[0], found[1])
            assert found[0].dtype == np.uint8 and found[0].shape == (12, 14, 3)
    assert 0.7 < changed / 200 < 0.9


def test_grey_clips_have_one_coin_and_three_equal_channels() -> None:
    grey = 0
    for seed in range(300):
        with seeded_draws(seed):
            found = ClipGrayScale()({"imgs": frames()})["imgs"]
        equal = [(image == image[..., :1]).all() for image in found]
        assert all(equal) or not any(equal)
        grey += all(equal)
    assert 0.13 < grey / 300 < 0.27
    image = frames(1)[0].astype(float)
    luminance = image @ [0.299, 0.587, 0.114]
    found = ClipGrayScale(1.0)({"imgs": frames(1)})["imgs"][0][..., 0]
    assert np.abs(found - luminance).max() <= 1


def test_a_packed_clip_holds_frames_and_label_only() -> None:
    packed = PackClip()({"imgs": np.zeros((4, 3, 8, 8), np.uint8), "label": np.int64(2), "filename": "x", "more": 1})
    assert set(packed) == {"frames", "label"} and packed["label"] == 2
    assert packed["frames"].flags["C_CONTIGUOUS"]


@pytest.mark.parametrize(("size", "short"), [(224, 256), (336, 384), (64, 73), (32, 36)])
def test_resize_side(size: int, short: int) -> None:
    assert resize_side(size) == short


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.avi", frames=20)


def loaded(video: Path, pipeline: list[dict], draw: Draw = Draw(0), seed: int = 0) -> np.ndarray:  # noqa: B008
    return np.asarray(mm_pipeline.ListVideoDataset([(video, 3)], pipeline, seed)[draw]["frames"])


@pytest.mark.parametrize("reader", ["decord", "exact"])
@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize(("clips", "sampling"), [(1, "centre"), (2, "uniform"), (2, "random")])
def test_evaluation_pipelines(video: Path, reader: str, crops: int, clips: int, sampling: str) -> None:
    views = Views(frames=3, clips=clips, crops=crops, sampling=sampling, reader=reader)
    found = loaded(video, mm_pipeline.eval_pipeline(views, 32))
    assert found.shape == (3 * clips * crops, 3, 32, 32) and found.dtype == np.uint8
    if crops == 3 and clips == 1:
        left, right, middle = found.reshape(3, 3, 3, 32, 32)
        assert not np.array_equal(left, right) and not np.array_equal(left, middle)


def test_evaluation_does_not_depend_on_the_seed_where_nothing_is_drawn(video: Path) -> None:
    pipeline = mm_pipeline.eval_pipeline(Views(frames=3), 32)
    np.testing.assert_array_equal(loaded(video, pipeline, seed=1), loaded(video, pipeline, seed=2))


def test_training_pipelines(video: Path) -> None:
    views = Views(frames=3)
    augmented = mm_pipeline.fit_pipeline(views, 32, RECIPE)
    first = loaded(video, augmented, Draw(0, 0, 0))
    assert first.shape == (3, 3, 32, 32)
    np.testing.assert_array_equal(first, loaded(video, augmented, Draw(0, 0, 0)))
    for other in (Draw(0, 1, 0), Draw(0, 0, 1)):
        assert not np.array_equal(first, loaded(video, augmented, other))
    plain = mm_pipeline.fit_pipeline(views, 32, Recipe(epochs=1, lr=1e-3, augmentation="none"))
    np.testing.assert_array_equal(
        loaded(video, plain, Draw(0, 0, 5)), loaded(video, mm_pipeline.eval_pipeline(views, 32))
    )


def test_flips_can_be_left_out() -> None:
    """Something-Something's published recipe does not flip: left and right are its classes."""
    kinds = [
        [step["type"] for step in mm_pipeline.fit_pipeline(Views(), 224, Recipe(epochs=1, lr=1, flip=f))]
        for f in (True, False)
    ]
    assert [step for step in kinds[0] if step not in kinds[1]] == ["Flip"]
