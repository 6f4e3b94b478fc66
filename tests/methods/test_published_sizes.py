"""One update of later methods on a ViT-B/32 with random weights: 2 frames, 4 classes."""

from __future__ import annotations

import math

import pytest
import torch

from harness.api import LabelSet, TrainingBatch, load_backbone
from harness.engine.method import method_class
from harness.engine.training.step import build_optimizer

LABELS = LabelSet(("run", "jump", "swim", "wave"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lora", {}),
        ("lora", {"form": "maxi"}),
        ("st_adapter", {}),
        ("st_adapter", {"head": "classes", "fixed_classes": 4, "before": "attn+mlp"}),
        ("aim", {}),
        ("aim", {"head": "classes", "fixed_classes": 4, "inner_adapter": True}),
        ("vita_clip", {}),
        ("vita_clip", {"context": "classes", "fixed_classes": 4}),
    ],
)
def test_one_update_on_vit_b32(name: str, options: dict[str, object]) -> None:
    cls = method_class(name)
    method = cls(load_backbone("ViT-B-32", "random"), cls.options_for(options, "b2n", frames=2)).train()
    recipe = cls.recipe_for("b2n", "hmdb51")
    assert recipe is not None
    optimizer = build_optimizer(method, recipe)
    before = {n: p.detach().clone() for n, p in method.named_parameters() if p.requires_grad}
    frozen = {n: p.detach().clone() for n, p in method.named_parameters() if not p.requires_grad}
    video, labels = torch.randn(4, 2, 3, 224, 224, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    loss = method.training_loss(TrainingBatch(video, torch.eye(4), labels, LABELS))
    loss.backward()
    optimizer.step()
    assert math.isfinite(float(loss.detach()))
    now = dict(method.named_parameters())
    assert any(not torch.equal(now[n], v) for n, v in before.items())
    assert all(torch.equal(now[n], v) for n, v in frozen.items())
