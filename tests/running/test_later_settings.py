"""Dense views, clipped gradients and composed augmentations from the command line to the records."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cells.backbone import BackboneChoice
from harness.cells.from_request import expand
from harness.cells.plan import make_plan
from harness.cells.request import MethodChoice, Request
from harness.machine.settings import load_settings
from results.measurement_words import signature
from results.record import read_record
from tests.conftest import TINY_RUN, in_process

VIEWS = {"frames": "2", "clips": "3", "sampling": "slowfast:2", "normalize": "clip", "combine": "logits"}
RECIPE = {
    "epochs": "1", "ranks": "1", "accumulate": "1", "warmup_epochs": "0", "average": "none",
    "augmentation": "rand-m7-n4-mstd0.5-inc1+short_side:224-256+erasing:0.25",
}  # fmt: skip


def planned(data: Path, runs: Path, method: str, recipe: dict[str, str], views: dict[str, str], evals: dict[str, str]):
    request = Request(
        (MethodChoice(method),), ("b2n",), (str(data),), BackboneChoice("mini-clip", None), recipe, views,
        repeats=(1,), eval_views=evals,
    )  # fmt: skip
    return make_plan(expand(request, load_settings({"runs": str(runs)}, {"HARNESS_CONFIG": "/dev/null"})))


@pytest.mark.slow
def test_settings_of_a_fit_make_other_fits_and_those_of_an_eval_do_not(
    finished_runs: Path, small_dataset: Path
) -> None:
    usual = {k: v for k, v in RECIPE.items() if k not in ("average", "augmentation")}

    def states(recipe: dict[str, str], views: dict[str, str], evals: dict[str, str] | None = None) -> tuple[str, str]:
        plan = planned(small_dataset, finished_runs, "vificlip", {**usual, **recipe}, views, evals or {})
        return plan.fits[0].state, plan.evals[0].state

    frames = {"frames": "2"}
    assert states({}, frames) == ("done", "done")
    assert states({}, frames, {"combine": "logits"})[0] == "done"
    assert states({}, {**frames, "resize": "slowfast", "combine": "logits"})[0] == "done"
    assert states({}, frames, {"sampling": "dense:2"}) == ("done", "stale")
    for recipe, views in (
        ({"clip_norm": "1"}, frames), ({"augmentation": "short_side:224-256"}, frames),
        ({"schedule": "slowfast_cosine"}, frames), ({}, {**frames, "sampling": "dense:2"}),
    ):  # fmt: skip
        assert states(recipe, views)[0] == "stale", (recipe, views)


@pytest.mark.slow
def test_a_run_of_each_method_as_published(small_dataset: Path, tmp_path: Path) -> None:
    """Sampling, augmentation, clipping and schedule as in the SlowFast code; the records state all of them."""
    settings = [*(f"--views={k}={v}" for k, v in VIEWS.items()), *(f"--recipe={k}={v}" for k, v in RECIPE.items())]
    places = ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    assert in_process("run", "--method", "open_vclip", "froster", *TINY_RUN, *places, *settings) == 0
    records = [read_record(path) for path in sorted((tmp_path / "runs").rglob("*.record.json"))]
    assert {r.measurement.method.name for r in records} == {"open_vclip", "froster"} and len(records) == 6
    for record in records:
        m = record.measurement
        assert m.fitted and m.fitted.views.sampling == "slowfast:2" and m.fitted.views.combine == "probabilities"
        assert (m.fitted.recipe.clip_norm, m.fitted.recipe.schedule) == (1.0, "slowfast_cosine")
        assert m.fitted.recipe.augmentation == RECIPE["augmentation"]
        assert "2x3x1-slowfast:2-clipnorm-exact-logits" in signature(m)
