"""A video that never lets the decoder go is given up after the limit, named and counted; everything else goes on.

A named pipe stands for such a file: whoever opens it waits for a writer that never comes.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from harness.api import LabelSet
from harness.engine.features.cache import FeatureCache
from harness.engine.video.decode_check import DecodeWorker
from harness.engine.video.loaders import Row
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views
from tests.conftest import CLASSES
from tests.endurance.conftest import one_error, run_arguments
from tests.endurance.preloaded import Server
from tests.engine.conftest import CPU, run_fit, score, tiny_method

LIMIT = 1.0


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "hangs.avi"
    os.mkfifo(path)
    return path


def rows_with(pipe: Path, dataset: Path) -> list[Row]:
    """Eight clips, two a class, the third of them the pipe."""
    rows: list[Row] = [(dataset / name / f"clip{i}.avi", label) for label, name in enumerate(CLASSES) for i in (0, 1)]
    rows[2] = (pipe, rows[2][1])
    return rows


@pytest.mark.parametrize(("reader", "cached"), [("decord", True), ("exact", False)])
def test_an_eval_names_and_counts_it(pipe: Path, tiny_dataset: Path, tmp_path: Path, reader: str, cached: bool) -> None:
    compute = ComputeOptions(device="cpu", workers=1, decode_seconds=LIMIT, quiet=True)
    cache = FeatureCache(tmp_path / "cache") if cached else None
    started = time.monotonic()
    method, views = tiny_method("vanilla_clip"), Views(frames=2, reader=reader)
    scores = score(method, rows_with(pipe, tiny_dataset), LabelSet(CLASSES), views, CPU, compute, cache=cache)
    assert LIMIT < time.monotonic() - started < LIMIT + 20
    assert scores.failed == {2: "not decoded within 1 s"}
    assert (scores.ids[2] == -1).all() and (scores.ids[[0, 1, 3, 4, 5, 6, 7]] >= 0).all()


def test_a_fit_replaces_and_names_it(pipe: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    rows = rows_with(pipe, tiny_dataset)
    compute = ComputeOptions(device="cpu", workers=1, fit_clips=4, decode_seconds=LIMIT, quiet=True)
    _, outcome, _ = run_fit(tmp_path / "fit", rows, compute=compute, epochs=1, accumulate=1)
    assert outcome.replaced == [2]


def test_predict_says_so(server: Server, pipe: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(CLASSES))
    clip = tiny_dataset / CLASSES[0] / "clip0.avi"
    options: tuple[Any, ...] = ("--labels", names, "--arch", "mini-clip", "--decode-seconds", LIMIT, "--workers", 1)
    done = server.run("predict", pipe, clip, *options)
    assert done.code == 1 and len(done.out.splitlines()) == 1, done.err
    assert done.err.splitlines() == [f"{pipe}: not decoded: not decoded within 1 s"]


def test_a_dataset_does_not_take_it_for_a_video(server: Server, tiny_dataset: Path, tmp_path: Path) -> None:
    """Not even its fingerprint waits: what is no regular file is a missing video."""
    dataset = Path(shutil.copytree(tiny_dataset, tmp_path / "tiny"))
    for name in CLASSES:
        (dataset / name / "clip3.avi").unlink()
        os.mkfifo(dataset / name / "clip3.avi")
    done = server.run(*run_arguments(dataset, tmp_path, "vanilla_clip"))
    one_error(done, "clip3.avi", "found")


def test_the_check_of_readers_gives_it_up(pipe: Path) -> None:
    with DecodeWorker(timeout_s=LIMIT) as worker:
        assert worker.check(pipe).problem == "no answer after 1 s"
