"""Every awkward file gives the result that the index of the clips states: exact frames, or a reason on one line."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.engine.video.exact_reader import SequentialVideo
from harness.engine.video.loaders import eval_loader, in_batches
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views
from tests.conftest import CLASSES, write_clip
from tests.endurance.preloaded import Server
from tests.engine.loading import children

pytestmark = pytest.mark.slow
LONG = "very_long_36000_frames.mp4"
ODDLY_DECLARED = {"nasa_13013.mp4": (180, 320)}

# Files that decord 0.6.0 refuses although a sequential decode reads them, with the entry of the index that allows it.
DECORD_REFUSES = {
    "testsrc2_av1_10bit.mp4": "decodes only when the reader has an AV1 decoder",
    "av1.mp4": "decodes only with an AV1 decoder",
    "corrupted.mp4": "some frames may decode; must not crash or hang",
    "-video-with-dash-.mp4": "decodes; command lines must guard the leading dash",  # 1x1: too small for its resizer
    "truncated_faststart.mp4": "header promises 303 frames, about a third decode",
    "tiny_16x16.mp4": "decodes with most readers; decord 0.6.0 refuses it",
    "theora.ogv": "clean error or very few frames",
    "animated.gif": "decodes with FFmpeg/OpenCV readers; decord 0.6.0 refuses it",
    "negative_start_pts.mkv": "decodes sequentially; decord 0.6.0 fails to seek",
}


@dataclass(frozen=True)
class Row:
    """One row of the index: `frames` is None for files without a decodable frame."""

    path: Path
    expect: str
    frames: int | None
    height: int | None
    width: int | None

    @property
    def name(self) -> str:
        return self.path.name


@pytest.fixture(scope="module")
def index(shared: Path) -> list[Row]:
    def number(text: str) -> int | None:
        return int(text) if text and int(text) >= 0 else None

    with (shared / "videos" / "INDEX.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("awkward/")]
    found = [
        Row(shared / "videos" / r["path"], r["expect"], number(r["frames"]), number(r["height"]), number(r["width"]))
        for r in rows
    ]
    assert len(found) == 71 and sum(row.frames is None for row in found) == 8
    for row in found:
        assert row.expect.startswith("clean error") >= (row.frames is None), row.name
    return found


def sequential(path: Path, wanted: set[int]) -> tuple[dict[int, Any], int]:
    """The wanted RGB frames of a plain decode from the first frame on, and the number of frames."""
    import av

    kept, count = {}, 0
    with av.open(str(path), metadata_errors="ignore") as container:
        try:
            for frame in container.decode(container.streams.video[0]):
                if count in wanted:
                    image = frame.to_ndarray(format="rgb24")
                    kept[count] = np.rot90(image, (getattr(frame, "rotation", 0) or 0) // 90)
                count += 1
        except av.error.FFmpegError:
            assert count
    return kept, count


def test_exact_frames_bit_for_bit(index: list[Row]) -> None:
    """The reader `exact` against an independent sequential decode, at the published indices and at both ends."""
    wrong, compared = {}, 0
    for row in index:
        if row.frames is None:
            continue
        video = SequentialVideo(str(row.path))
        count = len(video)
        indices = sorted({(2 * i + 1) * count // 32 for i in range(16)} | {0, count - 1})
        frames = video.get_batch(np.array(indices)).asnumpy()
        expected, decoded = sequential(row.path, set(indices))
        compared += len(indices)
        shape = frames.shape[1:]
        turned = ODDLY_DECLARED.get(row.name, (row.height, row.width))
        if count != row.frames or decoded != row.frames:
            wrong[row.name] = f"{count} frames, a plain decode {decoded}, the index {row.frames}"
        elif shape not in ((*turned, 3), (*turned[::-1], 3)) or frames.dtype != np.uint8:
            wrong[row.name] = f"shape {shape}"
        elif any(not np.array_equal(frames[k], expected[number]) for k, number in enumerate(indices)):
            wrong[row.name] = "other pixels"
    assert wrong == {} and compared > 600


def test_a_file_that_cannot_be_decoded_is_one_line(index: list[Row]) -> None:
    for row in index:
        if row.frames is None:
            with pytest.raises(Exception) as caught:
                SequentialVideo(str(row.path))
            assert not isinstance(caught.value, AssertionError), row.name


@pytest.mark.parametrize("reader", ["decord", "exact"])
def test_a_run_scores_each_or_names_it(server: Server, index: list[Row], reader: str, tmp_path: Path) -> None:
    """A dataset of the awkward files: all are in the predictions, and those that do not decode are in the record."""
    for row in index:
        # By content, because some files are copies, which may not be under two classes.
        number = 0 if row.path.is_dir() else hashlib.sha256(row.path.read_bytes()).digest()[0]
        folder = tmp_path / "files" / "val" / CLASSES[number % 4]
        folder.mkdir(parents=True, exist_ok=True)
        if row.path.is_dir():
            (folder / row.name).mkdir()
        else:
            shutil.copy(row.path, folder / row.name)
    for name in CLASSES:
        write_clip(tmp_path / "files" / "train" / name / "a.avi", name)
    done = server.run(
        "run", "--method", "vanilla_clip", "--protocol", "b2n", "--dataset", tmp_path / "files", "--arch", "mini-clip",
        "--views", "frames=4", "--views", f"reader={reader}", "--runs", tmp_path / "runs", "--cache", tmp_path / "c",
        "--workers", "2", "--device", "cpu", "--quiet", "--no-report",
    )  # fmt: skip
    assert done.code == 0, done.err
    undecodable: dict[str, str] = {}
    scored = 0
    for path in tmp_path.rglob("*.record.json"):
        record = json.loads(path.read_text())
        if record["measurement"]["protocol"]["part"] in ("base", "novel"):
            evaluation = record["measurement"]["evaluation"]
            assert evaluation["evaluated"] == evaluation["list"]["n"]
            scored += evaluation["list"]["n"]
            undecodable |= {Path(item["video"]).name: item["reason"] for item in record["undecodable"]}
    assert scored == 71 - 1  # a directory is not a file
    broken = {row.name for row in index if row.frames is None and not row.path.is_dir()}
    refused = {name for name in DECORD_REFUSES if reader == "decord"}
    assert set(undecodable) == broken | refused
    assert all("\n" not in reason and 0 < len(reason) < 250 for reason in undecodable.values())
    assert all({row.name: row.expect for row in index}[name] == why for name, why in DECORD_REFUSES.items())


@pytest.mark.parametrize("reader", ["decord", "exact"])
def test_long_and_large_files_stay_quick_and_small(index: list[Row], reader: str, measured: dict[str, Any]) -> None:
    """36,000 frames and 4K: seconds, and the memory of the worker, which it keeps for all later clips."""
    from tests.endurance.test_flat import resident_mib

    for name in (LONG, "large_3840x2160_4frames.mp4"):
        path = next(row.path for row in index if row.name == name)
        rows: list[Any] = [(path, 0), (path, 0)]
        started, peak = time.monotonic(), 0.0
        views = Views(frames=16, reader=reader)
        for batch in eval_loader(
            rows, views, 224, in_batches(len(rows), 1), ComputeOptions(device="cpu", workers=1), 0
        ):
            assert batch.failed == {}
            peak = max([peak, *map(resident_mib, children())])
        seconds = (time.monotonic() - started) / 2
        measured[f"{name}, {reader}"] = {"seconds_a_clip": round(seconds, 2), "worker_rss_mib": round(peak, 1)}
        assert seconds < 30 and peak - resident_mib() < 800
