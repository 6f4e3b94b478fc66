"""Which parameters learn and receive a gradient, by name, against the public implementations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.api import ClipMethod, LabelSet, Recipe
from tests.engine import golden

VIFI = "vificlip_trainable"


def gradients(built: ClipMethod, label_set: LabelSet, frames: int) -> set[str]:
    """Names that get a gradient from one cross-entropy step on random videos."""
    torch.manual_seed(0)
    targets = torch.eye(len(label_set))[torch.arange(3) % len(label_set)]
    built.loss(torch.randn(3, frames, 3, 64, 64), targets, label_set).backward()
    return {n for n, p in built.named_parameters() if p.grad is not None}


def ours(names: list[str]) -> set[str]:
    return set(golden.renamed({name: torch.zeros(1) for name in names}))


@pytest.mark.parametrize(
    ("config", "name", "options"),
    [
        ("use_both", "vificlip", {}),
        ("use_image", "image_ft", {}),
        ("use_text", "text_ft", {}),
        ("prompt_t4_v4_d2_2", "bridge_prompt", dict(text_tokens=4, vision_tokens=4, text_depth=2, vision_depth=2)),
        ("prompt_t10_v10_d3_3", "bridge_prompt", dict(text_tokens=10, vision_tokens=10, text_depth=3, vision_depth=3)),
        ("prompt_textonly_t4_d1", "bridge_prompt", dict(text_tokens=4, vision_tokens=0, text_depth=1, vision_depth=0)),
        ("prompt_dt1_dv1", "bridge_prompt", dict(text_tokens=4, vision_tokens=4, text_depth=1, vision_depth=1)),
    ],
)
def test_vificlip_family(shared: Path, config: str, name: str, options: dict[str, object]) -> None:
    reference = golden.facts(shared, VIFI)[config]
    if name == "bridge_prompt":
        options["stage_one"] = "clip"
    built = golden.method(shared, name, **options)
    learns = {n for n, p in built.named_parameters() if p.requires_grad}
    assert learns == ours(reference["requires_grad"])
    assert built.parameter_counts()[1] == reference["numel_trainable"]
    assert gradients(built, LabelSet(("a", "b", "c")), 2) == ours(reference["receives_gradient"])
    assert {id(p) for g in built.parameter_groups(Recipe(1, 1.0)) for p in g["params"]} == {
        id(p) for p in built.trainable()
    }


def xclip_name(name: str) -> str:
    """Upstream's name under ours."""
    if ".message_" in name:
        block, rest = name.removeprefix("visual.transformer.resblocks.").split(".message_")
        return f"messages.{block}.{rest}"
    return name if name.startswith(("mit.", "prompts_")) else f"backbone.clip.{name}"


@pytest.mark.parametrize(("config", "tuned"), [("fix_text_true_cached", False), ("fix_text_false", True)])
def test_xclip_groups(shared: Path, config: str, tuned: bool) -> None:
    reference = golden.facts(shared, "xclip_forward")["trainable"][config]
    built = golden.method(shared, "xclip", frames=8, tune_text=tuned)
    names = {id(p): n for n, p in built.named_parameters()}
    assert {names[id(p)] for p in built.trainable()} == {xclip_name(n) for n in reference["requires_grad"]}
    groups = built.parameter_groups(Recipe(1, 1.0, weight_decay=0.001))
    assert len(groups) == len(reference["optimizer_groups"]) == 8
    for group, expected in zip(groups, reference["optimizer_groups"], strict=True):
        assert {names[id(p)] for p in group["params"]} == {xclip_name(n) for n in expected["names"]}, expected["group"]
        assert (group["lr"], group["weight_decay"]) == (expected["lr_multiplier"], expected["weight_decay"])
    received = gradients(built, LabelSet(("a", "b", "c")), 8)
    assert received == {xclip_name(n) for n in reference["receives_gradient"]}


@pytest.mark.parametrize(("run", "fusion"), [("Transf", "transf"), ("meanP", "mean")])
def test_actionclip_groups(shared: Path, run: str, fusion: str) -> None:
    reference = golden.facts(shared, "actionclip_forward")["fusion"][run]

    def name(upstream: str) -> str:
        return f"backbone.{upstream}" if upstream.startswith("clip.") else upstream

    built = golden.method(shared, "actionclip", fusion=fusion)
    names = {id(p): n for n, p in built.named_parameters()}
    assert {names[id(p)] for p in built.trainable()} == {name(n) for n in reference["requires_grad"]}
    assert gradients(built, LabelSet(("a", "b", "c")), 2) == {name(n) for n in reference["receives_gradient"]}
    if "optimizer_groups" in reference:
        groups = [g for g in built.parameter_groups(Recipe(1, 1.0, weight_decay=0.2)) if g["params"]]
        for group, expected in zip(groups, reference["optimizer_groups"], strict=True):
            assert {names[id(p)] for p in group["params"]} == {name(n) for n in expected["names"]}
            assert (group["lr"], group["weight_decay"]) == (expected["lr_multiplier"], expected["weight_decay"])


@pytest.mark.parametrize("run", ["p16_q16_notemporal", "p16_q16_tfm1", "p16_q16_tfm0", "p0_q0_notemporal"])
def test_efficient_prompt_learns(shared: Path, run: str) -> None:
    reference = golden.facts(shared, "efficient_prompt_forward")["runs"][run]
    built = golden.method(
        shared, "efficient_prompt", frames=8, prefix=reference["prefix"], postfix=reference["postfix"],
        temporal=bool(reference["temporal"]), temporal_layers=reference["tfm_layers"],
    )  # fmt: skip
    learns = {n for n, p in built.named_parameters() if p.requires_grad}
    # Upstream also registers temporal positions that it never uses; here only what receives a gradient is learnt.
    assert learns == set(reference["receives_gradient"]) | {"embedding.weight"}
