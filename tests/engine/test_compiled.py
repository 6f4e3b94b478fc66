"""The function that stands for a vision block computes what open_clip's block computes."""

from __future__ import annotations

import copy

import pytest
import torch

from harness.engine import compiled
from harness.engine.compiled import compile_vision, is_compiled
from tests.engine.conftest import LABELS, tiny_method


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same function without the compiler, which takes minutes on a CPU and needs a toolchain."""
    monkeypatch.setattr(compiled, "_compiled", lambda: compiled._block)


@pytest.mark.parametrize("activation", ["QuickGELU", "GELU"])
def test_equal_forward_and_gradients(uncompiled: None, activation: str) -> None:
    video = torch.randn(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = tiny_method()
    if activation == "GELU":
        for block in plain.backbone.vision_blocks:
            block.mlp.gelu = torch.nn.GELU()
    fast = copy.deepcopy(plain)
    assert compile_vision(fast) == len(plain.backbone.vision_blocks) == 4
    wanted, found = plain(video, LABELS), fast(video, LABELS)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    wanted.square().mean().backward()
    found.square().mean().backward()
    for (name, one), (_, other) in zip(plain.named_parameters(), fast.named_parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_names_and_values_of_parameters_stay(uncompiled: None) -> None:
    plain, fast = tiny_method(), tiny_method()
    compile_vision(fast)
    compile_vision(fast)  # a second eval of the same method
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert all(is_compiled(block) for block in fast.backbone.vision_blocks)
    assert not any(is_compiled(module) for module in plain.modules())


def test_blocks_of_another_kind_are_left_alone(uncompiled: None) -> None:
    method = tiny_method()
    first, second, third, _ = method.backbone.vision_blocks
    first.mlp.gelu = torch.nn.ReLU()
    second.attn.dropout = 0.1
    third.ls_1 = torch.nn.Linear(1, 1)
    assert compile_vision(method) == 1


def test_a_mask_takes_the_plain_path(uncompiled: None) -> None:
    method = tiny_method().eval()
    block = method.backbone.vision_blocks[0]
    tokens = torch.randn(1, 3, 128)
    mask = torch.full((3, 3), float("-inf")).triu(1)
    with torch.no_grad():
        wanted, free = block(tokens, attn_mask=mask), block(tokens)
        compile_vision(method)
        torch.testing.assert_close(block(tokens, attn_mask=mask), wanted)
        torch.testing.assert_close(block(tokens), free, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(wanted, free)
