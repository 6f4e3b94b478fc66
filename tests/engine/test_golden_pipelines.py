"""Pixels of the engine's pipelines against those of EZ-CLIP, Vita-CLIP, ST-Adapter and ViCLIP."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import TRANSFORMS
from numpy.typing import NDArray

from harness.engine.video.augment import ShortSideCrop, scaled_size
from harness.engine.video.dense_indices import DenseClip, evaluation_indices, training_indices
from harness.engine.video.frames import normalise
from harness.engine.video.mm_pipeline import eval_pipeline, fit_pipeline
from harness.spec import Recipe, Views
from harness.spec.dense import DenseSampling
from tests.engine import golden
from tests.methods.test_golden_viclip import viclip

Frames = NDArray[np.uint8]


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def pixels(steps: list[dict], frames: Frames, normalize: str) -> torch.Tensor:
    """Frames (N, 3, H, W) after the pixel transforms of a pipeline and the normalisation of the engine.

    The flip of mmaction2 draws with NumPy; the originals draw with Python's generator at the same point.
    """
    results: dict = {"imgs": list(frames), "img_shape": frames.shape[1:3], "original_shape": frames.shape[1:3]}
    kinds = [step["type"] for step in steps]
    for step in steps[kinds.index("HarnessDecode") + 1 : kinds.index("FormatShape")]:
        if step["type"] == "Flip":
            if random.random() < step["flip_ratio"]:
                results["imgs"] = [frame[:, ::-1] for frame in results["imgs"]]
        else:
            results = TRANSFORMS.build(step)(results)
    clip = np.ascontiguousarray(np.stack(results["imgs"]).transpose(0, 3, 1, 2))
    return normalise(torch.from_numpy(clip), Views(normalize=normalize), torch.device("cpu"))


# --- EZ-CLIP


def test_evaluation_of_ez_clip(shared: Path) -> None:
    data, facts = golden.arrays(shared, "ezclip_pipeline"), golden.facts(shared, "ezclip_pipeline")
    assert facts["cases"]["val_size28"]["short_side"] == 32
    steps = eval_pipeline(Views(frames=4, resize="pillow", normalize="clip"), 28)
    golden.close(pixels(steps, data["raw"], "clip"), data["val_size28"], 1e-6, "EZ-CLIP evaluation")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_training_of_ez_clip(shared: Path, number: int) -> None:
    """The colours depend on the versions of Pillow and torchvision; those of the references are installed here."""
    data = golden.arrays(shared, "ezclip_pipeline")
    recipe = Recipe(1, 1.0, augmentation="multi_scale_raw+color_jitter+grey:0.2")
    seed(number)
    found = pixels(fit_pipeline(Views(frames=4), 28, recipe), data["raw"], "clip")
    golden.close(found, data[f"train_size28_seed{number}"], 1e-6, f"EZ-CLIP training {number}")


# --- Vita-CLIP


@pytest.mark.parametrize(("case", "crops", "clips"), [("eval_s1_t1", 1, 1), ("eval_s1_t3", 1, 3), ("eval_s3_t1", 3, 1)])
def test_evaluation_of_vita_clip(shared: Path, case: str, crops: int, clips: int) -> None:
    data, about = golden.arrays(shared, "vitaclip_pipeline"), golden.facts(shared, "vitaclip_pipeline")["cases"][case]
    assert (about["spatial_views"], about["temporal_views"]) == (crops, clips)
    frames, stride, size = about["frames"], about["stride"], about["size"]
    clip = DenseClip(len(data["raw"]), frames, stride)
    indices = evaluation_indices(DenseSampling("dense_hold", stride), clip, clips).reshape(-1)
    views = Views(frames=frames, clips=clips, crops=crops, sampling=f"dense_hold:{stride}", resize="floats")
    found = pixels(eval_pipeline(views, size), data["raw"][indices], "clip")
    found = torch.unflatten(found, 0, (crops * clips, frames)).transpose(1, 2)
    if crops == 3:  # mmaction2's order is both ends, then the centre
        found = found[[0, 2, 1]]
    golden.close(found.squeeze(0), data[case], 1e-5, f"Vita-CLIP {case}")


@pytest.mark.parametrize("number", [0, 1])
def test_training_of_vita_clip(shared: Path, number: int) -> None:
    data = golden.arrays(shared, "vitaclip_pipeline")
    recipe = Recipe(1, 1.0, augmentation="resized_crop:0.08-1:bilinear", flip=False)
    seed(number)
    indices = training_indices(DenseSampling("dense_hold", 3), DenseClip(len(data["raw"]), 4, 3))
    found = pixels(fit_pipeline(Views(frames=4), 32, recipe), data["raw"][indices], "clip")
    golden.close(found.transpose(0, 1), data[f"train_seed{number}"], 1e-5, f"Vita-CLIP training {number}")


def test_dense_clips_are_those_of_vita_clip(shared: Path) -> None:
    facts, sampling = golden.facts(shared, "vitaclip_pipeline"), DenseSampling("dense_hold", 16)
    for frames, row in facts["index_table"].items():
        clip = DenseClip(int(frames), 8, 16)
        for views in (1, 3, 4):
            expected = row[f"eval_T8_r16_views{views}"]
            assert evaluation_indices(sampling, clip, views).tolist() == expected, (frames, views)
        for number in (0, 1):
            np.random.seed(number)
            assert training_indices(sampling, clip).tolist() == row[f"train_dense_seed{number}"], (frames, number)


# --- ST-Adapter


def coordinates(height: int, width: int) -> Frames:
    """A picture that holds its own coordinates, so that a crop shows where it was cut."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return np.stack([rows % 256, columns % 256, rows // 256 * 2 + columns // 256], axis=-1).astype(np.uint8)


def test_training_crops_of_st_adapter(shared: Path) -> None:
    for row in golden.facts(shared, "stadapter_forward")["sampling"]["train_crops"]:
        np.random.seed(row["numpy_seed"])
        height, width = scaled_size(row["h"], row["w"], round(float(np.random.uniform(224, 258))))
        assert [height, width] == row["scaled_hw"], row
        left, top, right, bottom = row["crop_xyxy"]
        picture, short = coordinates(height, width), min(height, width)
        np.random.seed(row["numpy_seed"])
        cropped = ShortSideCrop(224, short, short, "bicubic")({"imgs": [picture]})["imgs"][0]
        np.testing.assert_array_equal(cropped, picture[top:bottom, left:right].astype(np.float32))


def test_crops_of_the_evaluation_of_st_adapter(shared: Path) -> None:
    facts = golden.facts(shared, "stadapter_forward")["sampling"]
    assert facts["interpolation"].startswith("bicubic")
    for row in facts["test_crops"]:
        height, width = row["scaled_hw"]
        assert scaled_size(row["h"], row["w"], 224) == (height, width)
        picture = coordinates(height, width)  # of its final size already, so that resizing does not change it
        step = eval_pipeline(Views(crops=row["views"], resize="floats_bicubic"), 224)[3]
        assert step["interpolation"] == "bicubic"
        crops = TRANSFORMS.build(step)({"imgs": [picture]})["imgs"]
        ours = [crops[i] for i in ((0, 2, 1) if row["views"] == 3 else (0,))]
        for crop, (left, top) in zip(ours, row["crop_xy"], strict=True):
            np.testing.assert_array_equal(crop, picture[top : top + 224, left : left + 224])


# --- ViCLIP


@pytest.mark.parametrize("name", ["landscape", "portrait"])
@pytest.mark.parametrize(
    ("resize", "key"), [("squash", "plain"), ("squash_antialias", "antialias"), ("squash_bilinear", "demo")]
)
@torch.no_grad()
def test_preprocessing_of_viclip(shared: Path, name: str, resize: str, key: str) -> None:
    data = golden.arrays(shared, "viclip_forward")
    steps, raw = eval_pipeline(Views(resize=resize), 64), data[f"preprocess/{name}/raw"]
    found = pixels(steps, raw, "imagenet")
    part = "demo_sub" if key == "demo" else f"training_repo_{key}_sub"
    # A grey level, by which libraries may differ in a bicubic resize of bytes.
    level = 1.01 / 255 / 0.224 if key != "demo" else 1e-5
    golden.close(found[:, :, ::5, ::7], data[f"preprocess/{name}/{part}"], level, part)
    if key == "demo":
        features = viclip(shared).encode_video(found[None])
        golden.close(features, data[f"preprocess/{name}/demo_video_features"], 2e-5, "features of the demonstration")
        return
    squashed = TRANSFORMS.build(steps[3])({"imgs": list(raw[[0, 4]])})["imgs"]
    difference = np.abs(
        np.stack(squashed).transpose(0, 3, 1, 2).astype(int) - data[f"preprocess/{name}/training_repo_resized_{key}"]
    )
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01
