"""The video pipeline against the reference: indices, decoded frames, resized and cropped bytes, normalised clips."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmaction.registry import TRANSFORMS

from harness.engine.video import mm_pipeline
from harness.engine.video.frames import normalise
from harness.engine.video.transforms import centre_indices, train_indices
from harness.spec import Recipe, Views
from tests.engine import golden

NAME = "video_pipeline"
FILES = {
    "demo_mp4": "kinetics400_like/arm wrestling/arm_wrestling_demo.mp4",
    "test_avi": "ucf101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
}
VIDEOS = sorted(FILES)
CPU = torch.device("cpu")


@pytest.fixture
def file(shared: Path, request: pytest.FixtureRequest) -> Path:
    """The real video behind a reference, checked by its sha256."""
    video = request.getfixturevalue("video")
    path = shared / "videos" / FILES[video]
    if not path.is_file():
        pytest.skip(f"needs {path}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == golden.facts(shared, NAME)["videos"][video]["file_sha256"]
    return path


def run(steps: list[dict[str, Any]], results: dict[str, Any]) -> dict[str, Any]:
    for step in steps:
        results = TRANSFORMS.build(step)(results)
    return results


def decoded(steps: list[dict[str, Any]], file: Path) -> dict[str, Any]:
    """The result of a whole pipeline on a file."""
    start = {"filename": str(file), "label": 3, "start_index": 0, "modality": "RGB"}
    return run(steps, start)


def from_frames(steps: list[dict[str, Any]], frames: np.ndarray) -> dict[str, Any]:
    """The result of a pipeline from behind its decoder on."""
    behind = [step["type"] for step in steps].index("HarnessDecode") + 1
    shape = frames[0].shape[:2]
    start = {
        "imgs": list(frames), "original_shape": shape, "img_shape": shape, "label": 3, "modality": "RGB",
        "clip_len": 1, "num_clips": len(frames),
    }  # fmt: skip
    return run(steps[behind:], start)


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def last(pixels: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) as (N, H, W, 3), the order of the stored bytes."""
    return pixels.transpose(0, 2, 3, 1)


def test_index_table(shared: Path) -> None:
    """Indices for 25 lengths from 1 to 1000 frames and 8, 16, 32 frames a view, by our functions and by mmaction2."""
    table = golden.facts(shared, NAME)["index_table"]
    assert len(table["entries"]) == 75
    for key, entry in table["entries"].items():
        frames, total = (int(part[1:]) for part in key.split("_"))
        assert centre_indices(total, frames).tolist() == entry["val"], key
        np.random.seed(table["numpy_seed"])
        assert train_indices(total, frames).tolist() == entry["train"], key
        start = {"total_frames": total, "start_index": 0}
        single = mm_pipeline.eval_pipeline(Views(frames=frames), 64)[1]
        assert run([single], dict(start))["frame_inds"].tolist() == entry["val"], key
        np.random.seed(table["numpy_seed"])
        training = mm_pipeline.fit_pipeline(Views(frames=frames), 64, Recipe(1, 1.0))[1]
        assert run([training], dict(start))["frame_inds"].tolist() == entry["train"], key
        np.random.seed(table["numpy_seed"])
        several = mm_pipeline.eval_pipeline(Views(frames=frames, clips=4, crops=3, sampling="random"), 64)[1]
        assert run([several], dict(start))["frame_inds"].tolist() == entry["multiview4"], key


@pytest.mark.parametrize("video", VIDEOS)
def test_decoded_frames_and_indices(shared: Path, video: str, file: Path) -> None:
    reference = golden.facts(shared, NAME)["videos"][video]
    steps = mm_pipeline.eval_pipeline(Views(frames=8), 64)
    results = decoded(steps[:3], file)
    assert results["total_frames"] == reference["total_frames"]
    assert np.array_equal(np.stack(results["imgs"]), golden.arrays(shared, NAME)[f"{video}/raw_T8"])
    for key, row in reference["frame_indices"].items():
        frames = int(key[1:])
        assert centre_indices(results["total_frames"], frames).tolist() == row["val"]
        for seed, indices in row["train"].items():
            np.random.seed(int(seed))
            assert train_indices(results["total_frames"], frames).tolist() == indices
        for seed, indices in row["multiview4"].items():
            np.random.seed(int(seed))
            drawn = [train_indices(results["total_frames"], frames) for _ in range(4)]
            assert np.concatenate(drawn).tolist() == indices


@pytest.mark.parametrize("size", [64, 224])
@pytest.mark.parametrize("video", VIDEOS)
def test_single_view(shared: Path, video: str, size: int) -> None:
    data, key = golden.arrays(shared, NAME), f"val_T8_size{size}"
    reference = golden.facts(shared, NAME)["videos"][video]["val"][f"T8_size{size}"]
    steps = mm_pipeline.eval_pipeline(Views(frames=8), size)
    raw = data[f"{video}/raw_T8"]
    resized = np.stack(from_frames([*steps[:4]], raw)["imgs"])
    assert resized.shape[1:3] == tuple(reference["resized_hw"])
    assert sha256(resized) == reference["sha256_resized"]
    cropped = from_frames(steps, raw)["frames"]
    assert sha256(last(cropped)) == reference["sha256_cropped"]
    clip = normalise(torch.from_numpy(cropped), Views(), CPU).numpy()
    if size == 64:
        assert np.array_equal(last(cropped), data[f"{video}/{key}/cropped"])
        golden.close(clip, data[f"{video}/{key}/output"], 1e-6, f"{video} {size} clip")
    else:
        assert np.array_equal(last(cropped)[:, ::8, ::8], data[f"{video}/{key}/cropped_every8"])
        golden.close(clip[:, :, ::8, ::8], data[f"{video}/{key}/output_every8"], 1e-6, f"{video} {size} clip")


@pytest.mark.parametrize(("frames", "size"), [(8, 64), (16, 224)])
@pytest.mark.parametrize("video", VIDEOS)
def test_four_clips_and_three_crops(shared: Path, video: str, frames: int, size: int, file: Path) -> None:
    reference = golden.facts(shared, NAME)["videos"][video]["multiview"][f"T{frames}_size{size}"]
    data, key = golden.arrays(shared, NAME), f"{video}/views4x3_T{frames}_size{size}"
    np.random.seed(reference["numpy_seed"])
    steps = mm_pipeline.eval_pipeline(Views(frames=frames, clips=4, crops=3, sampling="random"), size)
    cropped = decoded(steps, file)["frames"]
    assert cropped.shape == (12 * frames, 3, size, size)
    assert sha256(last(cropped)) == reference["sha256_cropped"]
    clip = normalise(torch.from_numpy(cropped), Views(), CPU).numpy()
    if size == 224:
        golden.close(clip[:, :, ::16, ::16], data[f"{key}/output_every16"], 1e-6, f"{video} views")
    means = clip.reshape(12, -1).mean(axis=1, dtype=np.float64)
    golden.close(means, reference["mean_per_view"], 1e-5, f"{video} mean of each view")


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("video", VIDEOS)
def test_training_view(shared: Path, video: str, seed: int, file: Path) -> None:
    """The training pipeline with its colour jitter left out and the grey coin decided, as in the reference."""
    reference = golden.facts(shared, NAME)["videos"][video]["train"][f"T8_size64_seed{seed}"]
    steps = [s for s in mm_pipeline.fit_pipeline(Views(frames=8), 64, Recipe(1, 1.0)) if "Jitter" not in s["type"]]
    grey = next(s for s in steps if s["type"] == "HarnessClipGrayScale")
    grey["probability"] = float(reference["grayscale"])
    random.seed(reference["python_and_numpy_seed"])
    np.random.seed(reference["python_and_numpy_seed"])
    pixels = last(decoded(steps, file)["frames"])
    assert sha256(pixels) == reference["sha256_uint8"]
    key = f"{video}/train_T8_size64_seed{seed}/uint8_before_normalize"
    if key in golden.arrays(shared, NAME):
        assert np.array_equal(pixels, golden.arrays(shared, NAME)[key])


@pytest.mark.parametrize("case", ["input64_h73_w97", "input64_h73_w128", "input224_h256_w340", "input224_h341_w256"])
def test_reachable_crops(shared: Path, case: str) -> None:
    """Many draws of the training crop reach exactly the boxes of the reference."""
    size, height, width = (int(part.lstrip("inputhw")) for part in case.split("_"))
    step = next(s for s in mm_pipeline.fit_pipeline(Views(), size, Recipe(1, 1.0)) if s["type"] == "MultiScaleCrop")
    crop = TRANSFORMS.build(step)
    frame = np.zeros((height, width, 3), np.uint8)
    random.seed(0)
    boxes = set()
    for _ in range(3000):
        results = crop({"imgs": [frame], "img_shape": (height, width), "original_shape": (height, width)})
        boxes.add(tuple(int(v) for v in results["crop_bbox"]))
    assert boxes == {tuple(b) for b in golden.facts(shared, NAME)["multi_scale_crop"][case]["all_boxes_xyxy"]}


@pytest.mark.parametrize("case", ["h101_w67", "h67_w101", "h100_w100", "h48_w81", "h90_w300"])
def test_awkward_sizes(shared: Path, case: str) -> None:
    data = golden.arrays(shared, NAME)
    frame = data[f"synthetic/{case}/input"][None]
    single = mm_pipeline.eval_pipeline(Views(frames=1), 64)
    assert np.array_equal(np.stack(from_frames(single[:4], frame)["imgs"])[0], data[f"synthetic/{case}/resized73"])
    assert np.array_equal(last(from_frames(single, frame)["frames"])[0], data[f"synthetic/{case}/center64"])
    crops = mm_pipeline.eval_pipeline(Views(frames=1, clips=2, crops=3, sampling="uniform"), 64)
    assert np.array_equal(np.stack(from_frames(crops[:4], frame)["imgs"])[0], data[f"synthetic/{case}/resized64"])
    assert np.array_equal(last(from_frames(crops, frame)["frames"]), data[f"synthetic/{case}/three_crop64"])
    squeezed = mm_pipeline.fit_pipeline(Views(), 64, Recipe(1, 1.0))[5] | {"scale": (50, 40)}
    shape = frame[0].shape[:2]
    stretched = run([squeezed], {"imgs": [frame[0]], "img_shape": shape, "original_shape": shape})
    assert np.array_equal(stretched["imgs"][0], data[f"synthetic/{case}/resized_w50_h40"])
