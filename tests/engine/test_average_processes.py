"""Averages, interpolated weights and random draws do not depend on a SIGKILL or on the number of processes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import in_process
from tests.endurance.preloaded import Server
from tests.engine.test_processes import arguments, assert_same_scores, forked
from tests.engine.test_resume import kill_when, start

pytestmark = pytest.mark.slow
AVERAGED = ("--recipe", "average=2-4", "--recipe", "initial_share=0.25")
DRAWN = ("--recipe", "epochs=3", "--recipe", "micro_batch=4", "--recipe", "schedule=constant", "--set", "layers=2")


def test_an_average_survives_sigkill(small_dataset: Path, tmp_path: Path) -> None:
    from tests.engine.test_resume import arguments as command_of

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert in_process(*command_of(small_dataset, whole), *AVERAGED) == 0
    process = start(small_dataset, cut, *AVERAGED)
    kill_when(process, lambda: any(cut.rglob("kept/epoch_3.safetensors")))
    assert not list(cut.rglob("weights.safetensors"))
    assert in_process(*command_of(small_dataset, cut), *AVERAGED) == 0
    files = [next(runs.rglob("weights.safetensors")).read_bytes() for runs in (cut, whole)]
    assert files[0] == files[1]
    kept = json.loads(next(cut.rglob("fit.json")).read_text())["kept"]
    left = sorted(path.name for path in cut.rglob("kept/*"))
    assert [entry["epoch"] for entry in kept] == [4] and left == ["epoch_4.safetensors"]


@pytest.mark.parametrize("shard", ["none", "zero", "fsdp"])
def test_an_average_of_two_processes(small_dataset: Path, server: Server, tmp_path: Path, shard: str) -> None:
    more = ("--recipe", "epochs=4", *AVERAGED)
    assert in_process(*arguments(small_dataset, tmp_path / "one", *more)) == 0
    forked(server, 2, arguments(small_dataset, tmp_path / "two", *more, "--shard", shard))
    assert_same_scores(tmp_path / "two", tmp_path / "one", "vificlip", 1e-3)


def test_draws_do_not_depend_on_the_number_of_processes(small_dataset: Path, server: Server, tmp_path: Path) -> None:
    """MoTE draws an expert and a temperature for each block and group."""
    assert in_process(*arguments(small_dataset, tmp_path / "one", *DRAWN, methods=("mote",))) == 0
    forked(server, 2, arguments(small_dataset, tmp_path / "two", *DRAWN, methods=("mote",)))
    losses = [
        np.array([json.loads(line)["loss"] for line in next(runs.rglob("curve.jsonl")).read_text().splitlines()])
        for runs in (tmp_path / "one", tmp_path / "two")
    ]
    # One process may take several device batches for an update, of which two processes take one each.
    means = [of_runs.reshape(3, -1).mean(axis=1) for of_runs in losses]
    np.testing.assert_allclose(means[0], means[1], rtol=0, atol=1e-4)
