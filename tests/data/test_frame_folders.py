"""Folders of extracted frames as clips of a dataset: patterns, order, damage, content, and equal predictions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.base.errors import UserError
from harness.data.check import check_data
from harness.data.files.fingerprints import file_fingerprint
from harness.data.files.frame_folder import FrameFolderError, clip_state, frame_files, is_frame_folder
from harness.data.folders.dataset import FolderDataset
from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw
from harness.engine.video.decode import Undecodable, decode
from harness.engine.video.decode_check import compare_readers
from harness.engine.video.frame_folder_reader import FrameFolder
from harness.engine.video.transforms import centre_indices
from harness.spec import Views
from tests.conftest import in_process
from tests.engine.numbered import paint, read


def frames(folder: Path, numbers: range, pattern: str = "img_{:05}.jpg", first: int = 1) -> Path:
    """Write numbered frames into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for position, number in enumerate(numbers):
        cv2.imwrite(str(folder / pattern.format(position + first)), paint(number))
    return folder


@pytest.mark.parametrize(
    ("pattern", "first"),
    [("img_{:05}.jpg", 1), ("{:06}.png", 0), ("frame{:03}.JPG", 7), ("v2_image-{}.bmp", 8), ("a b_1_{:04}.webp", 1)],
)
def test_frames_are_read_in_the_order_of_their_numbers(tmp_path: Path, pattern: str, first: int) -> None:
    clip = frames(tmp_path / "clip", range(12), pattern, first)
    (clip / "flow_x_00001.jpg").write_bytes(b"flow")
    (clip / "notes.txt").write_text("no frame")
    assert is_frame_folder(clip)
    video = FrameFolder(clip)
    assert len(video) == 12
    assert [read(image) for image in video.get_batch(np.array([11, 0, 5, 5])).asnumpy()] == [11, 0, 5, 5]


@pytest.mark.parametrize("reader", ["decord", "exact"])
def test_the_indices_are_those_of_videos(tmp_path: Path, reader: str) -> None:
    clip = frames(tmp_path / "clip", range(50))
    pipeline = mm_pipeline.eval_pipeline(Views(frames=8, reader=reader), 32)
    steps = [mm_pipeline.TRANSFORMS.build(step) for step in pipeline[:3]]
    results = {"filename": str(clip), "label": 0, "start_index": 0}
    for step in steps:
        results = step(results)
    assert [read(image) for image in results["imgs"]] == centre_indices(50, 8).tolist()


def reason(clip: Path) -> str:
    pipeline = mm_pipeline.eval_pipeline(Views(frames=8, reader="exact"), 32)
    outcome = decode(mm_pipeline.ListVideoDataset([(clip, 0)], pipeline, 0), Draw(0))
    assert isinstance(outcome, Undecodable) and len(outcome.sha256) == 64
    return outcome.reason


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    clip = frames(tmp_path / "gap", range(8))
    (clip / "img_00003.jpg").unlink()
    assert reason(clip) == "frames are missing between img_00002.jpg and img_00004.jpg"
    assert compare_readers(clip).problem == "frames are missing between img_00002.jpg and img_00004.jpg"
    clip = frames(frames(tmp_path / "two", range(3)), range(3), "other_{:05}.jpg")
    with pytest.raises(FrameFolderError, match="frames of 2 patterns"):
        frame_files(clip)
    clip = frames(tmp_path / "twice", range(3))
    shutil.copy(clip / "img_00001.jpg", clip / "img_1.jpg")
    with pytest.raises(FrameFolderError, match="have the same number"):
        frame_files(clip)
    clip = frames(tmp_path / "cut", range(8))
    whole = (clip / "img_00002.jpg").read_bytes()
    (clip / "img_00002.jpg").write_bytes(whole[: len(whole) // 2])
    assert reason(clip) == "ValueError: the frame img_00002.jpg is cut off"
    (clip / "img_00002.jpg").write_bytes(b"")
    assert "img_00002.jpg" in reason(clip)


def test_every_second_frame_is_a_clip(tmp_path: Path) -> None:
    clip = frames(tmp_path / "clip", range(9))
    for number in range(2, 9, 2):
        (clip / f"img_{number:05}.jpg").unlink()
    video = FrameFolder(clip)
    assert [read(image) for image in video.get_batch(np.arange(5)).asnumpy()] == [0, 2, 4, 6, 8]


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    clip = frames(tmp_path / "clip", range(3))
    cv2.imwrite(str(clip / "img_00003.jpg"), paint(2, 192, 128))
    images = FrameFolder(clip).get_batch(np.array([2])).asnumpy()
    assert images.shape == (1, 64, 96, 3) and read(images[0]) == 2


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of five frame folders."""
    root = tmp_path_factory.mktemp("frames") / "frames"
    for label, name in enumerate(("circle", "square")):
        for clip in range(5):
            frames(root / name / f"clip_{clip}.v1", range(20 * label + clip, 20 * label + clip + 6))
    return root


def test_a_dataset_of_frame_folders(dataset: Path) -> None:
    opened = FolderDataset(dataset)
    train, val = opened.list("train"), opened.list("val")
    assert len(train) + len(val) == 10 and "circle/clip_0.v1" in {*train.paths, *val.paths}
    located = opened.locate(val.paths[0])
    assert located is not None and located.is_dir()
    report = check_data(opened, compare_readers)
    assert report.complete and report.files == 10 and not report.disagree and not report.undecodable
    assert "10 frame folders" in report.text()


def test_a_table_may_name_frame_folders(dataset: Path) -> None:
    table = dataset.parent / "clips.csv"
    rows = [f"frames/{clip.relative_to(dataset)},{clip.parent.name}" for clip in sorted(dataset.glob("*/*"))]
    table.write_text("path,class\n" + "\n".join(rows) + "\n")
    opened = FolderDataset(table)
    assert all(opened.locate(path) for path in opened.list("val").paths)


def test_a_class_folder_of_frames_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        frames(tmp_path / name, range(3))
    with pytest.raises(UserError, match="holds frames, expected videos or one folder of frames for each") as raised:
        FolderDataset(tmp_path).list("train")
    assert "a/CLIP/img_00001.jpg" in str(raised.value)


def test_the_content_of_a_frame_folder(tmp_path: Path) -> None:
    """A frame that is changed, renamed, added or removed changes fingerprint and state."""
    clip = frames(tmp_path / "clip", range(9))
    seen = {(file_fingerprint(clip), clip_state(clip)[0])}
    cv2.imwrite(str(clip / "img_00005.jpg"), paint(77))
    seen.add((file_fingerprint(clip), clip_state(clip)[0]))
    (clip / "img_00009.jpg").unlink()
    seen.add((file_fingerprint(clip), clip_state(clip)[0]))
    assert len(seen) == 3
    fingerprint = file_fingerprint(clip)
    (clip / "img_00001.jpg").rename(clip / "img_00000.jpg")
    assert file_fingerprint(clip) != fingerprint


@pytest.mark.slow
def test_run_and_predict(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the commands; `reader` of the record is the reader of the views."""
    machine = ["--device", "cpu", "--workers", "1"]
    few = ["--views", "clips=1", "--views", "crops=1", "--views", "sampling=centre", *machine]
    arguments = ["--method", "vanilla_clip", "--protocol", "supervised", "--dataset", dataset, "--arch", "mini-clip"]
    assert in_process("run", *arguments, *few, "--runs", tmp_path / "runs", "--no-report", "--quiet") == 0
    record = json.loads(next((tmp_path / "runs").rglob("*.record.json")).read_bytes())
    assert record["measurement"]["evaluation"]["views"]["reader"] == "exact"
    assert record["measurement"]["evaluation"]["evaluated"] == 4
    labels = tmp_path / "labels.txt"
    labels.write_text("circle\nsquare\n")
    capsys.readouterr()
    clip = next(dataset.glob("circle/*"))
    assert in_process("predict", clip, "--labels", labels, "--arch", "mini-clip", *machine, "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["problem"] == ""
