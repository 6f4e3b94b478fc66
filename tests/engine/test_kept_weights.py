"""Averages over epochs, interpolation with the initial weights and kept epochs: the weights that a fit evaluates."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.api import ClipMethod, Recipe, UserError
from harness.engine.training.kept_weights import finish_weights, initial_weights, kept_file, mean_state
from harness.engine.training.trained_weights import WEIGHTS
from harness.engine.video.loaders import Row
from harness.machine.compute_options import ComputeOptions
from results.fit_file import KEPT
from tests.engine.conftest import RECIPE, run_fit, tiny_method

FAST = dict(ranks=1, accumulate=1, warmup_epochs=0, lr=1e-3, epochs=2)


def weights(folder: Path, rows: list[Row], keep: str = "none", **more: Any) -> dict[str, Tensor]:
    compute = ComputeOptions(device="cpu", workers=0, fit_clips=4, keep_epochs=keep)
    run_fit(folder, rows[::8], compute=compute, **{**FAST, **more})
    return load_file(folder / WEIGHTS)


@pytest.fixture(scope="module")
def plain(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain fit of two epochs, both of which are kept."""
    folder = tmp_path_factory.mktemp("plain")
    weights(folder, rows, keep="all")
    return folder


def epochs_of(folder: Path, *numbers: int) -> list[dict[str, Tensor]]:
    return [load_file(kept_file(folder, number)) for number in numbers]


@pytest.mark.slow
def test_kept_epochs(plain: Path) -> None:
    assert sorted(path.name for path in (plain / KEPT).iterdir()) == [f"epoch_{i}.safetensors" for i in (1, 2)]
    first, last = epochs_of(plain, 1, 2)
    assert any(not torch.equal(first[name], last[name]) for name in first)
    assert all(torch.equal(value, last[name]) for name, value in load_file(plain / WEIGHTS).items())


def expected(plain: Path, epochs: tuple[int, ...], share: float, method: ClipMethod) -> dict[str, Tensor]:
    states = epochs_of(plain, *epochs)
    before = method.trained_state()
    return {
        name: (1 - share) * torch.stack([state[name].double() for state in states]).mean(dim=0) + share * before[name]
        for name in states[0]
    }


@pytest.mark.slow
def test_average_and_interpolation_survive_an_interruption(plain: Path, rows: list[Row], tmp_path: Path) -> None:
    """Stopped in the last epoch and resumed: the same bytes as from the epochs of an uninterrupted fit."""

    class StopError(Exception):
        pass

    def stop(done: int, total: int, loss: float) -> None:
        if done == total:
            raise StopError

    recipe = dict(average="1-2", initial_share=0.25)
    compute = ComputeOptions(device="cpu", workers=0, fit_clips=4)
    with pytest.raises(StopError):
        run_fit(tmp_path / "cut", rows[::8], compute=compute, progress=stop, **FAST, **recipe)
    assert not (tmp_path / "cut" / WEIGHTS).exists() and kept_file(tmp_path / "cut", 1).is_file()
    found = weights(tmp_path / "cut", rows, **recipe)
    for name, value in expected(plain, (1, 2), 0.25, tiny_method()).items():
        torch.testing.assert_close(found[name].double(), value, rtol=0, atol=1e-6)
    whole, settings = tiny_method(), replace(RECIPE, **{**FAST, **recipe})
    files = {epoch: kept_file(plain, epoch) for epoch in (1, 2)}
    finish_weights(whole, settings, tmp_path / "whole", files, initial_weights(whole, settings))
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


@pytest.mark.slow
def test_a_removed_epoch_is_one_error(plain: Path, rows: list[Row], tmp_path: Path) -> None:
    folder = tmp_path / "fit"

    def remove(done: int, total: int, loss: float) -> None:
        if done == total:
            shutil.rmtree(folder / KEPT)

    compute = ComputeOptions(device="cpu", workers=0, fit_clips=4)
    with pytest.raises(UserError, match=r"The weights of epoch 1 are not in .*, expected the epochs 1, 2") as raised:
        run_fit(folder, rows[::8], compute=compute, progress=remove, **FAST, average="1-2")
    assert "--force" in raised.value.hint


def test_the_mean_keeps_integers_and_types(tmp_path: Path) -> None:
    from harness.engine.training.kept_weights import write_state

    for number, value in enumerate((1.0, 2.0)):
        state = {"a": torch.full((2,), value, dtype=torch.float16), "n": torch.tensor(number)}
        write_state(tmp_path / f"{number}.safetensors", state)
    mean = mean_state([tmp_path / "0.safetensors", tmp_path / "1.safetensors"])
    assert mean["a"].dtype == torch.float16 and mean["a"].tolist() == [1.5, 1.5] and int(mean["n"]) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"average": "2-"}, "recipe.average is '2-', expected epochs such as 5, 2-22"),
        ({"average": "2-9"}, "recipe.average is '2-9', expected epochs from 1 to 4"),
        ({"average": "3-2"}, "expected epochs from 1 to 4"),
        ({"average": "1-4:0"}, "expected epochs from 1 to 4"),
        ({"selection": "best"}, "recipe.selection is 'best', expected last or epoch:N"),
        ({"selection": "epoch:"}, "expected last or epoch:N"),
        ({"selection": "epoch:5"}, "recipe.selection is 'epoch:5', expected an epoch from 1 to 4"),
        ({"initial_share": 1.5}, "recipe.initial_share is 1.5, expected a number from 0 to 1"),
        ({"average": "1-2", "selection": "epoch:1"}, "recipe.selection is epoch:1 and recipe.average is 1-2"),
    ],
)
def test_recipes_that_evaluate_no_weights(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe(epochs=4, lr=1.0, **settings)


@pytest.mark.parametrize(
    ("settings", "epochs", "text"),
    [
        ({}, (4,), "last"),
        ({"selection": "epoch:2"}, (2,), "epoch:2"),
        ({"average": "2-4"}, (2, 3, 4), "average:2-4"),
        ({"average": "1-4:2,4", "initial_share": 0.5}, (1, 3, 4), "average:1-4:2,4+initial:0.5"),
        ({"average": "all"}, (1, 2, 3, 4), "average:all"),
    ],
)
def test_evaluated_weights(settings: dict[str, Any], epochs: tuple[int, ...], text: str) -> None:
    recipe = Recipe(epochs=4, lr=1.0, **settings)
    assert recipe.ingredients == epochs and recipe.evaluated == text
    assert recipe.trajectory == Recipe(epochs=4, lr=1.0)


def test_epochs_to_keep_are_checked() -> None:
    with pytest.raises(UserError, match="keep_epochs is 'some', expected epochs such as"):
        ComputeOptions(keep_epochs="some")
