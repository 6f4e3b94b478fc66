"""Runs as jobs give the records of a run in one process, on this machine and on a SLURM of one node."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.executor.ledger import Job, open_ledger, read_ledger
from harness.executor.local import serve
from tests.conftest import TINY_RUN
from tests.executor.slurm_node import missing, slurm

pytestmark = pytest.mark.slow
BROKEN = '''
from harness.api import ClipMethod, MethodCard, Recipe, register_method


@register_method("broken_loss")
class BrokenLoss(ClipMethod):
    """Fails in its first step."""

    card = MethodCard(title="Broken loss")
    recipe = Recipe(epochs=1, lr=1e-3)

    def loss(self, video, targets, label_set):
        raise RuntimeError("this loss was never written")
'''


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if reason := missing():
        pytest.skip(reason)
    with slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture(params=["local", "slurm"])
def executor(request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    return request.param, request.getfixturevalue("cluster") if request.param == "slurm" else {}


def outcomes(runs: Path) -> dict[str, tuple[dict[str, float], str]]:
    found = {}
    for path in runs.rglob("*.record.json"):
        predictions = path.with_name(path.name.replace(".record.json", ".predictions.csv.gz"))
        found[path.name] = json.loads(path.read_text())["metrics"], gzip.decompress(predictions.read_bytes()).decode()
    return found


def test_jobs_give_the_records_of_one_process(
    executor: tuple[str, dict[str, str]], harness: Callable[..., Any], small_dataset: Path, finished_runs: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    kind, environment = executor
    runs = tmp_path / "runs"
    places = ("--dataset", small_dataset, "--runs", runs, "--cache", tmp_path / "cache")
    command = ("run", "--method", "vificlip", *TINY_RUN, *places, "--executor", kind)
    done = harness(*command, **environment)
    assert done.returncode == 0, done.stderr
    assert outcomes(runs) == outcomes(finished_runs) and len(outcomes(runs)) == 3
    (job,) = read_ledger(runs)
    assert job.executor == kind and job.state == "done" and job.log(runs).is_file()  # type: ignore[union-attr]
    for folder in {path.parent for name in ("fit.json", "*.record.json") for path in runs.rglob(name)}:
        assert (folder / f"job_{job.id}.log").resolve() == job.log(runs).resolve()  # type: ignore[union-attr]
    again = harness(*command, **environment)
    assert again.returncode == 0 and "4 cells reused" in again.stderr
    assert len(read_ledger(runs)) == 1


def test_a_failed_job_is_named_with_the_end_of_its_log(
    executor: tuple[str, dict[str, str]], harness: Callable[..., Any], small_dataset: Path, tmp_path: Path
) -> None:
    kind, environment = executor
    runs, plugin = tmp_path / "runs", tmp_path / "broken_loss.py"
    plugin.write_text(BROKEN)
    places = ("--dataset", small_dataset, "--runs", runs, "--cache", tmp_path / "cache")
    command = ("run", "--plugin", plugin, "--method", "broken_loss", "vanilla_clip", *TINY_RUN, *places)
    done = harness(*command, "--executor", kind, "--keep-going", **environment)
    assert done.returncode == 1, done.stderr
    assert "this loss was never written" in done.stderr and "fit broken_loss" in done.stderr
    assert len(outcomes(runs)) == 3  # the other method went on
    states = {job.title.split()[1] if "fit" in job.title else "vanilla": job.state for job in read_ledger(runs)}
    assert sorted(states.values()) == ["done", "failed"]


def test_detached_jobs_are_seen_by_plan_and_not_submitted_twice(
    executor: tuple[str, dict[str, str]], harness: Callable[..., Any], small_dataset: Path, tmp_path: Path
) -> None:
    kind, environment = executor
    places = ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    command = ("--method", "vanilla_clip", *(a for a in TINY_RUN if a not in ("--no-report", "--workers", "0")))
    jobs = ("--executor", kind)
    assert harness("run", *command[:-1], "--workers", "0", *places, *jobs, "--detach", **environment).returncode == 0
    wanted = [a for a in command if a not in ("--quiet", "--json")]
    rows = json.loads(harness("plan", *wanted, *places, "--json", **environment).stdout)
    assert all(row["state"] == "done" or row["job"].startswith(("pending", "running")) for row in rows), rows
    finished = harness("run", *command[:-1], "--workers", "0", *places, *jobs, **environment)
    assert finished.returncode == 0, finished.stderr
    assert len(read_ledger(tmp_path / "runs")) == 1, os.linesep.join(finished.stderr.splitlines())
    assert len(outcomes(tmp_path / "runs")) == 3


@pytest.mark.parametrize("before", [None, "", "1,0"])
def test_a_job_of_this_machine_that_asks_for_no_gpus_sees_what_one_process_would(
    before: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if before is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    code = "import os; print('seen', repr(os.environ.get('CUDA_VISIBLE_DEVICES')))"
    resources = {"time": 5, "turns": 0, "gpus": None, "parallel": 1}
    job = Job("one", "prints", "local", (), (sys.executable, "-c", code), str(tmp_path), "logs", resources=resources)
    with open_ledger(tmp_path) as jobs:
        jobs[job.uid] = job
    serve(tmp_path)
    (done,) = read_ledger(tmp_path)
    assert done.state == "done" and f"seen {before!r}" in done.log(tmp_path).read_text()  # type: ignore[union-attr]
