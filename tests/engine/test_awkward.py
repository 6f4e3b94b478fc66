"""Files that go wrong somewhere: each is scored or gives one clear line; none crashes, hangs or ends the run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.api import Backbone
from harness.data.lists.class_names import read_class_names
from harness.engine.video.exact_reader import SequentialVideo
from harness.engine.video.loaders import eval_loader, in_batches
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views

LIMIT_S = 20.0
READERS = ("decord", "exact")


@dataclass(frozen=True)
class Awkward:
    """A file and what its index says of it."""

    path: Path
    expect: str
    frames: int | None

    @property
    def must_fail(self) -> bool:
        return self.expect.startswith("clean error") and self.frames is None

    @property
    def must_decode(self) -> bool:
        """Whether any reader that follows FFmpeg must read it; AV1 depends on the build."""
        return self.expect.startswith("decodes") and "AV1" not in self.expect


# decord 0.6.0 refuses these, as the index says of all but the first: one pixel is below its resizer's least.
DECORD_REFUSES = {"-video-with-dash-.mp4", "tiny_16x16.mp4", "animated.gif", "negative_start_pts.mkv"}


@pytest.fixture(scope="module")
def files(shared: Path) -> list[Awkward]:
    root = shared / "videos"
    with (root / "INDEX.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("awkward/")]
    found = [Awkward(root / r["path"], r["expect"], int(r["frames"]) if r["frames"] else None) for r in rows]
    assert len(found) == 71
    assert sum(f.must_fail for f in found) >= 7 and sum(f.must_decode for f in found) >= 45
    return found


@pytest.fixture(scope="module")
def outcomes(files: list[Awkward]) -> dict[str, dict[Path, str]]:
    """Per reader and file the reason why it was not decoded, empty where it was, through the guarded loader."""
    found: dict[str, dict[Path, str]] = {}
    for reader in READERS:
        # A folder that is named like a video is not a video; `predict` refuses it, a list does not find it.
        regular = [f for f in files if f.path.is_file()]
        assert len(files) - len(regular) == 1
        rows: list[Any] = [(f.path, 0) for f in regular]
        compute = ComputeOptions(workers=2, decode_seconds=LIMIT_S)
        failed: dict[int, str] = {}
        count = 0
        for batch in eval_loader(rows, Views(frames=4, reader=reader), 32, in_batches(len(rows), 1), compute, 0):
            failed.update({row: clip.reason for row, clip in batch.failed.items()})
            count += len(batch.rows) + len(batch.failed)
            assert batch.frames is None or batch.frames.shape == (1, 4, 3, 32, 32)
        assert count == len(regular)
        reasons = {f.path: failed.get(i, "") for i, f in enumerate(regular)}
        found[reader] = {f.path: reasons.get(f.path, "is a folder, expected a video file") for f in files}
    return found


@pytest.mark.parametrize("reader", READERS)
def test_each_is_decoded_or_gives_one_line(outcomes: dict[str, dict[Path, str]], reader: str) -> None:
    for path, reason in outcomes[reader].items():
        assert "\n" not in reason and len(reason) < 250, path.name
        assert "limit of" not in reason, path.name
        assert "crashed" not in reason and "stopped" not in reason, path.name


@pytest.mark.parametrize("reader", READERS)
def test_what_must_fail_fails(files: list[Awkward], outcomes: dict[str, dict[Path, str]], reader: str) -> None:
    assert [f.path.name for f in files if f.must_fail and not outcomes[reader][f.path]] == []


def test_what_must_decode_decodes_sequentially(files: list[Awkward], outcomes: dict[str, dict[Path, str]]) -> None:
    refused = {f.path.name: outcomes["exact"][f.path] for f in files if f.must_decode and outcomes["exact"][f.path]}
    assert refused == {}


def test_what_must_decode_decodes_with_decord(files: list[Awkward], outcomes: dict[str, dict[Path, str]]) -> None:
    refused = {f.path.name for f in files if f.must_decode and outcomes["decord"][f.path]}
    assert refused == DECORD_REFUSES


# Numbers of `ffmpeg -fps_mode passthrough` (5.1.9) where the index, counted by a plain loop, ends at the first packet
# that does not decode or has the first of two video streams.
OF_FFMPEG = {"corrupted.mp4": 49, "nasa_13013.mp4": 390, "theora.ogv": 50, "truncated_faststart.mp4": 106}


@pytest.mark.slow
def test_the_exact_reader_counts_frames_as_ffmpeg(files: list[Awkward]) -> None:
    wrong = {}
    for file in files:
        if file.frames is not None and file.path.name != "very_long_36000_frames.mp4":
            found, expected = len(SequentialVideo(str(file.path))), OF_FFMPEG.get(file.path.name, file.frames)
            if found != expected:
                wrong[file.path.name] = (found, expected)
    assert wrong == {}


@pytest.mark.slow
def test_a_very_long_file_counts_too(files: list[Awkward]) -> None:
    file = next(f for f in files if f.path.name == "very_long_36000_frames.mp4")
    assert len(SequentialVideo(str(file.path))) == file.frames


@pytest.fixture
def predicted(tmp_path: Path) -> Callable[..., tuple[int, list[dict[str, Any]], str]]:
    names = tmp_path / "names.txt"
    names.write_text("running\nboxing\ndiving\nplaying guitar\nbiking\narchery\n")
    assert len(read_class_names(names)) == 6

    def run(videos: list[Path], reader: str) -> tuple[int, list[dict[str, Any]], str]:
        out, errors = io.StringIO(), io.StringIO()
        options = ["--labels", names, "--arch", "mini-clip", "--frames", "4", "--reader", reader, "--json"]
        limits = ["--workers", "1", "--decode-seconds", LIMIT_S, "--device", "cpu", "--quiet"]
        with redirect_stdout(out), redirect_stderr(errors):
            code = cli.main(["predict", *map(str, [*options, *limits, "--", *videos])])
        return code, json.loads(out.getvalue()), errors.getvalue()

    return run


@pytest.mark.parametrize("reader", READERS)
def test_predict_scores_each_or_says_why(
    files: list[Awkward], outcomes: dict[str, dict[Path, str]], reader: str, predicted: Callable[..., Any]
) -> None:
    """Issue 2, shown by 3: through the command, each file gives five classes or one line; the exit code says so."""
    videos = [f.path for f in files if f.path.is_file()]  # `predict` looks for videos in a folder
    code, rows, _ = predicted(videos, reader)
    assert code == 1
    assert [row["video"] for row in rows] == [str(path) for path in videos]
    for row, reason in zip(rows, (outcomes[reader][path] for path in videos), strict=True):
        assert row["problem"] == reason.rstrip("."), row["video"]
        assert len(row["classes"]) == (0 if reason else 5), row["video"]
        assert sum(p for _, p in row["classes"]) <= 1.0001


def test_predict_of_good_files_alone(
    files: list[Awkward], predicted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line of the decoders gets onto stderr, and the class names are encoded once for all files."""
    encoded: list[tuple[str, ...]] = []
    encode = Backbone.encode_texts

    def spy(self: Backbone, texts: tuple[str, ...], *arguments: Any) -> Any:
        encoded.append(texts)
        return encode(self, texts, *arguments)

    monkeypatch.setattr(Backbone, "encode_texts", spy)
    good = [f.path for f in files if f.path.name in ("one_frame.mp4", "名前 клип ñ.mp4", "comma, quote' semi;.mp4")]
    code, rows, errors = predicted(good, "decord")
    assert (code, len(rows), errors) == (0, 3, "")
    assert len(encoded) == 1
