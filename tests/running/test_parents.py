"""A fit that starts from another fit: its start is recorded, and another start makes it stale."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from harness.base.errors import UserError
from harness.base.files import file_sha256
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import Cells
from harness.cells.from_request import expand
from harness.cells.plan import Plan, make_plan
from harness.cells.request import MethodChoice, Request
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings, load_settings
from harness.plugins import loose_files
from harness.running.build import fitted_method
from harness.running.run import execute
from results.fit_file import read_fit_file, write_fit_file
from results.measurement_words import unranked_reasons
from results.record import read_record

PLUGIN = '''
"""Two stages: a projection learnt on the whole training list, then a shift of the features."""

import torch

from harness.api import ClipMethod, MethodCard, ParentFit, Recipe, register_method

RECIPE = Recipe(epochs=1, lr=1e-2, warmup_epochs=0, ranks=1, accumulate=1, augmentation="none", mixup=0.0, cutmix=0.0)


@register_method("stage_one")
class StageOne(ClipMethod):
    card = MethodCard(title="Stage one")
    recipe = RECIPE

    def setup(self):
        self.learn_only("visual.proj")


@register_method("stage_two")
class StageTwo(ClipMethod):
    card = MethodCard(title="Stage two")
    recipe = RECIPE
    parent = ParentFit("stage_one", "supervised", recipe=(("lr", "5e-3"), ("initial_share", "0.5")))

    def setup(self):
        self.freeze_clip()
        self.shift = torch.nn.Parameter(torch.zeros(self.embed_dim))

    def pool(self, frames):
        return frames.mean(dim=1) + self.shift
'''
COMPUTE = ComputeOptions(device="cpu", workers=0, quiet=True)
pytestmark = pytest.mark.usefixtures("plugins_forgotten")


@pytest.fixture
def two_stages(tmp_path: Path) -> None:
    file = tmp_path / "two_stages.py"
    file.write_text(PLUGIN)
    loose_files.load_file(file)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    places = {"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache")}
    return load_settings(places, {"HARNESS_CONFIG": "/dev/null"})


@pytest.fixture
def cells(two_stages: None, settings: Settings, small_dataset: Path, tmp_path: Path) -> Iterator[Cells]:
    data = Path(shutil.copytree(small_dataset, tmp_path / "shapes"))
    request = Request(
        (MethodChoice("stage_two"),), ("b2n",), (str(data),), BackboneChoice("mini-clip", None), {}, {"frames": "2"},
        repeats=(1,),
    )  # fmt: skip
    yield expand(request, settings)


@pytest.fixture(scope="module")
def computed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the runs of the first test that computes all cells; the next tests copy them."""
    return tmp_path_factory.mktemp("two_stages") / "runs"


@pytest.fixture
def finished(cells: Cells, settings: Settings, computed_once: Path) -> Cells:
    """The cells after a run that finished all of them."""
    if computed_once.is_dir():
        shutil.copytree(computed_once, settings.runs.path)
    else:
        execute(make_plan(cells), settings, COMPUTE)
        shutil.copytree(settings.runs.path, computed_once)
    assert states(make_plan(cells)) == {"fits": ["done", "done"], "evals": ["done"]}
    return cells


def computed_again(folder: Path) -> None:
    """The state after a fit was computed again and ended with other weights, as on another machine."""
    fitted = read_fit_file(folder)
    assert fitted is not None
    path = folder / fitted.weights.file
    state = {name: value * 1.5 for name, value in load_file(path).items()}
    save_file(state, path)
    sha256 = file_sha256(path)
    training = replace(fitted.described.training, weights_sha256=sha256)
    described = replace(fitted.described, training=training)
    write_fit_file(folder, replace(fitted, described=described, weights=replace(fitted.weights, sha256=sha256)))


def states(plan: Plan) -> dict[str, list[str]]:
    return {"fits": [s.state for s in plan.fits], "evals": sorted({s.state for s in plan.evals})}


def test_settings_of_the_parents_recipe(cells: Cells) -> None:
    """They change the parent alone, and are declared: by the method that starts from the fit."""
    parent, child = (fit.described.training for fit in cells.fits)
    assert (parent.recipe.lr, parent.recipe.initial_share) == (5e-3, 0.5)
    assert parent.declared == parent.recipe
    assert (child.declared.lr, child.recipe.lr, child.recipe.initial_share) == (1e-2, 1e-2, 0.0)


@pytest.mark.slow
def test_a_fit_knows_what_it_started_from_and_another_start_makes_it_stale(finished: Cells, settings: Settings) -> None:
    parent, child = finished.fits
    first = read_fit_file(child.folder)
    parent_fit = read_fit_file(parent.folder)
    assert first is not None and parent_fit is not None
    start = first.described.training.start
    assert (start.kind, start.key, start.weights_sha256) == ("fit", parent.key, parent_fit.weights.sha256)
    record = read_record(finished.evals[0].record)
    assert record.measurement.fitted is not None and record.measurement.fitted.start == start

    computed_again(parent.folder)
    plan = make_plan(finished)
    assert states(plan) == {"fits": ["done", "stale"], "evals": ["stale"]}
    assert "was computed again and has different weights" in plan.fits[1].reason
    assert all(s.reason.startswith("its fit is stale: its parent fit") for s in plan.evals)
    with pytest.raises(UserError, match="computed again"):
        fitted_method(finished.evals[0], settings)

    execute(plan, settings, COMPUTE)
    assert states(make_plan(finished)) == {"fits": ["done", "done"], "evals": ["done"]}
    second = read_fit_file(child.folder)
    assert second is not None
    assert second.described.training.start.weights_sha256 != start.weights_sha256
    assert second.weights.sha256 != first.weights.sha256


@pytest.mark.slow
def test_an_interrupted_fit_is_not_resumed_from_another_start(finished: Cells, settings: Settings) -> None:
    _, child = finished.fits
    undisturbed = read_fit_file(child.folder)
    shutil.rmtree(child.folder)
    child.folder.mkdir()
    (child.folder / ".start").write_text("of other weights")
    (child.folder / "epoch_1.pth").write_bytes(b"of other weights")
    execute(make_plan(finished), settings, COMPUTE)
    again = read_fit_file(child.folder)
    assert undisturbed is not None and again is not None
    assert again.weights.sha256 == undisturbed.weights.sha256
    assert sorted(path.name for path in child.folder.glob("*")) == [
        "curve.jsonl", "evals", "fit.json", "weights.safetensors"
    ]  # fmt: skip


@pytest.mark.slow
def test_an_incomplete_parent_makes_its_children_incomplete(cells: Cells, settings: Settings, tmp_path: Path) -> None:
    parent, child = cells.fits
    base = {path for path, _ in child.train.rows}
    gone = next(path for path, _ in parent.train.rows if path not in base)
    place = parent.dataset.locate(gone)
    assert place is not None
    place.rename(tmp_path / "away.avi")
    execute(make_plan(cells), settings, replace(COMPUTE, allow_missing=True))
    record = read_record(cells.evals[0].record)
    training = record.measurement.fitted
    assert training is not None and training.used == training.list.n and not training.start.complete
    assert any("parent fit" in reason for reason in unranked_reasons(record.measurement))

    (tmp_path / "away.avi").rename(place)
    plan = make_plan(cells)
    assert states(plan) == {"fits": ["stale", "stale"], "evals": ["stale"]}
    assert "its parent fit is stale" in plan.fits[1].reason
    execute(plan, settings, COMPUTE)
    assert not unranked_reasons(read_record(cells.evals[0].record).measurement)


@pytest.mark.slow
def test_a_parent_whose_weights_were_changed_is_refused(finished: Cells, settings: Settings) -> None:
    parent, _ = finished.fits
    (parent.folder / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="have sha256"):
        fitted_method(finished.evals[0], settings)


@pytest.mark.slow
def test_a_removed_parent_is_computed_again_only_if_it_is_needed(finished: Cells, settings: Settings) -> None:
    parent, child = finished.fits
    before = json.loads((child.folder / "fit.json").read_text())["weights"]
    shutil.rmtree(parent.folder)
    assert make_plan(finished).open_fits() == []
    finished.evals[0].record.unlink()
    assert [cell.key for cell in make_plan(finished).open_fits()] == [parent.key, child.key]
    outcome = execute(make_plan(finished), settings, COMPUTE)
    assert (outcome.fits, outcome.evals) == (1, 1)
    assert json.loads((child.folder / "fit.json").read_text())["weights"] == before


@pytest.mark.slow
def test_a_fit_whose_start_failed_is_not_tried(settings: Settings, small_dataset: Path, tmp_path: Path) -> None:
    """B29: with `--keep-going` the error of the first stage is the one that is named."""
    file = tmp_path / "two_stages.py"
    file.write_text(PLUGIN.replace('self.learn_only("visual.proj")', 'raise RuntimeError("out of tune")'))
    loose_files.load_file(file)
    request = Request(
        (MethodChoice("stage_two"),), ("b2n",), (str(small_dataset),), BackboneChoice("mini-clip", None), {},
        {"frames": "2"}, repeats=(1,),
    )  # fmt: skip
    failures = execute(make_plan(expand(request, settings)), settings, COMPUTE, keep_going=True).failures
    assert "out of tune" in failures[0][1] and failures[0][0].startswith("fit stage_one")
    assert failures[1][0].startswith("fit stage_two") and "from which it starts, failed" in failures[1][1]
    assert {error for _, error in failures[2:]} == {"its fit failed"} and len(failures) > 2
