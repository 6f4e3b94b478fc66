"""A user's protocol runs built-in methods on real CLIP; faults of its code are named with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.cells.resolve import resolve
from harness.cells.resolved import ResolvedRequest
from harness.data.catalog import open_dataset
from harness.data.lists.own_lists import read_own_list
from harness.machine.settings import load_settings
from harness.plugins.loose_files import load_file
from harness.spec import LabelSet
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
    # The source of stage one of bridge_prompt: the default, k400, has no videos here.
    request = Request((MethodChoice(method),), ("mine",), (str(dataset),), REAL, recipe, source="mini_source")
    return resolve(request, load_settings({}, {"HARNESS_CONFIG": "/dev/null"}))


@pytest.mark.slow
@pytest.mark.parametrize("similar", FITS)
def test_a_built_in_method_takes_the_recipe_of_the_protocol_that_trains_in_the_same_way(
    similar: str, large_lists: Path, tmp_path: Path
) -> None:
    load_file(write(tmp_path, FITS[similar]))
    (combination,) = resolved(large_lists).combinations
    training = combination.chosen[0].training
    assert training is not None and training.declared == training.recipe
    expected = RECIPES[similar]
    assert (training.recipe.epochs, training.recipe.lr) == (expected.epochs, expected.lr)
    assert training.recipe.source == f"own: not published for mine; as for {similar} ({expected.source})"


@pytest.mark.slow
def test_the_protocol_names_the_recipes(large_lists: Path, tmp_path: Path) -> None:
    load_file(write(tmp_path, FITS["supervised"], '    recipe_like = "few_shot"'))
    (combination,) = resolved(large_lists, "bridge_prompt").combinations
    training = combination.chosen[0].training
    assert training is not None and training.recipe.lr == PROMPTS["few_shot"].lr
    assert combination.row.options.as_dict()["vision_tokens"] == 10, "the option values of few_shot, too"
    assert not combination.row.changed, "they are the defaults, not a choice of the user"


@pytest.mark.slow
def test_an_unknown_protocol_of_recipes(large_lists: Path, tmp_path: Path) -> None:
    load_file(write(tmp_path, FITS["supervised"], '    recipe_like = "few_shots"'))
    with pytest.raises(UserError, match="no protocol named 'few_shots'") as caught:
        resolved(large_lists)
    assert "few_shot" in caught.value.hint


@pytest.mark.slow
def test_a_recipe_can_be_given(large_lists: Path, tmp_path: Path) -> None:
    """Bridge and prompt publishes no recipe for whole training lists."""
    load_file(write(tmp_path, FITS["supervised"]))
    refused = resolved(large_lists, "bridge_prompt")
    assert not refused.combinations
    assert refused.left_out[0][1] == (
        "bridge_prompt has no recipe for mine on shapes, and none for supervised: give a whole recipe "
        "(--recipe epochs=N --recipe lr=X), or set `recipe_like` of the protocol to one of b2n, few_shot. "
        "Add recipes['mine'] to the method, or set `recipe`."
    )
    (combination,) = resolved(large_lists, "bridge_prompt", epochs="3", lr="0.01", flip="false").combinations
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


@pytest.mark.slow
def test_a_protocol_without_fits_is_refused(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "yield from ()")
    arguments = ("--plugin", path, "--protocol", "mine", "--dataset", small_dataset, "--method", "bridge_prompt")
    assert in_process("plan", *arguments) == 2
    error = capsys.readouterr().err
    assert "No fit of mine on shapes is selected: fits() and evals() of the protocol yield none" in error


def own_list(folder: Path, dataset: Path, every: int) -> str:
    """A list file beside the protocol with every n-th video of the dataset's evaluation list; its name."""
    rows = open_dataset(str(dataset), load_settings({}, {"HARNESS_CONFIG": "/dev/null"})).list("val").rows[::every]
    (folder / "lists").mkdir()
    (folder / "lists" / "few.txt").write_text("".join(f"{path} {label}\n" for path, label in rows))
    return "lists/few.txt"


@pytest.mark.slow
def test_a_protocol_evaluates_its_own_list_of_a_dataset(small_dataset: Path, tmp_path: Path) -> None:
    name = own_list(tmp_path, small_dataset, 2)
    code = PROTOCOL.replace("FITS", FITS["supervised"]).replace("ATTRIBUTES", "").replace('"val"', f'"{name}"')
    (tmp_path / "mine.py").write_text(code)
    load_file(tmp_path / "mine.py")
    request = Request(
        (MethodChoice("vanilla_clip"),), ("mine",), (str(small_dataset),), BackboneChoice("mini-clip", None)
    )
    (cell,) = expand(request, load_settings({}, {"HARNESS_CONFIG": "/dev/null"})).evals
    listed = cell.measurement.evaluation.list
    assert (listed.name, listed.origin, listed.n) == ("few", "own", len((tmp_path / name).read_text().splitlines()))
    assert all(cell.dataset.locate(path) is not None for path in cell.test.paths)
    (tmp_path / name).write_text("\n".join((tmp_path / name).read_text().splitlines()[:-1]))
    (fewer,) = expand(request, load_settings({}, {"HARNESS_CONFIG": "/dev/null"})).evals
    assert fewer.key != cell.key, "the rows of the file are part of the measurement"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.avi 0\nb.avi nine\n", "line 2 is 'b.avi nine', expected PATH LABEL with a label from 0 to 3"),
        ("a.avi 4\n", "line 1 is 'a.avi 4'"), ("a.avi 0\na.avi 1\n", "line 2 repeats the video a.avi"),
        ("\n", "is empty"), (None, "does not exist"),
    ],
)  # fmt: skip
def test_a_list_file_with_a_fault_is_named(text: str | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "few.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_own_list(file, LabelSet(("a", "b", "c", "d")))
    assert says in caught.value.message and str(file) in caught.value.message and caught.value.hint
