"""What only a cluster does to jobs: it preempts them, kills them, makes them wait for each other, counts GPUs out."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.executor.ledger import Job, read_ledger, read_status
from tests.conftest import TINY_RUN
from tests.executor.slurm_node import ask, missing, slurm
from tests.executor.test_executors import outcomes

pytestmark = pytest.mark.slow
EPOCHS = ("--recipe", "epochs=40")
WHERE = '''
import json, os
from harness.api import ClipMethod, MethodCard, Recipe, register_method


@register_method("says_where")
class SaysWhere(ClipMethod):
    """Learns its logit scale, and says what its process was given."""

    card = MethodCard(title="Says where")
    recipe = Recipe(epochs=1, lr=1e-3)

    def setup(self):
        self.learn_only("logit_scale")
        names = ("RANK", "WORLD_SIZE", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURM_CPUS_PER_TASK")
        print("given", json.dumps({name: os.environ.get(name) for name in names}), flush=True)
'''


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if reason := missing():
        pytest.skip(reason)
    with slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)
    return found


def state(job: Job, cluster: dict[str, str]) -> str:
    return ask(["squeue", f"--jobs={job.id}", "--states=all", "--noheader", "--format=%T"], cluster).strip()


def start_now(job: Job, cluster: dict[str, str]) -> None:
    """SLURM lets two minutes pass before a job that was queued again may start."""
    ask(["scontrol", "update", f"JobId={job.id}", "StartTime=now"], cluster)


def find_process(job: Job) -> int | None:
    """The process of a job's command, which names its request file."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if words[1:3] == ["-m", "harness"] and f"{job.uid}.request.json" in {Path(word).name for word in words}:
            return int(folder.name)
    return None


def fit_command(dataset: Path, folder: Path, *more: object) -> tuple[object, ...]:
    places = ("--dataset", dataset, "--runs", folder / "runs", "--cache", folder / "cache")
    return "run", "--method", "vificlip", *TINY_RUN, *EPOCHS, *places, *more


@pytest.fixture(scope="module")
def undisturbed(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from tests.conftest import in_process

    folder = tmp_path_factory.mktemp("undisturbed")
    assert in_process(*fit_command(small_dataset, folder)) == 0
    return outcomes(folder / "runs")


def submitted(harness: Callable[..., Any], cluster: dict[str, str], command: tuple[object, ...], runs: Path) -> Job:
    done = harness(*command, "--executor", "slurm", "--detach", **cluster)
    assert done.returncode == 0, done.stderr
    (job,) = read_ledger(runs)
    return job


def planned(harness: Callable[..., Any], cluster: dict[str, str], command: tuple[object, ...]) -> str:
    """What `plan` says of the request of a command."""
    left_out = ("run", "--no-report", "--quiet", "--workers", "0")
    shown = harness("plan", *(word for word in command if word not in left_out), **cluster)
    assert shown.returncode == 0, shown.stderr
    return str(shown.stdout)


@pytest.mark.parametrize("how", ["preempted", "told", "requeued"])
def test_a_job_that_is_queued_again_resumes_at_its_last_epoch(
    how: str, harness: Callable[..., Any], cluster: dict[str, str], small_dataset: Path, tmp_path: Path,
    undisturbed: dict[str, Any],
) -> None:  # fmt: skip
    """By a job of a partition above it, by submitit's signal, and by `scontrol requeue`: the records are the same."""
    runs, command = tmp_path / "runs", fit_command(small_dataset, tmp_path)
    job = submitted(harness, cluster, command, runs)
    until(lambda: any(path.name == "epoch_3.pth" for path in runs.rglob("epoch_*.pth")))
    if how == "preempted":
        urgent = ask(["sbatch", "--parsable", "--partition=urgent", "--exclusive", "--output=/dev/null",
                      "--wrap=sleep 1"], cluster).strip()  # fmt: skip
    elif how == "told":
        ask(["scancel", "--signal=USR2", job.id], cluster)
    else:
        ask(["scontrol", "requeue", job.id], cluster)
    until(lambda: state(job, cluster) == "PENDING")
    assert not list(runs.rglob("weights.safetensors"))
    assert f"pending (slurm job {job.id})" in planned(harness, cluster, command)
    if how == "preempted":
        until(lambda: state(replace(job, id=urgent), cluster) == "COMPLETED")
    start_now(job, cluster)
    finished = harness(*command, "--executor", "slurm", **cluster)
    assert finished.returncode == 0, finished.stderr
    assert f"submitted before: slurm job {job.id}" in finished.stderr
    assert len(read_ledger(runs)) == 1 and read_status(job.status_file(runs)).turn == 2
    fit = json.loads(next(runs.rglob("fit.json")).read_text())
    assert 3 <= fit["outcome"]["resumed_at"] < 40
    assert outcomes(runs) == undisturbed and len(undisturbed) == 3


@pytest.mark.parametrize("what", ["its command", "all of it"])
def test_a_killed_job_is_named_and_the_same_command_goes_on(
    what: str, harness: Callable[..., Any], cluster: dict[str, str], small_dataset: Path, tmp_path: Path,
    undisturbed: dict[str, Any],
) -> None:  # fmt: skip
    runs, command = tmp_path / "runs", fit_command(small_dataset, tmp_path)
    job = submitted(harness, cluster, command, runs)
    until(lambda: any(path.name == "epoch_2.pth" for path in runs.rglob("epoch_*.pth")))
    if what == "its command":
        os.kill(until(lambda: find_process(job)), signal.SIGKILL)
    else:
        ask(["scancel", "--signal=KILL", "--full", job.id], cluster)
    until(lambda: state(job, cluster) in ("FAILED", "CANCELLED", "NODE_FAIL"))
    said = planned(harness, cluster, command)
    assert re.search(rf"(failed|cancelled) \(slurm job {job.id}\)", said), said
    finished = harness(*command, "--executor", "slurm", **cluster)
    assert finished.returncode == 0, finished.stderr
    first, second = read_ledger(runs)
    assert first.id == job.id and not first.active and second.state == "done"
    fit = json.loads(next(runs.rglob("fit.json")).read_text())
    assert fit["outcome"]["resumed_at"] >= 2 and outcomes(runs) == undisturbed


def test_what_starts_from_another_fit_waits_for_it_and_is_cancelled_with_it(
    harness: Callable[..., Any], cluster: dict[str, str], tmp_path: Path
) -> None:
    """`bridge_prompt` starts from a fit on the source: killed, what waits is cancelled; the same command does both."""
    runs = tmp_path / "runs"
    places = ("--runs", runs, "--cache", tmp_path / "cache")
    recipe = ("--recipe", "epochs=1", "--recipe", "warmup_epochs=0", "--repeat", "1")
    command = ("run", "--method", "bridge_prompt", "--protocol", "b2n", *recipe, *places, "--workers", "0",
               "--no-report", "--quiet", "--json")  # fmt: skip
    done = harness(*command, "--executor", "slurm", "--detach", **cluster)
    assert done.returncode == 0, done.stderr
    parent, child = read_ledger(runs)
    assert child.after == (parent.uid,) and len(parent.cells) == 1 and len(child.cells) == 4
    shown = ask(["scontrol", "show", "job", child.id], cluster)
    assert f"Dependency=afterok:{parent.id.partition('_')[0]}" in shown and "JobState=PENDING" in shown, shown
    until(lambda: read_status(parent.status_file(runs)).state == "running")
    os.kill(until(lambda: find_process(parent)), signal.SIGKILL)
    until(lambda: state(child, cluster) == "CANCELLED")
    said = planned(harness, cluster, command)
    assert f"failed (slurm job {parent.id})" in said and f"cancelled (slurm job {child.id})" in said, said
    finished = harness(*command, "--executor", "slurm", timeout=900, **cluster)
    assert finished.returncode == 0, finished.stderr
    assert [job.state for job in read_ledger(runs)] == ["failed", "cancelled", "done", "done"]
    assert len(outcomes(runs)) == 3 and "2 fits and 3 evals done" in finished.stderr


def test_a_job_gets_what_it_asks_for(
    harness: Callable[..., Any], cluster: dict[str, str], small_dataset: Path, tmp_path: Path
) -> None:
    """GPUs, cores and time reach SLURM; two GPUs start two processes that see them both."""
    plugin, runs = tmp_path / "says_where.py", tmp_path / "runs"
    plugin.write_text(WHERE)
    places = ("--dataset", small_dataset, "--runs", runs, "--cache", tmp_path / "cache")
    command = ("run", "--plugin", plugin, "--method", "says_where", *TINY_RUN, "--recipe", "accumulate=2", *places)
    asked = ("--executor", "slurm", "--gpus", "2", "--cpus", "1", "--time", "90", "--partition", "debug",
             "--sbatch", "comment=by a test")  # fmt: skip
    done = harness(*command, *asked, **cluster)
    assert done.returncode == 0, done.stderr
    (job,) = read_ledger(runs)
    log = job.log(runs).read_text()  # type: ignore[union-attr]
    given = [json.loads(line.partition("given ")[2]) for line in log.splitlines() if line.startswith("given ")]
    fits = [one for one in given if one["WORLD_SIZE"] == "2"]
    assert {one["RANK"] for one in fits} == {"0", "1"}
    assert {(one["CUDA_VISIBLE_DEVICES"], one["SLURM_CPUS_PER_TASK"]) for one in fits} == {("0,1", "1")}
    shown = ask(["scontrol", "show", "job", job.id], cluster)
    for fact in ("TimeLimit=01:30:00", "Partition=debug", "Comment=by a test", "Requeue=1"):
        assert fact in shown, shown
    assert len(outcomes(runs)) == 3
