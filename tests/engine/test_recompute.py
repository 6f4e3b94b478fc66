"""`--grad-checkpointing` reaches methods that compute the blocks of the vision tower themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, build_method
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.training.gradient_checkpointing import checkpointed

LABELS = LabelSet(("run", "jump"))


@contextmanager
def counted() -> Iterator[list[int]]:
    """Bytes that the forward pass stores for the backward pass, by storage."""
    stored: dict[int, int] = {}
    total: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        stored[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield total
    total.append(sum(stored.values()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tc_clip"])
def test_gradients_are_equal_and_less_is_stored(name: str) -> None:
    video = torch.randn(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    gradients: list[dict[str, Tensor]] = []
    stored = []
    method: ClipMethod = build_method(name, tiny_backbone()).train()
    for wanted in (False, True):
        method.zero_grad()
        with checkpointed(method.backbone, wanted), counted() as total:
            loss = method.loss(video, torch.eye(2), LABELS)
        with checkpointed(method.backbone, wanted):
            loss.backward()
        stored.append(total[0])
        gradients.append({n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None})
    assert set(gradients[0]) == set(gradients[1])
    for key, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], value, rtol=1e-4, atol=1e-6)
    assert stored[1] < 0.7 * stored[0] and not method.backbone.recomputes
