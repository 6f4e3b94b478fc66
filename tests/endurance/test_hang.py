"""A video on which the decoder computes without end is given up after the limit, named and counted; a file that is not
regular is refused.

The decoder is replaced by one that does not return, because no published file makes today's decoders hang.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from harness.api import LabelSet
from harness.base.files import file_sha256
from harness.engine.features.cache import FeatureCache
from harness.engine.video import mm_pipeline
from harness.engine.video.decode import Undecodable
from harness.engine.video.decode_check import DecodeWorker
from harness.engine.video.loaders import Row
from harness.engine.video.worker_server import worker_server
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views
from tests.conftest import CLASSES
from tests.endurance.conftest import one_error, run_arguments
from tests.endurance.preloaded import Server
from tests.engine.conftest import CPU, run_fit, score, tiny_method

LIMIT = 0.5
MARK = b"this video makes a decoder compute without end"


def hangs_on_the_mark(self: Any, filename: str) -> Any:
    """Stands for `_get_video_reader` of mmaction2's transforms."""
    while Path(filename).read_bytes().endswith(MARK):
        attempts = Path(filename).with_suffix(".attempts")
        if not attempts.exists() or attempts.stat().st_mtime < time.time() - 0.1:
            with attempts.open("a") as file:
                file.write("x")
        while True:
            pass
    import decord

    return decord.VideoReader(filename, num_threads=1)


@pytest.fixture
def hanging(tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A video that the decoder of the workers does not return from."""
    path = tmp_path / "hangs.avi"
    path.write_bytes((tiny_dataset / CLASSES[1] / "clip0.avi").read_bytes() + MARK)
    for reader in (mm_pipeline.HarnessDecordInit, mm_pipeline.HarnessExactInit):
        monkeypatch.setattr(reader, "_get_video_reader", hangs_on_the_mark)
    worker_server().close()  # the next server has the decoder of this test
    yield path
    worker_server().close()


def attempts(path: Path) -> int:
    """How often a decoder hung on a file."""
    return path.with_suffix(".attempts").stat().st_size


def rows_with(video: Path, dataset: Path) -> list[Row]:
    """Eight clips, two a class, the third of them the video."""
    rows: list[Row] = [(dataset / name / f"clip{i}.avi", label) for label, name in enumerate(CLASSES) for i in (0, 1)]
    rows[2] = (video, rows[2][1])
    return rows


@pytest.mark.parametrize(("reader", "cached"), [("decord", True), ("exact", False)])
def test_an_eval_names_and_counts_it(
    hanging: Path, tiny_dataset: Path, tmp_path: Path, reader: str, cached: bool
) -> None:
    compute = ComputeOptions(device="cpu", workers=1, decode_seconds=LIMIT, quiet=True)
    cache = FeatureCache(tmp_path / "cache") if cached else None
    started = time.monotonic()
    method, views = tiny_method("vanilla_clip"), Views(frames=2, reader=reader)
    scores = score(method, rows_with(hanging, tiny_dataset), LabelSet(CLASSES), views, CPU, compute, cache=cache)
    assert 2 * LIMIT < time.monotonic() - started < 2 * LIMIT + 20
    reason = "the decoder exceeded its limit of 0.5 s of CPU time"
    assert scores.failed == {2: Undecodable(reason, file_sha256(hanging))} and attempts(hanging) == 2
    assert (scores.ids[2] == -1).all() and (scores.ids[[0, 1, 3, 4, 5, 6, 7]] >= 0).all()


@pytest.mark.slow
def test_a_fit_replaces_and_names_it_and_waits_once(
    hanging: Path, tiny_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """B34: the limit is spent in the first epoch only."""
    rows = rows_with(hanging, tiny_dataset)
    compute = ComputeOptions(device="cpu", workers=1, fit_clips=4, decode_seconds=LIMIT, quiet=True)
    _, outcome, _ = run_fit(tmp_path / "fit", rows, compute=compute, epochs=3, accumulate=1)
    assert outcome.replaced == [2] and attempts(hanging) == 2
    warning = f"training clip {hanging} (class '{CLASSES[1]}') is replaced by {rows[3][0]} (class '{CLASSES[1]}')"
    assert caplog.text.count(warning) == 1


@pytest.mark.slow
def test_predict_refuses_a_pipe_and_goes_on(server: Server, tiny_dataset: Path, tmp_path: Path) -> None:
    pipe, names = tmp_path / "pipe.avi", tmp_path / "names.txt"
    os.mkfifo(pipe)
    names.write_text("\n".join(CLASSES))
    clip = tiny_dataset / CLASSES[0] / "clip0.avi"
    options: tuple[Any, ...] = ("--labels", names, "--arch", "mini-clip", "--decode-seconds", LIMIT, "--workers", 1)
    done = server.run("predict", pipe, clip, *options)
    assert done.code == 1 and len(done.out.splitlines()) == 1, done.err
    assert done.err.splitlines()[0] == f"{pipe}: not decoded: is not a regular file, expected a video file"


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["decord", "exact"])
def test_predict_on_a_truncated_file_names_cause_and_fix(
    server: Server, tiny_dataset: Path, shared: Path, tmp_path: Path, reader: str
) -> None:
    """The file that no reader decodes, and the one that the other reader decodes."""
    cut, names = tmp_path / "cut.mp4", tmp_path / "names.txt"
    cut.write_bytes((tiny_dataset / CLASSES[0] / "clip0.avi").read_bytes()[:100])
    refused = shared / "videos" / "awkward" / "derived" / "negative_start_pts.mkv"
    names.write_text("\n".join(CLASSES))
    done = server.run(
        "predict", cut, refused, "--labels", names, "--arch", "mini-clip", "--workers", 1, "--reader", reader
    )
    lines = done.err.splitlines()
    assert done.code == 1 and lines[0].startswith(f"{cut}: not decoded: "), done.err
    assert lines[1].startswith("  No reader decodes it: the file is damaged") and "ffmpeg -i" in lines[1]
    if reader == "decord":
        assert lines[2].startswith(f"{refused}: not decoded: ")
        assert lines[3] == "  The other reader decodes it: add --reader exact"
    else:
        assert done.out.startswith(str(refused))


def test_a_dataset_does_not_take_it_for_a_video(server: Server, tiny_dataset: Path, tmp_path: Path) -> None:
    """Not even its fingerprint waits: what is no regular file is a missing video."""
    dataset = Path(shutil.copytree(tiny_dataset, tmp_path / "tiny"))
    for name in CLASSES:
        (dataset / name / "clip3.avi").unlink()
        os.mkfifo(dataset / name / "clip3.avi")
    done = server.run(*run_arguments(dataset, tmp_path, "vanilla_clip"))
    one_error(done, "clip3.avi", "found")


@pytest.mark.slow
def test_the_check_of_readers_names_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "hangs.avi"
    os.mkfifo(pipe)
    with DecodeWorker(timeout_s=60) as worker:
        assert worker.check(pipe).problem == "cannot be read: not a regular file"
