"""View transforms: probes of time permute frames, corruptions grow with their strength, and draws follow the video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.errors import UserError
from harness.engine.evaluate import Scores, evaluate
from harness.engine.features.cache import FeatureCache
from harness.engine.features.context import Context
from harness.engine.job import EvalJob
from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw
from harness.engine.video.video_bytes import MachineFaultError
from harness.engine.video.view_transforms import BUILT_IN_TRANSFORMS, video_seed
from harness.machine.compute_options import ComputeOptions
from harness.plugins.loose_files import load_file
from harness.plugins.view_transforms import transform_identity
from harness.spec import Views
from harness.spec.view_transforms import BUILT_IN, CORRUPTIONS, STRENGTHS, TIME_PROBES, corruption
from tests.conftest import write_clip
from tests.engine.conftest import CPU, LABELS, VIEWS, tiny_method

COMPUTE = ComputeOptions(device="cpu", workers=0, eval_clips=4)
MIRRORED = '''
"""Frames mirrored left to right."""

from harness.api import register_view_transform


@register_view_transform("mirrored")
def mirrored(frames, random):
    return frames[:, :, ::-1]
'''


def apply(name: str, frames: np.ndarray, seed: int = 0) -> np.ndarray:
    return BUILT_IN_TRANSFORMS[name](frames, np.random.default_rng(seed))


def numbered(count: int) -> np.ndarray:
    """Frames of which each is filled with its number."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 8, 8, 3))


def order(name: str, count: int, seed: int = 0) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in apply(name, numbered(count), seed)]


def moving(seed: int, frames: int = 8) -> np.ndarray:
    """A bright square that moves over a dark textured ground."""
    rng = np.random.default_rng(seed)
    clip = np.repeat(rng.integers(0, 90, (1, 40, 48, 3), dtype=np.uint8), frames, axis=0)
    for i in range(frames):
        clip[i, 8:24, 3 * i : 3 * i + 14] = rng.integers(120, 200, 3)
    return clip


@pytest.mark.slow
@given(st.integers(2, 64), st.integers(0, 2**63))
@settings(max_examples=60, deadline=None)
def test_shuffle_is_a_permutation_and_differs_from_the_identity(count: int, seed: int) -> None:
    found = order("shuffled", count, seed)
    assert sorted(found) == list(range(count)) and found != list(range(count))
    assert found == order("shuffled", count, seed)


@given(st.integers(1, 64))
@settings(max_examples=30, deadline=None)
def test_reversed_twice_is_the_identity(count: int) -> None:
    frames = numbered(count)
    assert order("reversed", count) == list(range(count))[::-1]
    np.testing.assert_array_equal(apply("reversed", apply("reversed", frames)), frames)


@given(st.integers(1, 64))
@settings(max_examples=30, deadline=None)
def test_one_frame_and_the_first_half_keep_the_number_of_frames(count: int) -> None:
    assert order("one_frame", count) == [count // 2] * count
    half = order("first_half", count)
    assert len(half) == count and half == sorted(half) and set(half) == set(range(-(-count // 2)))


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_transform_keeps_shape_and_type_and_leaves_its_argument_alone(name: str) -> None:
    for frames in (moving(1), moving(1, frames=1)):
        kept = frames.copy()
        changed = apply(name, frames)
        assert changed.shape == kept.shape and changed.dtype == np.uint8
        np.testing.assert_array_equal(frames, kept)
        np.testing.assert_array_equal(apply(name, frames), changed)


@pytest.mark.parametrize("kind", CORRUPTIONS)
@given(st.integers(0, 2**31))
@settings(max_examples=8, deadline=None)
def test_a_greater_strength_is_a_greater_pixel_distance(kind: str, seed: int) -> None:
    frames = moving(seed)
    distances = [
        float(np.abs(apply(corruption(kind, strength), frames, seed).astype(float) - frames).mean())
        for strength in STRENGTHS
    ]
    assert 0 < distances[0] < distances[1] < distances[2]


@given(st.integers(2, 40), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_a_lost_frame_shows_an_earlier_frame_and_stronger_losses_include_weaker_ones(count: int, seed: int) -> None:
    shown = [order(corruption("dropped", strength), count, seed) for strength in STRENGTHS]
    for found in shown:
        assert found[0] == 0 and all(frame <= i for i, frame in enumerate(found)) and found == sorted(found)
    lost = [{i for i, frame in enumerate(found) if frame != i} for found in shown]
    assert lost[0] <= lost[1] <= lost[2] and len(lost[2]) < count
    assert count < 4 or len(lost[0]) < len(lost[1]) < len(lost[2])


def test_the_seed_is_that_of_the_name_of_the_video_in_any_folder() -> None:
    assert video_seed("/a/b/v_x_g01.avi") == video_seed(Path("c/v_x_g01.mp4")) != video_seed("/a/b/v_x_g02.avi")
    assert video_seed("abc") == 0xBA7816BF8F01CFEA


def decoded(video: Path, transform: str, views: Views = VIEWS) -> np.ndarray:
    dataset = mm_pipeline.ListVideoDataset([(video, 0)], mm_pipeline.eval_pipeline(views, 32, transform), 0)
    return dataset[Draw(0)]["frames"]


def test_the_pipeline_transforms_each_view_of_the_cropped_frames(tmp_path: Path) -> None:
    video = write_clip(tmp_path / "clip.avi", frames=24)
    views = Views(frames=4, clips=2, crops=3, sampling="uniform")
    plain, back = decoded(video, "", views), decoded(video, "reversed", views)
    np.testing.assert_array_equal(back.reshape(6, 4, 3, 32, 32), plain.reshape(6, 4, 3, 32, 32)[:, ::-1])
    noisy = decoded(video, "noise_2")
    copied = tmp_path / "elsewhere" / "clip.avi"
    copied.parent.mkdir()
    copied.write_bytes(video.read_bytes())
    np.testing.assert_array_equal(noisy, decoded(copied, "noise_2"))
    other = copied.rename(tmp_path / "elsewhere" / "other.avi")
    assert not np.array_equal(noisy, decoded(other, "noise_2"))


def score(rows: list, cache: FeatureCache | None, transform: str) -> Scores:
    method = tiny_method("vanilla_clip").requires_grad_(False)
    return evaluate(EvalJob(method, rows, LABELS, VIEWS, 0, transform), Context(CPU, COMPUTE, cache))


@pytest.mark.slow
def test_the_feature_cache_keeps_the_features_of_each_transform_apart(rows: list, tmp_path: Path) -> None:
    # Two files of equal content and different names, whose noise differs.
    twin = tmp_path / "twin.avi"
    twin.write_bytes(rows[0][0].read_bytes())
    listed = [*rows[:3], (twin, 0)]
    cache = FeatureCache(tmp_path / "cache")
    clean, decoded_again = score(listed, cache, ""), score(listed, None, "noise_3")
    for _ in range(2):  # computed, then read
        cached = score(listed, cache, "noise_3")
        np.testing.assert_allclose(cached.probabilities, decoded_again.probabilities, atol=1e-6)
        assert not np.allclose(cached.probabilities, clean.probabilities, atol=1e-4)
        assert not np.allclose(cached.probabilities[0], cached.probabilities[3], atol=1e-4)


@pytest.fixture
def plugin(tmp_path: Path, plugins_forgotten: None) -> Iterator[Path]:
    yield tmp_path / "mine.py"


def test_a_transform_of_a_plugin_takes_ten_lines_and_its_code_is_part_of_the_measurement(
    plugin: Path, tmp_path: Path
) -> None:
    assert len(MIRRORED.strip().splitlines()) <= 10
    plugin.write_text(MIRRORED)
    load_file(plugin)
    name, _, code = transform_identity("mirrored").partition("#")
    assert name == "mirrored" and len(code) == 8
    video = write_clip(tmp_path / "clip.avi")
    np.testing.assert_array_equal(decoded(video, "mirrored"), decoded(video, "")[..., ::-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "body, problem",
    [
        ("return frames[:1]", "returns uint8 (1, 64, 64, 3), expected uint8 (2, 64, 64, 3)"),
        ("return frames / 255", "returns float64 (2, 64, 64, 3)"),
        ("raise ValueError('no')", "failed: ValueError: no"),
    ],
)
def test_a_wrong_transform_ends_the_eval_and_is_not_a_wrong_prediction(
    plugin: Path, rows: list, body: str, problem: str
) -> None:
    plugin.write_text(MIRRORED.replace("return frames[:, :, ::-1]", body).replace("mirrored", "wrong"))
    load_file(plugin)
    with pytest.raises(MachineFaultError) as caught:
        score(rows[:2], None, "wrong")
    assert problem in caught.value.message and "a fault of the view transform" in caught.value.message


@pytest.mark.parametrize(
    "name, problem",
    [("blur_1", "built-in view transform"), ("clean", "built-in view transform"), ("a b", "not a name")],
)
def test_a_name_that_cannot_be_taken_is_refused(plugin: Path, name: str, problem: str) -> None:
    plugin.write_text(MIRRORED.replace('"mirrored"', f'"{name}"'))
    with pytest.raises(UserError, match=problem):
        load_file(plugin)
    with pytest.raises(UserError, match="no view transform"):
        transform_identity("mirored")


def test_every_built_in_name_has_a_transform() -> None:
    assert tuple(BUILT_IN_TRANSFORMS) == BUILT_IN and set(TIME_PROBES) < set(BUILT_IN)
