"""What a plan is said to cost follows from what finished cells took."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.cells.backbone import BackboneChoice
from harness.cells.estimate import estimate
from harness.cells.from_request import expand
from harness.cells.plan import Plan, make_plan
from harness.cells.request import MethodChoice, Request
from harness.machine.settings import load_settings
from tests.endurance.conftest import only

RECIPE = {"ranks": "1", "accumulate": "1", "warmup_epochs": "0"}


@pytest.fixture
def plan_of(small_dataset: Path) -> Any:
    def make(runs: Path, epochs: int, frames: int = 2) -> Plan:
        request = Request(
            (MethodChoice("vificlip", {}),), ("b2n",), (str(small_dataset),), BackboneChoice("mini-clip", None),
            {**RECIPE, "epochs": str(epochs)}, {"frames": str(frames)}, repeats=(1,),
        )  # fmt: skip
        return make_plan(expand(request, load_settings({"runs": str(runs)}, {"HARNESS_CONFIG": "/dev/null"})))

    return make


def test_hours_and_disk_follow_from_finished_cells(finished_runs: Path, tmp_path: Path, plan_of: Any) -> None:
    runs = Path(shutil.copytree(finished_runs, tmp_path / "runs"))
    done = estimate(plan_of(runs, 1), runs)
    assert (done.fit_hours, done.eval_hours, done.disk_gib) == (0, 0, 0)
    fit = json.loads(only(runs, "fit.json").read_text())
    open_ = estimate(plan_of(runs, 4), runs)
    assert open_.fit_hours == pytest.approx(4 * fit["outcome"]["seconds"] / 3600)
    weights = only(runs, "weights.safetensors").stat().st_size
    assert open_.disk_gib == pytest.approx(7 * weights / 2**30)  # what stays, and checkpoints on the way
    assert (open_.measured_fits, open_.measured_evals) == (1, 3)
    twice = estimate(plan_of(runs, 4, frames=4), runs)
    assert twice.fit_hours == pytest.approx(2 * open_.fit_hours)
    assert twice.eval_hours == pytest.approx(2 * open_.eval_hours)


def test_nothing_measured_is_said_to_be_unknown(tmp_path: Path, plan_of: Any) -> None:
    budget = estimate(plan_of(tmp_path / "runs", 1), tmp_path / "runs")
    assert budget.fit_hours is budget.eval_hours is budget.disk_gib is None
    assert "fits unknown, evals unknown, disk unknown" in str(budget)
