"""Several processes: the same curve and records as one, one that writes, and one that speaks when something fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import CLASSES, ROOT, in_process, machine_free
from tests.endurance.preloaded import Server

WHAT = (
    "--protocol", "b2n", "--arch", "mini-clip", "--views", "frames=2", "--repeat", "1", "--workers", "0", "--quiet",
    "--recipe", "ranks=1", "--recipe", "accumulate=2", "--recipe", "warmup_epochs=0", "--no-report", "--json",
    "--eval-clips", "3",
)  # fmt: skip
"""Fits of one update an epoch, which two processes can share, and three evals of 4, 4 and 8 videos in batches of 3."""


def arguments(dataset: Path, runs: Path, *more: object, methods: tuple[str, ...] = ("vificlip",)) -> list[str]:
    places = ("--dataset", dataset, "--runs", runs, "--cache", runs.parent / f"cache-{runs.name}")
    return [str(a) for a in ("run", "--method", *methods, *WHAT, *places, *more)]


def launch(processes: int, command: list[str], *launcher: str, **more: Any) -> subprocess.Popen[str]:
    """`torchrun --nproc_per_node=N -m harness ...` as a process group of its own."""
    whole = [
        sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}",
        *(launcher or ("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0")), "-m", "harness", *command,
    ]  # fmt: skip
    environment = machine_free({"PYTHONPATH": str(ROOT), **more.pop("environment", {})})
    piped: Any = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True)
    return subprocess.Popen(whole, env=environment, **piped)


def torchrun(processes: int, command: list[str], code: int = 0, timeout: float = 200, **more: Any) -> tuple[str, str]:
    """What torchrun's processes wrote to stdout and stderr; the whole group is gone afterwards."""
    process = launch(processes, command, **more)
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code, err[-4000:]
    return out, err


def curve(runs: Path, method: str = "vificlip") -> list[dict[str, Any]]:
    path = next(runs.glob(f"*/{method}/*/curve.jsonl"))
    return [json.loads(line) for line in path.read_text().splitlines()]


def records(runs: Path) -> dict[str, dict[str, Any]]:
    """What a record says apart from when and how fast, by its file; the hashes of fitted weights are left out."""
    found = {}
    for path in sorted(runs.rglob("*.record.json")):
        record = json.loads(path.read_text())
        if record["measurement"]["training"]:
            del record["measurement"]["training"]["weights_sha256"]
        found[f"{record['measurement']['method']['name']}/{path.name}"] = {
            k: record[k] for k in ("key", "signature", "measurement", "undecodable", "overlap", "metrics")
        }
    return found


def predictions(runs: Path, method: str) -> dict[str, pd.DataFrame]:
    files = sorted(runs.glob(f"*/{method}/**/*.predictions.csv.gz"))
    return {path.name: pd.read_csv(path) for path in files}


def assert_same_scores(found: Path, wanted: Path, method: str, close: float) -> None:
    """The same videos in the same order, and scores as close as asked for."""
    ours, theirs = predictions(found, method), predictions(wanted, method)
    assert set(ours) == set(theirs) and len(ours) == 3
    for name, frame in theirs.items():
        other = ours[name]
        assert list(frame["video"]) == list(other["video"]) and frame["video"].is_unique
        columns = [c for c in frame.columns if c.startswith("p")]
        assert len(columns) == 5
        np.testing.assert_allclose(other[columns], frame[columns], rtol=0, atol=close)
        np.testing.assert_array_equal(other.filter(like="id"), frame.filter(like="id"))


@pytest.fixture(scope="module")
def damaged(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small dataset with clips that do not decode: two that are evaluated, two a class of the training list."""
    folder = Path(shutil.copytree(small_dataset, tmp_path_factory.mktemp("damaged") / "shapes"))
    evaluated = ("circle left/clip3.avi", "square right/clip6.avi")
    for name in (*evaluated, *(f"{label}/clip{i}.avi" for label in CLASSES for i in (0, 1))):
        (folder / name).write_text(f"<html>404 {name}</html>")  # equal files on both sides are refused
    return folder


@pytest.fixture(scope="module")
def alone(damaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of the request of the test below, in three epochs."""
    runs = tmp_path_factory.mktemp("alone") / "runs"
    methods = ("vificlip", "vanilla_clip")
    assert in_process(*arguments(damaged, runs, "--recipe", "epochs=3", methods=methods)) == 0
    return runs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def forked(server: Server, processes: int, command: list[str]) -> tuple[str, str]:
    """What processes wrote that have torchrun's environment but are forked with everything imported."""
    launched = {
        "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }  # fmt: skip
    ranks = [
        server.start(*command, environment={**launched, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(processes)
    ]
    ends = [rank.wait() for rank in ranks]
    assert [end.code for end in ends] == [0] * processes, [end.err[-4000:] for end in ends]
    return "".join(end.out for end in ends), "".join(end.err for end in ends)


@pytest.mark.slow
def test_torchrun_starts_the_command_line() -> None:
    """A verb without computation: the slow tests below run fits and evals by torchrun."""
    out, _ = torchrun(2, ["list", "protocols", "--json"])
    assert "b2n" in {protocol["name"] for protocol in json.loads(out)}, "one process speaks"


def test_two_processes_give_the_records_of_one(damaged: Path, alone: Path, server: Server, tmp_path: Path) -> None:
    """A fit and its evals, an eval from cached features; undecodable clips, and a batch for only one of the two."""
    runs = tmp_path / "runs"
    command = arguments(damaged, runs, "--recipe", "epochs=3", methods=("vificlip", "vanilla_clip"))
    out, err = forked(server, 2, command)
    assert len(json.loads(out)) == 6, "one process speaks"
    assert [line for line in err.splitlines() if "cells reused" in line] == [
        line for line in err.splitlines() if line.startswith("1 fits and 6 evals done, 0 cells reused")
    ]
    assert records(runs) == records(alone)
    assert {len(r["undecodable"]) for r in records(runs).values()} == {1, 2}
    assert_same_scores(runs, alone, "vanilla_clip", 1e-6)
    assert_same_scores(runs, alone, "vificlip", 1e-4)
    ours, theirs = curve(runs), curve(alone)
    assert len(ours) == len(theirs) == 3
    np.testing.assert_allclose([r["loss"] for r in ours], [r["loss"] for r in theirs], rtol=0, atol=1e-4)
    assert [r["lr"] for r in ours] == [r["lr"] for r in theirs]
    mine, other = (json.loads(next(folder.rglob("fit.json")).read_text()) for folder in (runs, alone))
    assert mine["key"] == other["key"] and mine["environment"]["processes"] == 2
    assert mine["outcome"]["final_loss"] == pytest.approx(other["outcome"]["final_loss"], abs=1e-4)
    assert mine["outcome"]["replaced"] == other["outcome"]["replaced"] != [], "on whichever process"
    left = {p.suffix for p in runs.rglob("*") if p.is_file()} - {p.suffix for p in alone.rglob("*") if p.is_file()}
    assert not left, f"files that one process does not leave: {left}"
    features = list((tmp_path / "cache-runs").rglob("*.safetensors"))
    assert len(features) == 6, "each of the decodable videos of the lists once"


# longer ones: python -m pytest -m slow tests/engine/test_processes.py ------------------------------------------------


@pytest.mark.slow
def test_more_processes_than_groups_are_refused(small_dataset: Path, tmp_path: Path) -> None:
    """Three processes cannot share two groups: said once, by all at once, and nothing is left behind."""
    _, err = torchrun(3, arguments(small_dataset, tmp_path / "runs", "--recipe", "epochs=1"), code=1)
    assert err.count("error: 3 processes cannot share 2 groups of 4 clips evenly.") == 1
    assert err.count("Use a number of processes that divides 2.") == 1
    assert not list((tmp_path / "runs").rglob("*.json"))


PLUGIN = """
import os, time
from harness.api import ClipMethod, MethodCard, Recipe, UserError, register_method

@register_method("fails_late")
class FailsLate(ClipMethod):
    card = MethodCard(title="fails in its third step on one process, where the environment asks for it")
    recipe = Recipe(epochs=3, lr=1e-4, ranks=1, accumulate=2)
    steps = 0

    def setup(self):
        self.learn_only("visual.")

    def loss(self, video, targets, label_set):
        self.steps += 1
        ask = os.environ.get("FAIL", "")
        if self.training and self.steps == 3 and ask in (os.environ.get("RANK"), "all"):
            raise {"all": UserError}.get(ask, RuntimeError)("nothing more to learn")
        return super().loss(video, targets, label_set)

    def score(self, video, text):
        if not self.training and os.environ.get("FAIL") == "eval" + os.environ.get("RANK", ""):
            raise UserError("no scores today")
        return super().score(video, text)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "fails_late.py"
    path.write_text(PLUGIN)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fail", "message"),
    [("0", "RuntimeError: nothing more"), ("1", "RuntimeError: nothing more"), ("eval1", "error: no scores")],
)
def test_an_error_of_one_process_ends_all_and_is_said_once(
    small_dataset: Path, tmp_path: Path, plugin: Path, fail: str, message: str
) -> None:
    command = arguments(small_dataset, tmp_path / "runs", "--plugin", plugin, methods=("fails_late",))
    started = time.monotonic()
    _, err = torchrun(2, command, code=1, environment={"FAIL": fail})
    assert time.monotonic() - started < 120
    assert sum(line.startswith(message) for line in err.splitlines()) == 1, err
    assert not list(tmp_path.rglob("*.record.json"))
    torchrun(2, command)  # the same command goes on
    assert len(records(tmp_path / "runs")) == 3


@pytest.mark.slow
def test_keep_going_goes_on_after_what_all_processes_share(small_dataset: Path, tmp_path: Path, plugin: Path) -> None:
    command = arguments(
        small_dataset, tmp_path / "runs", "--plugin", plugin, "--keep-going", methods=("fails_late", "vanilla_clip")
    )
    _, err = torchrun(2, command, code=1, environment={"FAIL": "eval0"})
    assert err.count("no scores today") >= 1 and err.count("failed: eval") == 3
    assert "1 fits and 3 evals done" in err
    assert {name.partition("/")[0] for name in records(tmp_path / "runs")} == {"vanilla_clip"}


@pytest.mark.slow
@pytest.mark.parametrize(("shard", "finish", "more"), [
    ("none", 2, ()), ("zero", 2, ("--grad-checkpointing",)), ("zero", 1, ()),
])  # fmt: skip
def test_killed_and_resumed_by_any_number(
    small_dataset: Path, tmp_path: Path, shard: str, finish: int, more: tuple[str, ...]
) -> None:
    """SIGKILL of all processes in the middle of a fit; two processes or one then end as an undisturbed run does."""
    recipe = ("--recipe", "epochs=12", "--shard", shard, *more)
    whole, runs = tmp_path / "whole", tmp_path / "runs"
    assert in_process(*arguments(small_dataset, whole, "--recipe", "epochs=12")) == 0
    process = launch(2, arguments(small_dataset, runs, *recipe))
    _kill_when(process, lambda: any(p.name == "epoch_3.pth" for p in runs.rglob("epoch_*.pth")))
    assert not list(runs.rglob("weights.safetensors"))
    if finish == 1:
        assert in_process(*arguments(small_dataset, runs, *recipe)) == 0
    else:
        torchrun(2, arguments(small_dataset, runs, *recipe))
    fit = json.loads(next(runs.rglob("fit.json")).read_text())
    assert fit["outcome"]["resumed_at"] >= 3
    losses = [[row["loss"] for row in curve(folder)] for folder in (runs, whole)]
    assert len(losses[0]) == 12
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-4)
    assert_same_scores(runs, whole, "vificlip", 1e-3)


def _kill_when(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 200
    while not ready():
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    # The launcher's processes have groups of their own; stopped first, it starts and reports nothing more.
    os.kill(process.pid, signal.SIGSTOP)
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_an_interrupted_eval_goes_on_with_another_number(damaged: Path, alone: Path, tmp_path: Path) -> None:
    """Intermediate results of two processes are taken up by one: no video is scored twice, none is left out."""
    runs = tmp_path / "runs"
    code = (
        "import harness.engine.partial_scores as e, os, sys; e.SAVE_SECONDS = -1.0; n = [0]\n"
        "plain = e.PartialScores.add\n"
        "def add(self, batch, logits):\n"
        "    n[0] += len(self.ids) == 8\n"
        "    if n[0] == 2: os._exit(9)\n"
        "    plain(self, batch, logits)\n"
        "e.PartialScores.add = add\n"
        "from harness.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    script = tmp_path / "stops.py"
    script.write_text(code)
    command = arguments(damaged, runs, "--no-feature-cache", "--eval-clips", "2", methods=("vanilla_clip",))
    first = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", str(script), *command]
    done = subprocess.run(
        first, cwd=ROOT, env=machine_free({"PYTHONPATH": str(ROOT)}), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 1
    assert {p.name.count(".") for p in runs.rglob("*.partial*.npz")}, "at least one process saved a batch"
    assert in_process(*command) == 0
    assert not list(runs.rglob("*.partial*.npz"))
    assert_same_scores(runs, alone, "vanilla_clip", 2e-6)  # other batches, and six digits on file


@pytest.mark.slow
def test_two_machines(small_dataset: Path, tmp_path: Path) -> None:
    """Two launchers with one process each, as on two machines that see one run folder."""
    port = free_port()
    whole, runs = tmp_path / "whole", tmp_path / "runs"
    recipe = ("--recipe", "epochs=2")
    assert in_process(*arguments(small_dataset, whole, *recipe)) == 0
    both = [
        launch(
            1, arguments(small_dataset, runs, *recipe),
            "--nnodes=2", f"--node-rank={node}", "--master-addr=127.0.0.1", f"--master-port={port}",
        )
        for node in (0, 1)
    ]  # fmt: skip
    ends = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert [bool(out.strip()) for out, _ in ends] == [True, False]
    np.testing.assert_allclose(
        [r["loss"] for r in curve(runs)], [r["loss"] for r in curve(whole)], rtol=0, atol=1e-4
    )  # fmt: skip
    assert_same_scores(runs, whole, "vificlip", 1e-4)


@pytest.mark.slow
def test_features_of_a_training_list_are_computed_once(small_dataset: Path, tmp_path: Path) -> None:
    """A frozen tower: the training list's features are shared out, the fit has the curve of one process."""
    plain = ("--recipe", "augmentation=none", "--recipe", "mixup=0", "--recipe", "cutmix=0", "--recipe", "epochs=2")
    for folder, run in (("alone", in_process), ("runs", None)):
        command = arguments(small_dataset, tmp_path / folder, *plain, methods=("text_ft",))
        assert run(*command) == 0 if run else torchrun(2, command)
    np.testing.assert_allclose(
        [r["loss"] for r in curve(tmp_path / "runs", "text_ft")],
        [r["loss"] for r in curve(tmp_path / "alone", "text_ft")], rtol=0, atol=1e-4,
    )  # fmt: skip
    ours, theirs = ({p.name for p in (tmp_path / f"cache-{n}").rglob("*.safetensors")} for n in ("runs", "alone"))
    assert ours == theirs and ours
