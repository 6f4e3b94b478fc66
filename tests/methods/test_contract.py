"""Every registered method keeps the contract. What breaks it: test_planted_faults.py."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP

from harness.api import Backbone
from harness.engine.contract.checks import CHECKS, NOVEL, MethodUnderTest, learns_everywhere
from harness.engine.contract.tiny_clip import tiny_backbone, tiny_state
from harness.engine.method import method_class
from harness.engine.model.backbone import as_backbone
from harness.engine.model.published_weights import fit_names
from harness.engine.model.weights import strict_load
from harness.plugins import registry
from results.submission.check_costs import BUFFERS
from tests.methods.conftest import LATER_METHODS

CONFIGS = Path(__file__).with_name("configs")
TINY_MFORMER = {"config": "tiny", "checkpoint": "random", "fixed_classes": 4}
ON_CLIP = [name for name in sorted(registry.sources("method")) if method_class(name).uses_clip]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ON_CLIP),
    ("mmaction2", {"config": str(CONFIGS / "tiny_tsn.py"), "checkpoint": "random"}),
    ("mmaction2", {"config": str(CONFIGS / "tiny_swin.py"), "checkpoint": "random"}),
    ("mformer", TINY_MFORMER),
    ("vanilla_clip", {"ensemble": "action16"}),
    ("bridge_prompt", {"stage_one": "clip", "text_tokens": 4, "vision_tokens": 3, "prompt_rounding": "clean"}),
    ("actionclip", {"fusion": "mean"}),
    ("xclip", {"tune_text": True}),
    ("efficient_prompt", {"temporal": False}),
    ("aim", {"head": "classes", "fixed_classes": 4, "inner_adapter": True, "scale": 1.0}),
]
RARE: list[tuple[str, dict[str, Any]]] = [
    ("ez_clip", {"temporal": "adapters"}),
    ("lora", {"form": "maxi"}),
    ("st_adapter", {"head": "classes", "fixed_classes": 4, "bottleneck": 16, "before": "attn+mlp"}),
    ("vita_clip", {"context": "classes", "fixed_classes": 4, "position": "middle"}),
    ("lora", {"encoder": "text", "projections": "qkvo", "blocks": "1"}),
    ("lora", {"encoder": "vision", "dropout": 0.0}),
    ("st_adapter", {"before": "attn", "blocks": 1, "bottleneck": 16, "kernel": "3x3x3"}),
    ("viclip", {"ensemble": "none", "tubelet": 2}),
    ("mformer", {**TINY_MFORMER, "attention": "orthoformer", "landmarks": 8, "values": "projected"}),
    ("mformer", {**TINY_MFORMER, "attention": "joint", "positions": "joint", "mlp_head": False, "tubelet": 1}),
]
"""Variants whose parts other variants have."""
BUFFERED = ("eszsl", "mote")
"""Methods with buffers that a fit sets."""


@pytest.fixture(scope="module")
def backbone():
    return tiny_backbone()


@lru_cache(maxsize=1)
def under_test(name: str, options: str, backbone: Backbone) -> MethodUnderTest:
    """The method that all checks of a variant examine; loaded once."""
    return MethodUnderTest(method_class(name), json.loads(options), backbone)


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_contract(name: str, options: dict[str, Any], check, backbone) -> None:
    explanation = check(under_test(name, json.dumps(options), backbone).twin())
    assert not explanation, explanation


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), RARE, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_contract_of_rare_variants(name: str, options: dict[str, Any], backbone) -> None:
    tested = MethodUnderTest(method_class(name), options, backbone)
    assert not {check.__name__: found for check in CHECKS if (found := check(tested))}


@pytest.mark.parametrize(
    ("name", "options"),
    [pytest.param(*variant, marks=[] if variant[0] in BUFFERED else [pytest.mark.slow]) for variant in VARIANTS],
    ids=lambda v: v if isinstance(v, str) else "-".join(v),
)
def test_weights_hold_the_trained_parameters_and_declared_buffers(
    name: str, options: dict[str, Any], backbone: Backbone
) -> None:
    """The check of submissions (A017) compares the number of trained parameters with the weights."""
    method = under_test(name, json.dumps(options), backbone).fresh()
    sizes = {name: tensor.numel() for name, tensor in method.trained_state().items() if tensor.is_floating_point()}
    assert sizes.keys() >= set(method.fitted_buffers)
    trained, (share, number) = method.parameter_counts()[1], BUFFERS
    held = sum(size for name, size in sizes.items() if name not in method.fitted_buffers)
    assert trained <= held <= trained + max(number, share * trained)


def split_backbone() -> Backbone:
    """The tiny CLIP with its text tower apart, as open_clip keeps it for most architectures."""
    vision = CLIPVisionCfg(layers=2, width=128, patch_size=8, image_size=32)
    text = CLIPTextCfg(width=64, heads=1, layers=2, vocab_size=49408)
    clip = CustomTextCLIP(64, vision, text, quick_gelu=True)
    strict_load(clip, fit_names(clip, tiny_state(0)), "the seeded weights")
    return as_backbone(clip, "tiny-split", "seed 0")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LATER_METHODS else []) for name in ON_CLIP]
)
def test_the_text_tower_may_stand_apart(name: str, backbone) -> None:
    together, apart = (
        MethodUnderTest(method_class(name), {}, backbone),
        MethodUnderTest(method_class(name), {}, split_backbone()),
    )
    assert torch.allclose(apart.logits(apart.fresh(), NOVEL), together.logits(together.fresh(), NOVEL), atol=1e-4)
    assert apart.fresh().parameter_counts() == together.fresh().parameter_counts()
    assert not learns_everywhere(apart)


def test_the_tiny_backbone_is_the_same_everywhere() -> None:
    assert (
        tiny_backbone().facts.weights_sha256
        == tiny_backbone().facts.weights_sha256
        != tiny_backbone(1).facts.weights_sha256
    )
    logits = MethodUnderTest(method_class("vanilla_clip"), {}, tiny_backbone()).fresh()
    assert tuple(logits(torch.zeros(1, 4, 3, 32, 32), NOVEL).shape) == (1, 4)
