"""The command that a row of the board shows measures that row again."""

from __future__ import annotations

import shlex
from typing import Any

from reports.command import reproduce_command

FACTS: dict[str, Any] = {
    "method": "vificlip", "option_values": {}, "protocol": "b2n", "dataset": "ucf101", "extra_data": "",
    "label_variant": "published", "list_origin": "generated", "seed": 1024,
    "view_values": {"frames": 32, "clips": 1, "crops": 1, "sampling": "centre", "normalize": "imagenet",
                    "reader": "decord"},
}  # fmt: skip


def command(recipe: str, **facts: Any) -> list[str]:
    return shlex.split(reproduce_command({**FACTS, "signature": f"b2n.1|init:clip|recipe:{recipe}|closed", **facts}))


def test_a_published_recipe_needs_no_flag() -> None:
    assert "--recipe" not in command("published") and "--recipe" not in command("none")


def test_changed_settings_and_the_seed_are_given() -> None:
    text = command("own+betas=[0.9, 0.999]+epochs=60+lr=1e-05", seed=7)
    assert text[text.index("--recipe") + 1 :] == ["betas=0.9,0.999", "epochs=60", "lr=1e-05", "seed=7"]


def test_the_recipe_is_understood_by_the_command_line() -> None:
    from harness.request import parse_pairs, recipe_with
    from harness.spec import Recipe

    changed = Recipe(epochs=60, lr=1e-5, betas=(0.9, 0.999), augmentation="none")
    texts = command(f"own+augmentation=none+betas={list(changed.betas)}+epochs=60+lr={changed.lr}")
    made = recipe_with(Recipe(epochs=1, lr=1.0), parse_pairs(texts[texts.index("--recipe") + 1 :], "recipe"))
    assert made.as_dict() | {"source": ""} == changed.as_dict() | {"source": ""}
