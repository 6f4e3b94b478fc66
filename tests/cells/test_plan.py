"""Done, missing or stale, and why: judged from the files on disk."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.from_request import expand
from harness.cells.plan import Plan, make_plan
from harness.cells.request import MethodChoice, Request
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import load_settings
from harness.running.run import execute
from results.fit_file import read_fit_file, write_fit_file
from results.record import read_record

NO_CONFIG = {"HARNESS_CONFIG": "/dev/null"}
RECIPE = {"epochs": "1", "ranks": "1", "accumulate": "1", "warmup_epochs": "0"}


@pytest.fixture
def runs(finished_runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_runs, tmp_path / "runs"))


@pytest.fixture
def plan_of(runs: Path, small_dataset: Path) -> Any:
    def make(recipe: dict[str, str] | None = None, views: dict[str, str] | None = None, **options: str) -> Plan:
        request = Request(
            (MethodChoice("vificlip", options),), ("b2n",), (str(small_dataset),), BackboneChoice("mini-clip", None),
            {**RECIPE, **(recipe or {})}, views or {"frames": "2"}, repeats=(1,),
        )  # fmt: skip
        return make_plan(expand(request, load_settings({"runs": str(runs)}, {"HARNESS_CONFIG": "/dev/null"})))

    return make


def states(plan: Plan) -> list[str]:
    return [state.state for state in (*plan.fits, *plan.evals)]


def file(runs: Path, pattern: str) -> Path:
    return next(iter(sorted(runs.rglob(pattern))))


def test_all_done(plan_of: Any) -> None:
    plan = plan_of()
    assert states(plan) == ["done"] * 4
    assert plan.open_fits() == [] and plan.open_evals() == []


def test_nothing_done(plan_of: Any, runs: Path) -> None:
    shutil.rmtree(runs)
    plan = plan_of()
    assert states(plan) == ["missing"] * 4
    assert (len(plan.open_fits()), len(plan.open_evals())) == (1, 3)
    assert {state.reason for state in plan.evals} == {"not evaluated yet"}


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"recipe": {"lr": "0.5"}}, ["lr 0.0006 -> 0.5"]),
        ({"recipe": {"epochs": "2", "seed": "7"}}, ["epochs 1 -> 2", "seed 1024 -> 7"]),
        ({"views": {"frames": "3"}}, ["views frames 2 -> 3"]),
    ],
    ids=str,
)
def test_stale_says_what_changed(plan_of: Any, change: dict[str, Any], reasons: list[str]) -> None:
    plan = plan_of(**change)
    assert states(plan)[0] == "stale"
    assert all(reason in plan.fits[0].reason for reason in reasons), plan.fits[0].reason
    for state in plan.evals:
        assert state.state == "stale" and all(reason in state.reason for reason in reasons), state.reason


def test_removed_and_changed_predictions(plan_of: Any, runs: Path) -> None:
    path = file(runs, "*base_val*.predictions.csv.gz")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"circle", b"square", 1)))
    assert [s.reason for s in plan_of().evals if s.state == "stale"] == ["its predictions were changed"]
    path.unlink()
    plan = plan_of()
    assert [s.reason for s in plan.evals if s.state == "stale"] == ["its predictions were removed"]
    assert len(plan.open_evals()) == 1 and plan.open_fits() == []


def test_removed_weights_matter_only_where_an_eval_needs_them(plan_of: Any, runs: Path) -> None:
    file(runs, "weights.safetensors").unlink()
    plan = plan_of()
    assert (plan.fits[0].state, plan.fits[0].reason) == ("stale", "its weights were removed")
    assert plan.open_fits() == []
    file(runs, "*novel_val*.record.json").unlink()
    assert len(plan_of().open_fits()) == 1


def test_a_damaged_record_is_stale(plan_of: Any, runs: Path) -> None:
    path = file(runs, "*novel_val*.record.json")
    for content in ("", "{", "[]", '{"schema": 99}'):
        path.write_text(content)
        found = [s for s in plan_of().evals if s.state != "done"]
        assert [s.state for s in found] == ["stale"] and str(path) in found[0].reason


def test_an_interrupted_fit_resumes(plan_of: Any, runs: Path) -> None:
    fit = file(runs, "fit.json")
    fit.with_name("epoch_1.pth").write_bytes(b"")
    fit.unlink()
    shutil.rmtree(fit.parent / "evals")
    assert plan_of().fits[0].reason == "interrupted; resumes from its last epoch"


def test_a_fit_file_that_cannot_be_read(plan_of: Any, runs: Path) -> None:
    path = file(runs, "fit.json")
    for content, reason in (("{", "fit.json is not a JSON file"), ('{"schema": 1}', "schema is 1, expected 2")):
        path.write_text(content)
        with pytest.raises(UserError, match=reason):
            plan_of()


def test_videos_that_were_missing_and_are_there_now(small_dataset: Path, tmp_path: Path) -> None:
    """Fit and evals that lacked a video are computed again once it is there; others stay as they are."""
    data, away = Path(shutil.copytree(small_dataset, tmp_path / "shapes")), tmp_path / "away"
    away.mkdir()
    settings = load_settings({"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache")}, NO_CONFIG)
    request = Request(
        (MethodChoice("vificlip"),), ("b2n",), (str(data),), BackboneChoice("mini-clip", None), RECIPE, {"frames": "2"},
        repeats=(1,),
    )  # fmt: skip
    cells = expand(request, settings)
    fit, (base, novel, joint) = cells.fits[0], cells.evals
    trained, tested = fit.train.rows[0][0], novel.test.rows[0][0]
    compute = ComputeOptions(device="cpu", workers=0, quiet=True, allow_missing=True)
    for name in (trained, tested):
        shutil.move(data / name, away / Path(name).name)
    execute(make_plan(cells), settings, compute)
    assert states(make_plan(cells)) == ["done"] * 4
    before = {cell.key: read_record(cell.record) for cell in cells.evals}

    shutil.move(away / Path(tested).name, data / tested)
    plan = make_plan(cells)
    assert {state.cell.key for state in plan.evals if state.open} == {novel.key, joint.key}
    assert {state.reason for state in plan.evals if state.open} == {"1 of 1 videos that were missing exist now"}
    assert plan.open_fits() == []
    outcome = execute(plan, settings, compute)
    assert (outcome.fits, outcome.evals) == (0, 2) and states(make_plan(cells)) == ["done"] * 4
    evaluation = read_record(novel.record).measurement.evaluation
    assert evaluation.evaluated == evaluation.list.n == before[novel.key].measurement.evaluation.evaluated + 1

    shutil.move(away / Path(trained).name, data / trained)
    plan = make_plan(cells)
    assert states(plan) == ["stale"] * 4
    assert plan.evals[0].reason == "its fit is stale: 1 of 1 videos that were missing exist now"
    outcome = execute(plan, settings, ComputeOptions(device="cpu", workers=0, quiet=True))
    assert (outcome.fits, outcome.evals) == (1, 3) and states(make_plan(cells)) == ["done"] * 4
    old, new = before[base.key], read_record(base.record)
    fits = [record.measurement.fitted for record in (old, new)]
    assert fits[0] is not None and fits[1] is not None and fits[0].weights_sha256 != fits[1].weights_sha256
    assert old.incomplete and not new.incomplete


def test_evals_of_weights_that_are_no_longer_those_of_the_fit(plan_of: Any, runs: Path) -> None:
    folder = file(runs, "fit.json").parent
    fitted = read_fit_file(folder)
    assert fitted is not None
    write_fit_file(folder, replace(fitted, weights=replace(fitted.weights, sha256="0" * 64)))
    plan = plan_of()
    assert states(plan) == ["done", "stale", "stale", "stale"]
    assert {state.reason for state in plan.evals} == {"its fit was computed again and has different weights"}
