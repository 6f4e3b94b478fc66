"""Blocks whose attention a method replaced: no cached features, no compiled block that would pass over it."""

from __future__ import annotations

import copy

import pytest
import torch

from harness.api import LabelSet, NotApplicableError, build_method
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.features.cache import pools_from_features
from harness.engine.model.compiled import compile_vision
from methods._low_rank import LowRank, update_attention


def test_a_replaced_attention_is_no_frozen_tower() -> None:
    method = build_method("vanilla_clip", tiny_backbone())
    assert pools_from_features(method)
    block = next(iter(method.backbone.vision_blocks))
    update_attention(block, {"q_proj": LowRank(128, 128, 2, 1.0)})
    assert not pools_from_features(method)
    assert compile_vision(method.backbone) == len(list(method.backbone.vision_blocks)) - 1


def test_a_copy_of_lora_has_its_own_updates() -> None:
    method = build_method("lora", tiny_backbone()).eval()
    video, labels = torch.randn(1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), LabelSet(("run", "jump"))
    copied = copy.deepcopy(method)
    before = method(video, labels)
    with torch.no_grad():
        for parameter in copied.trainable():
            parameter.add_(0.1)
    assert torch.equal(method(video, labels), before)
    assert not torch.allclose(copied(video, labels), before)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("st_adapter", {"head": "classes", "fixed_classes": 3, "bottleneck": 8}),
        ("vita_clip", {"context": "classes", "fixed_classes": 3}),
    ],
)
def test_fixed_classes_refuse_other_label_sets(name: str, options: dict[str, str | int]) -> None:
    method = build_method(name, tiny_backbone(), **options)
    assert not method.is_open(method.options)
    with pytest.raises(NotApplicableError, match="3 classes, the label set has 2") as refused:
        method.encode_text(LabelSet(("run", "jump")))
    assert f"{name}:fixed_classes=2" in refused.value.hint
