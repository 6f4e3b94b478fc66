"""Copies of a module by `Prototype` are deep copies."""

from __future__ import annotations

import torch
from torch import nn

from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.model.prototype import Prototype


def test_a_copy_has_equal_tensors_of_its_own() -> None:
    original = tiny_backbone()
    original.clip.visual.proj.requires_grad_(False)
    copied = Prototype(original).copy()
    expected, found = dict(original.named_parameters()), dict(copied.named_parameters())
    assert list(found) == list(expected) and copied.facts == original.facts
    assert all(type(p) is nn.Parameter and torch.equal(p, expected[name]) for name, p in found.items())
    assert [p.requires_grad for p in found.values()] == [p.requires_grad for p in expected.values()]
    assert not {p.data_ptr() for p in found.values()} & {p.data_ptr() for p in expected.values()}
    assert {name for name, _ in copied.named_buffers()} == {name for name, _ in original.named_buffers()}


def test_shared_tensors_stay_shared() -> None:
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    copied = Prototype(tied).copy()
    assert copied[1].weight is copied[0].weight is not tied[0].weight


def test_a_module_that_cannot_be_pickled_is_copied() -> None:
    module = nn.Linear(2, 2)
    module.act = lambda x: x  # type: ignore[assignment]
    copied = Prototype(module).copy()
    assert torch.equal(copied.weight, module.weight) and copied.weight is not module.weight
