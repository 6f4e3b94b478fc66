"""A run that was killed and repeated ends where an undisturbed run ends."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.engine.training.checkpoints import epoch_checkpoints
from harness.engine.training.trained_weights import WEIGHTS
from harness.engine.video.loaders import Row
from harness.machine.compute_options import ComputeOptions
from tests.conftest import ROOT, machine_free
from tests.endurance.preloaded import Server
from tests.engine.conftest import run_fit

TINY = (
    "--arch", "mini-clip", "--recipe", "epochs=4", "--recipe", "ranks=1", "--recipe", "accumulate=1",
    "--recipe", "warmup_epochs=1", "--views", "frames=2",
)  # fmt: skip


def arguments(dataset: Path, runs: Path) -> list[str]:
    cell = ["run", "--method", "vificlip", "--protocol", "b2n", "--dataset", str(dataset), "--repeat", "1"]
    return [*cell, *TINY, "--runs", str(runs), "--workers", "2", "--no-report", "--json"]


def curve_rows(runs: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in runs.rglob("curve.jsonl"))


def outcome_of(runs: Path) -> dict[str, Any]:
    """Everything of a run folder that must not depend on interruptions."""
    outcome: dict[str, Any] = {}
    for path in sorted(runs.rglob("*.record.json")):
        record = json.loads(path.read_text())
        outcome[path.name] = {k: record[k] for k in ("key", "measurement", "metrics", "undecodable", "overlap")}
        outcome[path.name]["predictions"] = record["predictions"]["sha256"]
    for path in runs.rglob("fit.json"):
        fit = json.loads(path.read_text())
        loss = fit["outcome"]["final_loss"]
        outcome["fit"] = {"key": fit["key"], "weights": fit["weights"]["sha256"], "loss": loss}
    for path in runs.rglob("curve.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        outcome["curve"] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    return outcome


def kill_when(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    """SIGKILL as soon as a condition on the files holds."""
    deadline = time.monotonic() + 200
    while not ready():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run did not get far enough in time"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def start(dataset: Path, runs: Path, *more: str) -> subprocess.Popen[bytes]:
    """The command in a fresh interpreter, to be killed."""
    command = [sys.executable, "-m", "harness", *arguments(dataset, runs), *more]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=ROOT, env=machine_free(), **quiet)  # type: ignore[call-overload]


def complete(server: Server, dataset: Path, runs: Path) -> None:
    """The command once more, to its end."""
    done = server.run(*arguments(dataset, runs))
    assert done.code == 0, done.err
    json.loads(done.out)  # nothing but data on stdout, after a resume too


@pytest.fixture(scope="module")
def undisturbed(server: Server, small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    runs = tmp_path_factory.mktemp("undisturbed")
    complete(server, small_dataset, runs)
    outcome = outcome_of(runs)
    assert len(outcome) == 5 and len(outcome["curve"]) == 12  # three evals; 4 epochs of 3 updates
    return outcome


def test_killed_in_the_middle_of_a_fit(
    server: Server, small_dataset: Path, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """A run that is killed with SIGKILL and repeated ends with the same record."""
    run = server.start(*arguments(small_dataset, tmp_path))
    deadline = time.monotonic() + 200
    while curve_rows(tmp_path) < 5:  # until the second epoch
        assert time.monotonic() < deadline, "the run did not get far enough in time"
        time.sleep(0.002)
    run.kill(signal.SIGKILL)
    assert run.wait().code == -signal.SIGKILL, "the run ended before it could be killed"
    assert [p.name for p in tmp_path.rglob("epoch_*.pth")] == ["epoch_1.pth"]
    assert not list(tmp_path.rglob(WEIGHTS))
    complete(server, small_dataset, tmp_path)
    assert outcome_of(tmp_path) == undisturbed
    left = {p.suffix for p in tmp_path.rglob("*") if p.is_file()}
    assert not left & {".pth", ".tmp", ".npz"}, left


@pytest.mark.slow
@pytest.mark.parametrize("updates", [1, 3, 6, 9, 12])
def test_killed_twice(
    server: Server, small_dataset: Path, tmp_path: Path, undisturbed: dict[str, Any], updates: int
) -> None:
    kill_when(start(small_dataset, tmp_path), lambda: curve_rows(tmp_path) >= updates)
    kill_when(start(small_dataset, tmp_path), lambda: curve_rows(tmp_path) >= min(12, updates + 1))
    complete(server, small_dataset, tmp_path)
    assert outcome_of(tmp_path) == undisturbed


class StoppedError(Exception):
    pass


def stop_at(iteration: int) -> Callable[[int, int, float], None]:
    def progress(done: int, total: int, loss: float) -> None:
        if done == iteration:
            raise StoppedError

    return progress


def weights(folder: Path) -> bytes:
    return (folder / WEIGHTS).read_bytes()


@pytest.fixture(scope="module")
def stopped_once(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped") / "fit"
    with pytest.raises(StoppedError):
        run_fit(folder, rows[::2], progress=stop_at(10), epochs=3)
    return folder


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Path:
    """A fit of 3 epochs of 4 device batches, interrupted in the third epoch."""
    folder = Path(shutil.copytree(stopped_once, tmp_path / "stopped"))
    assert sorted(p.name for p in folder.glob("*.pth")) == ["epoch_1.pth", "epoch_2.pth"]
    return folder


@pytest.fixture(scope="module")
def whole_fit(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed fit of 3 epochs."""
    return run_fit(tmp_path_factory.mktemp("whole"), rows[::2], epochs=3)[2]


@pytest.fixture(scope="module")
def whole(whole_fit: Path) -> bytes:
    return weights(whole_fit)


def test_resumes_from_the_newest_epoch(stopped: Path, whole: bytes, small_fit: Callable[..., Any]) -> None:
    _, outcome, folder = small_fit("stopped", epochs=3)
    assert outcome.resumed_at == 2
    assert weights(folder) == whole
    rows = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(12))


@pytest.mark.parametrize(("before", "after"), [(4, 16), (16, 4)])
def test_another_device_batch_after_the_interruption(before: int, after: int, rows: list[Row], tmp_path: Path) -> None:
    """Iterations are then fewer or more, updates are not: the rates and losses of an undisturbed fit."""
    kept, settings = rows[::2], {"accumulate": 4, "epochs": 2}
    first, second = (ComputeOptions(device="cpu", workers=0, fit_clips=clips) for clips in (before, after))
    run_fit(tmp_path / "whole", kept, compute=second, **settings)
    with pytest.raises(StoppedError):
        run_fit(tmp_path / "cut", kept, compute=first, progress=stop_at(16 // before + 1), **settings)
    assert run_fit(tmp_path / "cut", kept, compute=second, **settings)[1].resumed_at == 1
    curves = [(tmp_path / name / "curve.jsonl").read_text().splitlines() for name in ("whole", "cut")]
    whole, cut = ([row for row in map(json.loads, lines) if row["epoch"]] for lines in curves)
    assert [row["iteration"] for row in cut] == [row["iteration"] for row in whole]
    np.testing.assert_allclose([row["lr"] for row in cut], [row["lr"] for row in whole], rtol=1e-9)
    np.testing.assert_allclose([row["loss"] for row in cut], [row["loss"] for row in whole], rtol=1e-3)
    assert len(curves[1]) - len(cut) == 16 // before


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "other keys"])
def test_a_torn_newest_checkpoint_is_skipped(
    stopped: Path, whole: bytes, small_fit: Callable[..., Any], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    newest = stopped / "epoch_2.pth"
    data = newest.read_bytes()
    if damage == "other keys":
        torch.save({"something": 1}, newest)
    else:
        newest.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "text": b"not a checkpoint"}[damage])
    _, outcome, folder = small_fit("stopped", epochs=3)
    assert outcome.resumed_at == 1
    assert weights(folder) == whole
    assert "epoch_2.pth" in caplog.text


def test_nothing_readable_starts_anew(stopped: Path, whole: bytes, small_fit: Callable[..., Any]) -> None:
    for path in stopped.glob("*.pth"):
        path.write_bytes(b"")
    _, outcome, folder = small_fit("stopped", epochs=3)
    assert outcome.resumed_at == 0
    assert weights(folder) == whole


def test_killed_between_the_last_epoch_and_the_weights(
    small_fit: Callable[..., Any], whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(state: dict[str, torch.Tensor]) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("harness.engine.training.kept_weights.save", full_disk)
        small_fit("last", epochs=3)
    _, outcome, folder = small_fit("last", epochs=3)
    assert outcome.resumed_at == 3
    assert weights(folder) == whole
    assert outcome.final_loss is not None and np.isfinite(outcome.final_loss)


def test_a_curve_that_was_lost_does_not_stop_the_fit(
    stopped: Path, whole: bytes, small_fit: Callable[..., Any]
) -> None:
    (stopped / "curve.jsonl").write_text('{"epoch": 0, "iter')
    assert weights(small_fit("stopped", epochs=3)[2]) == whole


def test_checkpoints_hold_plain_types_only(stopped: Path) -> None:
    """Loading needs no class but torch's own tensors; nothing is executed."""
    for path in epoch_checkpoints(stopped):
        torch.load(path, weights_only=True)
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
            used = {
                f"{module}.{cls}"
                for op, text, _ in _operations(archive.read(name))
                if op == "GLOBAL"
                for module, cls in [text.split(" ")]
            }
        assert used <= {"torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "collections.OrderedDict"}, used


def _operations(data: bytes) -> list[tuple[str, Any, Any]]:
    return [(op.name, argument, position) for op, argument, position in pickletools.genops(data)]


def test_checkpoints_hold_what_learns_and_no_more(stopped: Path, small_fit: Callable[..., Any]) -> None:
    method, _, _ = small_fit("stopped", epochs=3)
    trained = {f"method.{name}" for name in method.trained_state()}
    assert set(torch.load(stopped / "epoch_3.pth", weights_only=True)["state_dict"]) == trained
    assert any("token_embedding" in name for name, _ in method.named_parameters())
    assert not any("token_embedding" in name for name in trained)


def test_the_last_two_checkpoints_are_kept(whole_fit: Path) -> None:
    assert [p.name for p in epoch_checkpoints(whole_fit)] == ["epoch_3.pth", "epoch_2.pth"]


def test_left_overs_of_a_kill_are_swept(stopped: Path, small_fit: Callable[..., Any]) -> None:
    torn = stopped / ".epoch_3.pth.a1b2c3.tmp"
    torn.write_bytes(b"half a checkpoint")
    small_fit("stopped", epochs=3)
    assert not torn.exists()


def test_a_checkpoint_that_would_run_code_is_skipped(
    stopped: Path, small_fit: Callable[..., Any], tmp_path: Path
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    torch.save({"meta": Evil(), "state_dict": {}, "optimizer": {}}, stopped / "epoch_2.pth", pickle_module=pickle)
    _, outcome, _ = small_fit("stopped", epochs=3)
    assert outcome.resumed_at == 1
    assert not (tmp_path / "executed").exists()
