"""Requests: overrides are typed and checked, datasets and backbones have sensible defaults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice, views_for
from harness.cells.datasets import choose_datasets
from harness.cells.request import MethodChoice, Request, parse_methods
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import load_settings
from harness.spec import Recipe, Views
from harness.spec.overrides import parse_pairs, recipe_with

RECIPE = Recipe(epochs=11, lr=1e-3, source="published")
MINI = BackboneChoice("mini-clip", None)


def write_clip_file(path: Path, scale: float = 1.0) -> None:
    """A file with a few of CLIP's names, enough for its identity."""
    save_file({"visual.proj": np.full((4, 2), scale, np.float32), "ln_final.weight": np.ones(4, np.float32)}, path)


@pytest.mark.parametrize(
    ("arch", "weights", "message", "hint"),
    [
        ("mini-clip", "openai", "--weights is 'openai', but --arch mini-clip takes none", "--checkpoint FILE"),
        ("mini-clip", "w.safetensors", "with weights of its own", "Another CLIP: --weights FILE"),
        ("mini-clip", "", "--weights is empty", "Leave --weights out"),
        ("mini-clip", "mini-clip", "--weights is 'mini-clip', which is an architecture", "--arch mini-clip"),
        (None, "mini-clip", "--weights is 'mini-clip', which is an architecture", "--arch mini-clip"),
        ("ViT-B-16", "mini-clip", "--weights is 'mini-clip', which is an architecture", "--arch mini-clip"),
        ("", "openai", "--arch is empty", "Leave --arch out"),
    ],
)
def test_weights_that_would_be_ignored(arch: str | None, weights: str, message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        BackboneChoice(arch, weights)
    assert message in caught.value.message and hint in caught.value.hint and caught.value.exit_code == 2


def test_weights_of_a_file_need_no_architecture(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    write_clip_file(file)
    choice = BackboneChoice(None, str(file), "gelu")
    assert choice.model_id().arch == "inferred-gelu"
    assert choice.slug() == "inferred-gelu-w"
    assert BackboneChoice(None, str(file), "quickgelu").model_id() != choice.model_id()


def test_methods_and_pairs() -> None:
    assert parse_methods(["a", "b:x=1"]) == (MethodChoice("a"), MethodChoice("b", {"x": "1"}))
    assert parse_pairs(["a=1", " b = x=y "], "--recipe") == {"a": "1", "b": "x=y"}
    with pytest.raises(UserError, match="--recipe 'a' is not key=value"):
        parse_pairs(["a"], "--recipe")


def test_recipe_overrides_are_typed_and_named() -> None:
    found = recipe_with(
        RECIPE, {"epochs": "3", "lr": "1e-4", "flip": "false", "betas": "0.9,0.99", "schedule": "constant"}
    )
    assert (found.epochs, found.lr, found.flip, found.betas, found.schedule) == (
        3,
        1e-4,
        False,
        (0.9, 0.99),
        "constant",
    )
    assert found.source == "published", "a change shows by comparison with the declared recipe"
    assert recipe_with(RECIPE, {}) is RECIPE


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": "many"}, "recipe.epochs is 'many', expected int"),
        ({"epochs": "2.5"}, "recipe.epochs is '2.5', expected int"),
        ({"epochs": "0"}, "recipe.epochs is 0, expected at least 1"),
        ({"micro_batch": "-4"}, "recipe.micro_batch is -4"),
        ({"lr": "nan"}, "recipe.lr is nan"),
        ({"lr": "inf"}, "recipe.lr is inf"),
        ({"lr": "0"}, "recipe.lr is 0, expected a number above 0"),
        ({"smoothing": "-0.1"}, "recipe.smoothing is -0.1"),
        ({"flip": "perhaps"}, "recipe.flip is 'perhaps', expected bool"),
        ({"augmentation": "strong"}, "recipe.augmentation is 'strong', which has the step 'strong'"),
        ({"schedule": "cosine"}, "recipe.schedule is 'cosine', expected one of absolute_cosine"),
        ({"selection": "best"}, "recipe.selection is 'best', expected last or epoch:N"),
        ({"betas": "0.9"}, "recipe.betas is 0.9, expected two numbers from 0 to below 1"),
        ({"betas": "2,3"}, "recipe.betas is 2,3"),
        ({"betas": "0.9,1"}, "recipe.betas is 0.9,1"),
        ({"betas": "0.9,nan"}, "recipe.betas is 0.9,nan"),
        ({"eps": "-1"}, "recipe.eps is -1, expected a number above 0"),
        ({"eps": "nan"}, "recipe.eps is nan"),
        ({"smoothing": "1.5"}, "recipe.smoothing is 1.5, expected a number from 0 to 1"),
        ({"switch": "7"}, "recipe.switch is 7, expected a number from 0 to 1"),
        ({"min_lr_ratio": "2"}, "recipe.min_lr_ratio is 2, expected a number from 0 to 1"),
        ({"views_cached": "-1"}, "recipe.views_cached is -1, expected at least 0"),
        ({"seed": "-1"}, "recipe.seed is -1, expected at least 0"),
        ({"epoch": "3"}, "There is no recipe setting named 'epoch'"),
    ],
)
def test_wrong_recipe_overrides(values: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        recipe_with(RECIPE, values)
    assert message in caught.value.message


def test_an_unknown_setting_lists_the_known_ones() -> None:
    with pytest.raises(UserError) as caught:
        recipe_with(RECIPE, {"epoch": "3"})
    assert "epochs, lr, warmup_epochs" in caught.value.hint


def test_views_of_the_tiny_model_have_fewer_frames() -> None:
    assert views_for(Views(frames=32), MINI, {}).frames == 4
    assert views_for(Views(frames=32), BackboneChoice(None, None), {}).frames == 32
    assert views_for(Views(frames=32), MINI, {"frames": "16"}).frames == 16
    for values, message in (({"frames": "0"}, "at least one frame"), ({"reader": "fast"}, "reader is 'fast'")):
        with pytest.raises(UserError, match=message):
            views_for(Views(), MINI, values)


def test_datasets_that_are_configured_else_the_embedded_one() -> None:
    request = Request((), ("b2n",))
    nothing = load_settings({}, {"HARNESS_CONFIG": "/dev/null"})
    assert choose_datasets(request, "b2n", ("hmdb51", "ucf101"), nothing) == (["mini_target"], [])
    some = load_settings({"data.ucf101": "/u"}, {"HARNESS_CONFIG": "/dev/null"})
    assert choose_datasets(request, "b2n", ("hmdb51", "ucf101"), some) == (["ucf101"], ["hmdb51"])
    named = Request((), ("b2n",), datasets=("x",))
    assert choose_datasets(named, "b2n", ("hmdb51",), some) == (["x"], [])


def test_weights_count_by_content_and_not_by_place(tmp_path: Path) -> None:
    files = [tmp_path / "a.safetensors", tmp_path / "b" / "c.safetensors", tmp_path / "d.safetensors"]
    files[1].parent.mkdir()
    for file, scale in zip(files, (1.0, 1.0, 2.0), strict=True):
        write_clip_file(file, scale)
    identities = [BackboneChoice("ViT-B-16-quickgelu", str(file)).model_id() for file in files]
    assert identities[0] == identities[1] != identities[2]


@pytest.mark.parametrize(
    "values",
    [{"workers": -1}, {"fit_clips": 0}, {"eval_clips": -2}, {"decode_seconds": 0.0}, {"decode_seconds": float("nan")}],
)
def test_impossible_transport_settings(values: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        ComputeOptions(**values)  # type: ignore[arg-type]
