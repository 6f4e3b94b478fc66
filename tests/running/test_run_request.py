"""Request files: what a job is given gives the run that was submitted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.cells.from_request import expand
from harness.cells.request import BackboneChoice, MethodChoice, Request
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import load_settings
from harness.running.run_request import Folders, RunRequest, read_run_request, write_run_request
from tests.conftest import in_process

RECIPE = {"epochs": "1", "ranks": "1", "accumulate": "1", "warmup_epochs": "0"}


@pytest.fixture
def run_request(finished_runs: Path, small_dataset: Path, tmp_path: Path) -> RunRequest:
    """The request of `finished_runs`, on a copy of that run folder."""
    runs = Path(shutil.copytree(finished_runs, tmp_path / "runs"))
    settings = load_settings({"runs": str(runs), "cache": str(tmp_path / "cache"), "data.mine": str(small_dataset)}, {})
    request = Request(
        (MethodChoice("vificlip"),), ("b2n",), (str(small_dataset),), BackboneChoice("mini-clip", None), RECIPE,
        {"frames": "2"}, repeats=(1,),
    )  # fmt: skip
    return RunRequest(request, ComputeOptions(workers=0, quiet=True), Folders.of(settings), keep_going=True)


def test_a_request_file_gives_the_request_again(run_request: RunRequest, tmp_path: Path) -> None:
    request = replace(
        run_request.request, methods=(MethodChoice("vificlip", {"template": "a 'video' of \"{}\""}, "w.pth"),),
        eval_views={"crops": "3"}, shots=(2, 4), seeds=3, source="k400",
    )  # fmt: skip
    changed = replace(run_request, request=request, plugins=("a.py", "b.py"), cells=("k1", "k2"))
    for written in (run_request, changed):
        write_run_request(tmp_path / "request.json", written)
        assert read_run_request(tmp_path / "request.json") == written
    settings = changed.folders.settings("a request file")
    assert Folders.of(settings) == changed.folders and not settings.executor


@pytest.mark.slow
def test_a_request_file_runs_its_cells_alone(
    run_request: RunRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without another flag, and with an executor in the environment: a job never submits jobs."""
    monkeypatch.setenv("HARNESS_EXECUTOR", "slurm")
    file = tmp_path / "request.json"
    write_run_request(file, run_request)
    assert in_process("run", "--request", file, "--no-report", "--json") == 0
    captured = capsys.readouterr()
    assert "0 fits and 0 evals done, 4 cells reused" in captured.err and len(json.loads(captured.out)) == 3

    cells = expand(run_request.request, run_request.folders.settings("a test"))
    for cell in cells.evals:
        cell.predictions.unlink()
    write_run_request(file, replace(run_request, cells=(cells.evals[1].key,)))
    assert in_process("run", "--request", file, "--no-report", "--json") == 0
    assert "0 fits and 1 evals done, 1 cells reused" in capsys.readouterr().err
    assert [cell.predictions.is_file() for cell in cells.evals] == [False, True, False]


@pytest.mark.parametrize("change", [{"schema": 2}, {"cells": "k1"}, {"unknown": 1}])
def test_another_request_file_is_refused(run_request: RunRequest, tmp_path: Path, change: dict[str, object]) -> None:
    file = tmp_path / "request.json"
    write_run_request(file, run_request)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(UserError, match=next(iter(change))) as caught:
        read_run_request(file)
    assert "again" in caught.value.hint
