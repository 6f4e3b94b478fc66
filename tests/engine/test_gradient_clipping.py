"""Clipping of the gradient by its norm: equal to torch's, in any precision, and a setting of the recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from harness.engine.training.gradient_clipping import clip_gradients
from harness.engine.training.mm_runner import PrecisionOptimWrapper
from harness.spec import Recipe
from results.codec import encode
from tests.engine.conftest import tiny_method


def layers() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


@pytest.mark.parametrize("largest", [1e-3, 0.5, 100.0])
def test_gradients_are_those_of_torch(largest: float) -> None:
    ours, theirs = layers(), layers()
    for model in (ours, theirs):
        model(torch.ones(3, 4)).square().sum().backward()
    groups = [{"params": [p]} for p in [*ours.parameters(), nn.Parameter(torch.zeros(2))]]  # the last has no gradient
    norm = clip_gradients(torch.optim.SGD(groups, lr=0.1), largest)
    expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), largest)
    torch.testing.assert_close(norm, expected)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_limit_is_for_unscaled_gradients_of_a_whole_update(dtype: torch.dtype) -> None:
    """Two iterations make an update: the sum of their gradients is clipped once."""
    parameter = nn.Parameter(torch.zeros(2))
    wrapper = PrecisionOptimWrapper(
        dtype, "cpu", optimizer=torch.optim.SGD([parameter], lr=1.0), accumulative_counts=2, clip_norm=1.0
    )
    for direction in (torch.tensor([6.0, 0.0]), torch.tensor([0.0, 8.0])):
        wrapper.update_params((parameter * direction).sum())
    torch.testing.assert_close(parameter.detach(), torch.tensor([-0.6, -0.8]))


@pytest.mark.slow
def test_a_fit_clips_by_its_recipe(small_fit: Callable[..., Any]) -> None:
    """With a limit far below AdamW's epsilon the parameters stay where they are."""
    method, outcome, _ = small_fit(clip_norm=1e-12, weight_decay=0.0, warmup_epochs=0, epochs=1, lr=1e-3)
    start = tiny_method().state_dict()
    moved = max(float((p.detach() - start[n]).abs().max()) for n, p in method.named_parameters())
    assert outcome.updates == 2 and moved < 1e-6  # AdamW moves a parameter by up to the rate without a limit


def test_the_limit_is_in_the_measurement_only_where_it_is_set() -> None:
    assert "clip_norm" not in encode(Recipe(1, 1.0))
    assert encode(Recipe(1, 1.0, clip_norm=1.0))["clip_norm"] == 1.0
