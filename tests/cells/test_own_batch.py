"""An effective batch larger than the list is lowered by one rule for all methods, and every row states it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.machine.settings import Settings, load_settings
from harness.spec import Recipe
from harness.spec.updates import BATCH, fitted_batch, plan_updates
from results.measurement_words import signature

METHODS = ("vificlip", "xclip", "actionclip", "image_ft")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache")}, {})


def own(root: Path, clips: int, classes: int = 4) -> Path:
    for label in range(classes):
        for side in ("train", "val"):
            folder = root / side / f"class {label}"
            folder.mkdir(parents=True)
            for i in range(clips if side == "train" else 1):
                (folder / f"{i}.avi").write_bytes(f"{side} {label} {i}".encode())
    return root


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 12, 31, 36, 63, 64, 65, 500])
@pytest.mark.parametrize("factors", [(4, 8, 2), (8, 1, 1), (1, 4, 16), (16, 2, 3)])
def test_every_list_gives_an_update_after_the_rule(n: int, factors: tuple[int, int, int]) -> None:
    recipe = Recipe(epochs=1, lr=1e-3, micro_batch=factors[0], ranks=factors[1], accumulate=factors[2])
    lowered = fitted_batch(n, recipe)
    assert plan_updates(n, lowered).updates >= 1
    assert fitted_batch(n, lowered) is lowered
    try:
        plan_updates(n, recipe)
    except UserError as error:
        words = shlex.split(error.hint.removeprefix("Choose a smaller batch: ").rstrip("."))
        values = dict(word.split("=") for word in words if word != "--recipe")
        changed = Recipe(epochs=1, lr=1e-3, **{"micro_batch": factors[0], "ranks": factors[1], "accumulate": factors[2],
                                               **{name: int(value) for name, value in values.items()}})  # fmt: skip
        assert changed == lowered, "the advice works, and is the rule"
    else:
        assert lowered is recipe


def test_the_rule_keeps_micro_batches_longest() -> None:
    recipe = Recipe(epochs=1, lr=1e-3)

    def factors(n: int) -> tuple[int, int, int]:
        lowered = fitted_batch(n, recipe)
        return lowered.micro_batch, lowered.ranks, lowered.accumulate

    assert [factors(n) for n in (64, 36, 22, 7, 3)] == [(4, 8, 2), (4, 8, 1), (4, 7, 1), (4, 2, 1), (3, 1, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["b2n", "few_shot", "supervised"])
def test_real_clip_fits_small_own_lists_and_states_the_batch(settings: Settings, tmp_path: Path, protocol: str) -> None:
    root = own(tmp_path / "d", 3)
    request = Request(tuple(map(MethodChoice, METHODS)), (protocol,), (str(root),))
    cells = expand(request, settings)
    assert {cell.described.method.name for cell in cells.fits} == set(METHODS)
    for cell in cells.fits:
        training = cell.described.training
        assert plan_updates(len(cell.train), training.recipe).updates >= 1
        assert training.declared.effective_batch > len(cell.train)
        assert training.recipe == fitted_batch(len(cell.train), training.declared)
        changed = [
            f"{name}={getattr(training.recipe, name)}"
            for name in BATCH
            if getattr(training.recipe, name) != getattr(training.declared, name)
        ]
        signatures = [signature(e.measurement) for e in cells.evals if e.fit is not None and e.fit.key == cell.key]
        assert changed and all(text in words for text in changed for words in (cell.name, *signatures))


def test_a_requested_batch_that_is_too_large_is_lowered_too(settings: Settings, tmp_path: Path) -> None:
    request = Request(
        (MethodChoice("vificlip"),), ("supervised",), (str(own(tmp_path / "d", 3)),), recipe={"ranks": "100"}
    )
    (fit,) = expand(request, settings).fits
    assert fit.described.training.recipe.ranks == 3
