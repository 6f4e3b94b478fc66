"""The command that a row of the board shows measures that row again."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from harness.cells.request import BackboneChoice, Request, recipe_with
from harness.cli import build_parser
from harness.commands._arguments import request_of
from harness.spec import Recipe
from reports.command import reproduce_command

FACTS: dict[str, Any] = {
    "method": "vificlip", "origin": "built-in", "option_values": {}, "protocol": "b2n", "dataset": "ucf101",
    "extra_data": "", "label_variant": "published", "list_origin": "generated", "seed": 1024, "arch": "ViT-B-16",
    "weights": "openai",
    "embedded": False, "fit_name": "vificlip ucf101/base_s1",
    "view_values": {"frames": 32, "clips": 1, "crops": 1, "sampling": "centre", "normalize": "imagenet",
                    "reader": "decord"},
}  # fmt: skip


def command(recipe: str, **facts: Any) -> list[str]:
    return shlex.split(reproduce_command({**FACTS, "signature": f"b2n.1|init:clip|recipe:{recipe}|closed", **facts}))


def test_a_published_recipe_needs_no_flag() -> None:
    assert "--recipe" not in command("published") and "--recipe" not in command("none")


def request(text: list[str]) -> Request:
    """What `run` makes of a command."""
    assert text[:4] == ["python", "-m", "harness", "run"]
    return request_of(build_parser().parse_args(text[3:]))


def test_changed_settings_and_the_seed_are_given() -> None:
    text = command("own+betas=[0.9, 0.999]+epochs=60+lr=1e-05", seed=7)
    assert request(text).recipe == {"betas": "0.9,0.999", "epochs": "60", "lr": "1e-05", "seed": "7"}


def test_the_recipe_is_understood_by_the_command_line() -> None:
    changed = Recipe(epochs=60, lr=1e-5, betas=(0.9, 0.999), augmentation="none")
    text = command(f"own+augmentation=none+betas={list(changed.betas)}+epochs=60+lr={changed.lr}")
    made = recipe_with(Recipe(epochs=1, lr=1.0), request(text).recipe)
    assert made.as_dict() | {"source": ""} == changed.as_dict() | {"source": ""}


@pytest.mark.parametrize(
    ("facts", "backbone"),
    [
        ({}, None),
        ({"arch": "ViT-L-14"}, BackboneChoice("ViT-L-14", "openai")),
        ({"weights": "laion2b_s34b_b88k"}, BackboneChoice("ViT-B-16", "laion2b_s34b_b88k")),
        ({"arch": "inferred", "weights": "mine.pt"}, BackboneChoice(None, "mine.pt")),
        ({"arch": "mini-clip", "weights": "embedded"}, BackboneChoice("mini-clip", None)),
        ({"arch": "mini-clip", "weights": "embedded", "embedded": True}, None),
        ({"arch": "Recognizer3D", "weights": "w", "view_values": {**FACTS["view_values"], "normalize": "raw"}}, None),
    ],
)
def test_another_backbone_is_named(facts: dict[str, Any], backbone: BackboneChoice | None) -> None:
    assert request(command("published", **facts)).backbone == backbone


def test_another_source_of_zero_shot_transfer_is_named() -> None:
    zero = {"protocol": "zero_shot", "fit_name": "vificlip ssv2/train"}
    assert request(command("published", **zero)).source == "ssv2"
    for name, embedded in (("vificlip k400/train", False), ("vificlip mini_source/train", True), ("", False)):
        facts = {**zero, "fit_name": name, "embedded": embedded}
        assert request(command("published", **facts)).source is None


def test_a_loose_plugin_file_is_loaded_first() -> None:
    text = command("published", method="mine", origin="file mine.py")
    assert text[4:6] == ["--plugin", "mine.py"] and "--plugin" not in command("published", origin="package mine 1.0")
