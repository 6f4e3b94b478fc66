"""Learning rates and exceptions from weight decay by parameter group, as a recipe states them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from harness.base.errors import UserError
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import ClipMethod, ParameterGroup, method_class
from harness.engine.training.recipe_groups import recipe_groups
from harness.engine.training.step import build_optimizer
from harness.spec import MethodCard, Recipe
from harness.spec.method_spec import spec_problem
from harness.spec.overrides import recipe_with
from tests.conftest import in_process

RECIPE = Recipe(epochs=1, lr=1e-3, weight_decay=0.2)


class Grouped(ClipMethod):
    """An adapter with a norm, and a frozen CLIP but for its positions and the scale."""

    name = "grouped"
    card = MethodCard(title="Grouped", source="a test")
    recipe = RECIPE
    named_groups: ClassVar = {"adapter": ("adapter.*",), "context": ("ctx",), "absent": ("absent.*",)}

    def setup(self) -> None:
        self.learn_only("visual.positional_embedding", "logit_scale")
        self.adapter = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4))
        self.ctx = nn.Parameter(torch.zeros(2, 4))


class OwnGroups(Grouped):
    """A method that gives groups of its own."""

    def parameter_groups(self, recipe: Recipe) -> list[ParameterGroup]:
        return [
            {"params": iter([self.ctx]), "lr": recipe.lr * 3, "weight_decay": 0.1},  # type: ignore[typeddict-item]
            {"params": [p for p in self.trainable() if p is not self.ctx], "lr": recipe.lr, "weight_decay": 0.2},
        ]


def settings(method: ClipMethod, recipe: Recipe) -> dict[str, tuple[float, float]]:
    """(rate, decay) of each trained parameter; each is in exactly one group."""
    names = {id(p): n.removeprefix("backbone.clip.") for n, p in method.named_parameters()}
    groups = recipe_groups(method, recipe)
    found = {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(found) == sum(len(group["params"]) for group in groups) == len(method.trainable())
    return found


def test_without_exceptions_the_groups_are_those_of_the_method() -> None:
    assert [set(group) for group in recipe_groups(Grouped(tiny_backbone()), RECIPE)] == [
        {"params", "lr", "weight_decay"}
    ]
    assert set(settings(Grouped(tiny_backbone()), RECIPE).values()) == {(1e-3, 0.2)}
    assert settings(OwnGroups(tiny_backbone()), RECIPE)["ctx"] == (3e-3, 0.1)


def test_factors_and_exceptions() -> None:
    recipe = replace(RECIPE, lr_factors=("adapter=10", "context=0.5", "absent=2"), no_decay=("vectors", "positions"))
    assert settings(Grouped(tiny_backbone()), recipe) == {
        "visual.positional_embedding": (1e-3, 0.0), "logit_scale": (1e-3, 0.0),
        "adapter.0.weight": (1e-2, 0.0), "adapter.0.bias": (1e-2, 0.0),
        "adapter.1.weight": (1e-2, 0.2), "adapter.1.bias": (1e-2, 0.0), "ctx": (5e-4, 0.2),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("no_decay", "free"),
    [
        (("biases",), {"adapter.0.bias", "adapter.1.bias"}),
        (("norms",), {"adapter.0.weight", "adapter.0.bias"}),
        (("context", "norms"), {"adapter.0.weight", "adapter.0.bias", "ctx"}),
    ],
)
def test_kinds_of_parameters(no_decay: tuple[str, ...], free: set[str]) -> None:
    found = settings(Grouped(tiny_backbone()), replace(RECIPE, no_decay=no_decay))
    assert {name for name, (_, decay) in found.items() if not decay} == free


def test_they_act_on_the_groups_of_a_method_too() -> None:
    found = settings(OwnGroups(tiny_backbone()), replace(RECIPE, lr_factors=("context=2",), no_decay=("context",)))
    assert found["ctx"] == (6e-3, 0.0) and found["adapter.1.weight"] == (1e-3, 0.2)


def test_the_optimiser_has_the_peak_rates() -> None:
    optimizer = build_optimizer(Grouped(tiny_backbone()), replace(RECIPE, lr_factors=("adapter=10",)))
    assert sorted({group["peak_lr"] for group in optimizer.param_groups}) == [1e-3, 1e-2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr_factors": ("adaptor=10",)}, "recipe.lr_factors names the parameter group 'adaptor', expected one of"),
        ({"no_decay": ("vector",)}, "recipe.no_decay names the parameter group 'vector', expected one of"),
        ({"lr_factors": ("vectors=10",)}, "recipe.lr_factors names the parameter group 'vectors'"),
    ],
)
def test_unknown_groups_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_optimizer(Grouped(tiny_backbone()), replace(RECIPE, **changes))
    with pytest.raises(UserError, match="expected none: vificlip has no named groups"):
        method_class("vificlip").check_recipe(replace(RECIPE, lr_factors=("adapter=10",)))


@pytest.mark.parametrize(
    ("setting", "text", "message"),
    [
        ("lr_factors", "adapter", "the entry 'adapter', expected NAME=FACTOR"),
        ("lr_factors", "adapter=fast", "the entry 'adapter=fast'"),
        ("lr_factors", "adapter=-1", "the entry 'adapter=-1'"),
        ("lr_factors", "adapter=inf", "the entry 'adapter=inf'"),
        ("lr_factors", "adapter=1,adapter=2", "without repetition"),
        ("no_decay", "norms,norms", "without repetition"),
        ("no_decay", "norms,,", "expected names of parameter groups"),
    ],
)
def test_entries_that_cannot_be_read_are_refused(setting: str, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe_with(RECIPE, {setting: text})


def test_text_of_the_command_line() -> None:
    recipe = recipe_with(RECIPE, {"lr_factors": "adapter=10, context=0.5", "no_decay": "norms"})
    assert recipe.factors == {"adapter": 10.0, "context": 0.5} and recipe.no_decay == ("norms",)
    assert recipe_with(recipe, {"lr_factors": "", "no_decay": ""}) == RECIPE


def test_a_named_group_cannot_have_the_name_of_a_kind() -> None:
    class Clash(Grouped):
        named_groups: ClassVar = {"norms": ("x",)}

    assert spec_problem(Clash)[0] == "has a named group 'norms', which is a kind of parameters in recipes"


@pytest.mark.slow
def test_a_plan_refuses_an_unknown_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = ("plan", "--method", "vificlip", "--protocol", "b2n", "--runs", tmp_path)
    assert in_process(*request, "--recipe", "lr_factors=new=10") == 2
    assert "vificlip has no named groups" in capsys.readouterr().err
    assert in_process(*request, "--recipe", "no_decay=vectors,positions") == 0
    assert "no_decay=vectors, positions" in capsys.readouterr().out
