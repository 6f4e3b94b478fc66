"""`--seeds N`: each training list is fitted N times from fixed seeds, as repeats of kind `seed`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.machine.settings import load_settings
from results.measurement import Expected
from results.measurement_words import recipe_changes
from tests.conftest import in_process

MINI = BackboneChoice("mini-clip", None)
SETTINGS = load_settings({}, {"HARNESS_CONFIG": "/dev/null"})


def cells_of(dataset: object, protocol: str = "supervised", method: str = "vificlip", **more: Any) -> Any:
    return expand(Request((MethodChoice(method),), (protocol,), (str(dataset),), MINI, **more), SETTINGS)


@pytest.mark.parametrize(("protocol", "evals"), [("supervised", 3), ("zero_shot", 3)])
def test_each_list_is_fitted_from_fixed_seeds(small_dataset: Path, protocol: str, evals: int) -> None:
    source = "mini_source" if protocol == "zero_shot" else None
    cells = cells_of(small_dataset, protocol, seeds=3, source=source)
    assert [c.recipe.seed for c in cells.fits] == [1024, 1025, 1026]
    assert len({c.key for c in cells.fits}) == 3 and len({c.folder for c in cells.fits}) == 3
    assert [(c.repeat.kind, c.repeat.index) for c in cells.evals] == [("seed", i) for i in range(1, evals + 1)]
    assert {c.name.partition(" seed ")[2] for c in cells.fits} == {"1", "2", "3"}
    scopes = {c.measurement.protocol.scope for c in cells.evals}
    assert len(scopes) == 1 and scopes.pop().expected == tuple(Expected("all", c.repeat) for c in cells.evals)
    assert not any(recipe_changes(c.measurement.fitted) for c in cells.evals), "the seeds are the protocol's, no change"


def test_few_shot_has_the_seeds_of_each_k(small_dataset: Path) -> None:
    cells = cells_of(small_dataset, "few_shot", seeds=2)
    assert sorted((c.eval.part, c.repeat.index) for c in cells.evals) == [
        (part, i) for part in ("k2", "k4") for i in (1, 2)
    ]


@pytest.mark.slow
def test_the_first_seed_is_the_fit_without_seeds(small_dataset: Path) -> None:
    one, three, five = (cells_of(small_dataset, seeds=n) for n in (0, 3, 5))
    assert one.fits[0].key == three.fits[0].key == five.fits[0].key, "a finished fit is used again"
    assert {c.key for c in three.fits} < {c.key for c in five.fits}
    rows = [{c.measurement.keys.row for c in cells.evals} for cells in (one, three, five)]
    assert all(len(row) == 1 for row in rows) and len(set.union(*rows)) == 3, "another number of seeds is another row"
    lines = {c.measurement.keys.line for cells in (one, three, five) for c in cells.evals}
    assert len(lines) == 3, "and no generation of that row"
    groups = {c.measurement.keys.group for cells in (one, three, five) for c in cells.evals}
    assert len(groups) == 1, "which is ranked with it"


@pytest.mark.slow
def test_another_seed_is_a_changed_recipe_and_another_row(small_dataset: Path) -> None:
    (own,) = cells_of(small_dataset, recipe={"seed": "1025"}).evals
    assert recipe_changes(own.measurement.fitted) == {"seed": 1025}
    rows = {c.measurement.keys.row for c in cells_of(small_dataset, seeds=3).evals}
    assert own.measurement.keys.row not in rows


def test_the_scope_covers_seeds_that_are_not_selected(small_dataset: Path) -> None:
    every, second = (cells_of(small_dataset, seeds=3, repeats=repeats).evals for repeats in ((), (2,)))
    assert [c.key for c in second] == [every[1].key]


def test_an_untrained_method_has_no_seeds(small_dataset: Path) -> None:
    plain, seeded = (cells_of(small_dataset, method="vanilla_clip", seeds=n) for n in (0, 3))
    assert [c.key for c in seeded.evals] == [c.key for c in plain.evals]


@pytest.mark.parametrize(
    ("protocol", "dataset", "kind", "number"),
    [
        ("b2n", "three_subsets", "train_subset", "3 repeats"), ("b2n", "small_dataset", "train_subset", "1 repeat"),
        ("zero_shot", "mini_target", "test_split", "3 repeats"),
    ],
)  # fmt: skip
def test_a_protocol_with_repeats_refuses_seeds(
    request: pytest.FixtureRequest, protocol: str, dataset: str, kind: str, number: str
) -> None:
    with pytest.raises(UserError) as caught:
        cells_of(dataset if dataset == "mini_target" else request.getfixturevalue(dataset), protocol, seeds=2)
    assert f"already has {number} of kind {kind}" in caught.value.message
    assert "--seeds 2 does not apply" in caught.value.message


def test_a_part_does_not_hide_that_seeds_are_refused(small_dataset: Path) -> None:
    with pytest.raises(UserError, match="--seeds 2 does not apply"):
        cells_of(small_dataset, "b2n", seeds=2, parts=("base",))


def test_the_evals_of_the_source_are_selected_by_seed(small_dataset: Path) -> None:
    more: dict[str, Any] = {"seeds": 3, "source": "mini_source", "parts": ("source",)}
    every, second = (cells_of(small_dataset, "zero_shot", repeats=repeats, **more).evals for repeats in ((), (2,)))
    assert [cell.repeat.index for cell in every] == [1, 2, 3]
    assert [cell.key for cell in second] == [every[1].key]


@pytest.mark.parametrize("seeds", [1, -1])
def test_one_seed_is_refused(small_dataset: Path, seeds: int) -> None:
    with pytest.raises(UserError, match=f"--seeds is {seeds}, expected 2 or more"):
        cells_of(small_dataset, seeds=seeds)


def test_seeds_and_a_seed_are_refused(small_dataset: Path) -> None:
    with pytest.raises(UserError, match="--recipe seed=7 is given together with --seeds 3"):
        cells_of(small_dataset, seeds=3, recipe={"seed": "7"})


def test_plan_shows_the_seeds(small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("plan", "--method", "vificlip", "--protocol", "supervised", "--dataset", small_dataset, "--arch",
                 "mini-clip", "--runs", tmp_path, "--seeds", "3", "--json")  # fmt: skip
    assert in_process(*arguments) == 0
    cells = json.loads(capsys.readouterr().out)
    fits, evals = ([c["cell"] for c in cells if c["kind"] == kind] for kind in ("fit", "eval"))
    assert fits == [f"vificlip shapes/train seed {i}" for i in (1, 2, 3)]
    assert evals == [f"vificlip supervised shapes all {i}" for i in (1, 2, 3)]
