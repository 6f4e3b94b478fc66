"""A user's protocol runs built-in methods on real CLIP; faults of its code are named with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.request import MethodChoice, Request
from harness.cells.resolve import resolve
from harness.cells.resolved import ResolvedRequest
from harness.machine.settings import load_settings
from harness.plugins.loose_files import load_file
from methods._recipes import PROMPTS, VIFI_B2N, VIFI_FEW_SHOT, VIFI_SUPERVISED, VIFI_ZERO_SHOT
from tests.conftest import in_process

pytestmark = pytest.mark.usefixtures("plugins_forgotten")
REAL = BackboneChoice("ViT-B-16", "openai")

PROTOCOL = '''"""A user's protocol."""

from harness.api import Column, Eval, Fit, ListRef, Protocol, register_protocol


@register_protocol("mine")
class Mine(Protocol):
    title = "Mine"
    columns = (Column("top1", "all"),)
ATTRIBUTES

    def fits(self, dataset):
        FITS

    def evals(self, dataset, fit):
        yield Eval("all", ListRef(dataset.name, "val", "all"))
'''
FITS = {
    "few_shot": 'yield Fit(ListRef(dataset.name, "few_shot_4", "all"), shots=4)',
    "b2n": 'yield Fit(ListRef(dataset.name, "base_s1", "base"), shots=16)',
    "supervised": 'yield Fit(ListRef(dataset.name, "train", "all"))',
    "zero_shot": 'yield Fit(ListRef("mini_source", "train", "all"))',
}
"""Fits that train as a built-in protocol does, by its name."""
RECIPES = {
    "few_shot": VIFI_FEW_SHOT, "b2n": VIFI_B2N, "supervised": VIFI_SUPERVISED, "zero_shot": VIFI_ZERO_SHOT,
}  # fmt: skip


def write(folder: Path, fits: str, attributes: str = "") -> Path:
    path = folder / "mine.py"
    path.write_text(PROTOCOL.replace("FITS", fits).replace("ATTRIBUTES", attributes))
    return path


def resolved(dataset: Path | str, method: str = "vificlip", **recipe: str) -> ResolvedRequest:
    request = Request((MethodChoice(method),), ("mine",), (str(dataset),), REAL, recipe)
    return resolve(request, load_settings({}, {"HARNESS_CONFIG": "/dev/null"}))


@pytest.mark.parametrize("similar", FITS)
def test_a_built_in_method_takes_the_recipe_of_the_protocol_that_trains_in_the_same_way(
    similar: str, small_dataset: Path, tmp_path: Path
) -> None:
    load_file(write(tmp_path, FITS[similar]))
    (combination,) = resolved(small_dataset).combinations
    training = combination.chosen[0].training
    assert training is not None and training.declared == training.recipe
    expected = RECIPES[similar]
    assert (training.recipe.epochs, training.recipe.lr) == (expected.epochs, expected.lr)
    assert training.recipe.source == f"own: not published for mine; as for {similar} ({expected.source})"


def test_the_protocol_names_the_recipes(small_dataset: Path, tmp_path: Path) -> None:
    load_file(write(tmp_path, FITS["supervised"], '    recipe_like = "few_shot"'))
    (combination,) = resolved(small_dataset, "bridge_prompt").combinations
    training = combination.chosen[0].training
    assert training is not None and training.recipe.lr == PROMPTS["few_shot"].lr
    assert combination.row.options.as_dict()["vision_tokens"] == 10, "the option values of few_shot, too"
    assert not combination.row.changed, "they are the defaults, not a choice of the user"


def test_an_unknown_protocol_of_recipes(small_dataset: Path, tmp_path: Path) -> None:
    load_file(write(tmp_path, FITS["supervised"], '    recipe_like = "few_shots"'))
    with pytest.raises(UserError, match="no protocol named 'few_shots'") as caught:
        resolved(small_dataset)
    assert "few_shot" in caught.value.hint


def test_a_recipe_can_be_given(small_dataset: Path, tmp_path: Path) -> None:
    """Bridge and prompt publishes no recipe for whole training lists."""
    load_file(write(tmp_path, FITS["supervised"]))
    refused = resolved(small_dataset, "bridge_prompt")
    assert not refused.combinations
    assert refused.left_out[0][1] == (
        "bridge_prompt has no recipe for mine on shapes, and none for supervised: give a whole recipe "
        "(--recipe epochs=N --recipe lr=X), or set `recipe_like` of the protocol to one of b2n, few_shot."
    )
    (combination,) = resolved(small_dataset, "bridge_prompt", epochs="3", lr="0.01", flip="false").combinations
    training = combination.chosen[0].training
    assert training is not None and training.declared == training.recipe
    assert (training.recipe.epochs, training.recipe.lr, training.recipe.flip) == (3, 0.01, False)
    assert training.recipe.source == "own: given with --recipe"


def test_the_message_without_a_recipe_says_how_to_give_one(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, FITS["supervised"])
    arguments = ("--plugin", path, "--protocol", "mine", "--dataset", small_dataset, "--arch", "ViT-B-16")
    assert in_process("plan", *arguments, "--method", "bridge_prompt", "--recipe", "lr=0.1") == 2
    error = capsys.readouterr().err
    assert "bridge_prompt has no recipe for mine" in error
    assert "--recipe epochs=N --recipe lr=X" in error and "b2n, few_shot" in error


FAULTS = {
    "an exception": ("dataset.nothing", "AttributeError: ", "fits, line 13 of mine.py"),
    "no fit": ("yield 3", "TypeError: fits() yields 3, expected Fit", ""),
    "no generator": ("return None", "TypeError: 'NoneType' object is not iterable", ""),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_protocol_names_file_line_and_cause(
    fault: str, small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body, cause, line = FAULTS[fault]
    path = write(tmp_path, body)
    assert (
        in_process("plan", "--plugin", path, "--protocol", "mine", "--dataset", small_dataset, "--method", "dem") == 1
    )
    error = capsys.readouterr().err
    assert f"The protocol 'mine' ({path}) failed on shapes" in error and cause in error and line in error


def test_a_protocol_without_fits_is_refused(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "yield from ()")
    arguments = ("--plugin", path, "--protocol", "mine", "--dataset", small_dataset, "--method", "bridge_prompt")
    assert in_process("plan", *arguments) == 2
    assert "No fit of mine is selected" in capsys.readouterr().err
