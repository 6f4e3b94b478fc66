"""Augmentation by steps: pixels and draws of the SlowFast code, RandAugment, erasing, and refused texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.base.errors import UserError
from harness.engine.training.erasing import AREA, draw_box, erase
from harness.engine.video import mm_pipeline
from harness.engine.video.augment import RandAugmentClip, ShortSideCrop, ShortSideViews, scaled_size
from harness.engine.video.batches import Draw
from harness.engine.video.frames import normalise
from harness.engine.video.transforms import seeded_draws
from harness.spec import Recipe, Views
from harness.spec.augmentation import parse_augmentation
from tests.engine import golden

RAND = "rand-m7-n4-mstd0.5-inc1"


@pytest.mark.parametrize("case", [0, 1])
def test_pixels_of_the_slowfast_crop(shared: Path, case: int) -> None:
    """Resize, crop and flip by the stored seed, then normalisation; the original normalises first."""
    data, name = golden.arrays(shared, "openvclip_engine"), f"pixels{case}"
    frames = list(data[f"{name}/input_CTHW"].transpose(1, 2, 3, 0))
    np.random.seed(int(data[f"{name}/numpy_seed"]))
    cropped = np.stack(ShortSideCrop(32, 32, 40)({"imgs": frames})["imgs"])
    if np.random.uniform() < 0.5:
        cropped = cropped[:, :, ::-1]
    clip = torch.from_numpy(np.ascontiguousarray(cropped.transpose(0, 3, 1, 2)))
    pixels = normalise(clip, Views(normalize="clip"), torch.device("cpu")).permute(1, 0, 2, 3)
    golden.close(pixels, data[f"{name}/train_min32_max40_crop32"], 2e-6, name)


@pytest.mark.parametrize("case", [0, 1])
def test_pixels_of_the_slowfast_evaluation(shared: Path, case: int) -> None:
    data, name = golden.arrays(shared, "openvclip_engine"), f"pixels{case}"
    frames = list(data[f"{name}/input_CTHW"].transpose(1, 2, 3, 0))
    cropped = np.stack(ShortSideViews(32, 1)({"imgs": frames})["imgs"]).transpose(0, 3, 1, 2)
    clip = normalise(torch.from_numpy(np.ascontiguousarray(cropped)), Views(normalize="clip"), torch.device("cpu"))
    golden.close(clip.permute(1, 0, 2, 3), data[f"{name}/test_min32_crop32"], 2e-6, name)


def test_boxes_of_the_slowfast_evaluation(shared: Path) -> None:
    for row in golden.facts(shared, "openvclip_sampling")["spatial"]["test"]:
        height, width = row["scaled_hw"]
        assert scaled_size(row["h"], row["w"], 224) == (height, width)
        picture = np.add.outer(np.arange(height) % 16, 16 * (np.arange(width) % 16)).astype(np.uint8)
        crops = ShortSideViews(224, 3)({"imgs": [np.repeat(picture[..., None], 3, axis=2)]})["imgs"]
        left, top, right, bottom = row["crop_xyxy"]
        ours = crops[{0: 0, 1: 2, 2: 1}[row["spatial_idx"]]]  # the original has the centre in the middle
        np.testing.assert_array_equal(ours[..., 0], picture[top:bottom, left:right])


def test_boxes_of_the_slowfast_crop(shared: Path) -> None:
    for row in golden.facts(shared, "openvclip_sampling")["spatial"]["train"]:
        np.random.seed(row["numpy_seed"])
        short = round(float(np.random.uniform(224, 256)))
        assert list(scaled_size(row["h"], row["w"], short)) == row["scaled_hw"]
        # The picture holds its own coordinates, so that the crop shows where it was cut.
        height, width = row["scaled_hw"]
        rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        picture = np.stack([rows % 256, columns % 256, rows // 256 * 2 + columns // 256], axis=-1).astype(np.uint8)
        left, top, right, bottom = row["crop_xyxy"]
        np.random.seed(row["numpy_seed"])
        crop = ShortSideCrop(224, short, short)  # the stored picture has its final size already
        cropped = crop({"imgs": [picture]})["imgs"][0]
        np.testing.assert_array_equal(cropped, picture[top:bottom, left:right].astype(np.float32))


@pytest.mark.parametrize("case", [0, 1])
def test_operations_of_randaugment(shared: Path, case: int) -> None:
    row = golden.facts(shared, "openvclip_sampling")["randaugment"][case]
    step = parse_augmentation(f"{row['config']}+multi_scale").steps[0]
    clip = RandAugmentClip(224, step.magnitude, step.layers, step.deviation, step.increasing)
    assert [operation.aug_fn.__name__ for operation in clip.operations] == row["ops"]
    assert (step.layers, step.magnitude, step.deviation) == (row["num_layers"], row["magnitude"], row["magnitude_std"])
    assert {operation.prob for operation in clip.operations} == {row["prob"]}
    assert clip.operations[0].hparams["translate_const"] == 100


def test_randaugment_changes_all_frames_of_a_clip_in_the_same_way() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    clips = []
    for key in range(12):
        with seeded_draws(key):
            clips.append(np.stack(RandAugmentClip(40, 7, 4, 0.5, True)({"imgs": [picture] * 3})["imgs"]))
    assert all((clip == clip[0]).all() for clip in clips)
    assert len({clip.tobytes() for clip in clips}) > 8


def test_erasing_fills_one_box_of_a_clip_with_noise() -> None:
    recipe = Recipe(1, 1.0, augmentation="short_side:224-256+erasing:0.5")
    draws = [Draw(i, 3, i) for i in range(64)]
    video = torch.zeros(64, 2, 3, 24, 32)
    erased = erase(video.clone(), draws, recipe)
    changed = [i for i in range(64) if erased[i].any()]
    assert 16 < len(changed) < 48
    for i in changed:
        box = draw_box(recipe, draws[i], 24, 32)
        assert box and AREA[0] * 0.7 < box.height * box.width / (24 * 32) < AREA[1] * 1.3
        inside = erased[i, :, :, box.top : box.top + box.height, box.left : box.left + box.width]
        assert inside.count_nonzero() == inside.numel() == erased[i].count_nonzero()
        assert (inside[0] != inside[1]).any()  # each frame has its own noise
    # Draws depend on the clip alone, not on the batch.
    assert torch.equal(erase(video[32:].clone(), draws[32:], recipe), erased[32:])
    assert erase(video, draws, replace(recipe, augmentation="short_side:224-256")) is video


def test_published_is_the_same_pipeline_as_its_steps() -> None:
    views, recipe = Views(frames=4), Recipe(1, 1.0)
    steps = replace(recipe, augmentation="multi_scale+color_jitter+grey:0.2")
    assert mm_pipeline.fit_pipeline(views, 64, recipe) == mm_pipeline.fit_pipeline(views, 64, steps)


def test_a_composed_pipeline_follows_its_text() -> None:
    recipe = Recipe(1, 1.0, augmentation=f"{RAND}+short_side:224-256:bicubic+erasing:0.25")
    kinds = [str(step["type"]) for step in mm_pipeline.fit_pipeline(Views(frames=4), 32, recipe)]
    assert kinds[2:] == [
        "HarnessDecode", "HarnessRandAugmentClip", "HarnessShortSideCrop", "Flip", "FormatShape", "HarnessPackClip",
    ]  # fmt: skip
    crop = mm_pipeline.fit_pipeline(Views(frames=4), 32, recipe)[4]
    assert (crop["low"], crop["high"], crop["interpolation"]) == (32, 256 / 7, "bicubic")
    plain = mm_pipeline.fit_pipeline(Views(frames=4), 32, replace(recipe, flip=False))
    assert "Flip" not in [step["type"] for step in plain]


@pytest.mark.parametrize(
    "text",
    [
        f"{RAND}+short_side:224-256", "short_side:224-258:bicubic+erasing:0.25", "resized_crop:0.08-1+rand-m9-n2",
        "published", "none", "multi_scale_raw+color_jitter+grey:0.5",
        f"{RAND}+resized_crop:0.08-1:bicubic+erasing:0.25",
    ],
)  # fmt: skip
def test_a_clip_of_each_augmentation_has_the_size_of_the_input(text: str, rows: list[tuple[Path, int]]) -> None:
    pipeline = mm_pipeline.fit_pipeline(Views(frames=4), 32, Recipe(1, 1.0, augmentation=text))
    dataset = mm_pipeline.ListVideoDataset(list(rows[:1]), pipeline, 0)
    first, again, next_epoch = (dataset[Draw(0, epoch, 0)]["frames"] for epoch in (0, 0, 1))
    beyond = 64 if "bicubic" in text else 0  # bicubic resizing of floats exceeds the range, as in the original
    assert first.shape == (4, 3, 32, 32) and first.min() >= -beyond and first.max() <= 255 + beyond
    assert np.array_equal(first, again) and np.array_equal(first, next_epoch) is (text == "none")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has the step ''"), ("strong", "has the step 'strong'"), ("published+erasing:0.2", "'published'"),
        ("color_jitter", "has 0 crops, expected one of multi_scale"), ("multi_scale+resized_crop:0.1-1", "has 2 crops"),
        ("multi_scale+grey:0.2+grey:0.1", "has the step grey 2 times"),
        ("multi_scale+grey:2", "expected a probability"),
        ("multi_scale+erasing:0", "expected a probability"), ("erasing:0.2+multi_scale", "has steps after erasing"),
        ("short_side:224-256+color_jitter", "has the step color_jitter after short_side"),
        ("resized_crop:0.1-1:bilinear+grey:0.2", "has the step grey after resized_crop"),
        ("resized_crop:0.1-1:nearest", "expected the interpolation bilinear or bicubic"),
        ("multi_scale_raw+multi_scale", "has 2 crops"), ("multi_scale_raw:13", "has the step 'multi_scale_raw:13'"),
        ("short_side:256-224", "expected short_side:224-256"), ("short_side:100-256", "expected a short side from 224"),
        ("short_side:224-256:nearest", "expected the interpolation bilinear or bicubic"),
        ("resized_crop:0.08-8", "expected resized_crop:0.08-1"), ("resized_crop:x", "expected resized_crop:0.08-1"),
        ("multi_scale+rand-m7", "expected rand-mM-nN"), ("multi_scale+rand-m70-n4", "expected a magnitude m from 0"),
        ("multi_scale+rand-m7-n1.5", "expected rand-mM-nN"), ("multi_scale+rand-m7-n4-m5", "expected rand-mM-nN"),
    ],
)  # fmt: skip
def test_a_text_that_no_fit_can_use_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        Recipe(1, 1.0, augmentation=text)
    assert f"recipe.augmentation is {text!r}" in caught.value.message and problem in caught.value.message
    assert "short_side:MIN-MAX" in caught.value.hint


@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize("resize", ["floats", "floats_bicubic", "pillow", "pillow_input", "squash", "squash_bilinear"])
def test_an_evaluated_clip_has_the_size_of_the_input(resize: str, crops: int, rows: list[tuple[Path, int]]) -> None:
    if resize.startswith("squash") and crops == 3:
        with pytest.raises(UserError, match="a squashed frame is one square") as caught:
            Views(crops=crops, resize=resize)
        assert caught.value.hint == "Set --views crops=1."
        return
    views = Views(frames=2, crops=crops, resize=resize)
    dataset = mm_pipeline.ListVideoDataset(list(rows[:1]), mm_pipeline.eval_pipeline(views, 32), 0)
    frames = dataset[Draw(0, -1, 0)]["frames"]
    assert frames.shape == (2 * crops, 3, 32, 32) and (frames.dtype == np.uint8) != resize.startswith("floats")
    assert views.single == Views(frames=2) and str(views).endswith(f"-{resize}size")
