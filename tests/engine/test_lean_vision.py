"""The vision tower on a CPU: open_clip's features and gradients in fewer passes, and open_clip where it differs."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from harness.api import load_backbone
from harness.engine.model.clip_model import Backbone
from harness.engine.model.compiled import compile_vision
from harness.engine.model.lean_vision import is_lean
from harness.engine.training.gradient_checkpointing import checkpointed

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def gradients(encode: Callable[[Tensor], Tensor], backbone: Backbone) -> dict[str, Tensor]:
    backbone.zero_grad()
    encode(IMAGES).square().mean().backward()
    return {n: p.grad.clone() for n, p in backbone.visual.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["QuickGELU", "GELU"])
def test_features_and_gradients_are_those_of_open_clip(activation: str) -> None:
    backbone = load_backbone("mini-clip")
    if activation == "GELU":
        for block in backbone.vision_blocks:
            block.mlp.gelu = nn.GELU()
    assert is_lean(backbone.visual, IMAGES)
    torch.testing.assert_close(backbone.encode_images(IMAGES), backbone.visual(IMAGES), rtol=1e-5, atol=1e-5)
    lean, plain = gradients(backbone.encode_images, backbone), gradients(backbone.visual, backbone)
    assert lean.keys() == plain.keys() == dict(backbone.visual.named_parameters()).keys()
    for name, wanted in plain.items():
        torch.testing.assert_close(lean[name], wanted, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
def test_features_do_not_depend_on_the_number_of_images() -> None:
    """In every bit, so that a clip that is encoded again in a smaller batch has the same features."""
    backbone = load_backbone("mini-clip")
    images = torch.randn(32, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = backbone.encode_images(images)
        for count in (2, 4, 8, 12, 16, 28):
            assert torch.equal(backbone.encode_images(images[:count]), whole[:count]), count


@pytest.mark.slow
def test_recomputed_activations_give_the_same_gradients() -> None:
    backbone = load_backbone("mini-clip")
    stored = gradients(backbone.encode_images, backbone)
    with checkpointed(backbone, True):
        assert is_lean(backbone.visual, IMAGES, recomputes=True)
        recomputed = gradients(backbone.encode_images, backbone)
    for name, wanted in stored.items():
        assert torch.equal(recomputed[name], wanted), name


def test_autocast_rounds_as_open_clip_does() -> None:
    backbone = load_backbone("mini-clip")
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        lean, plain = backbone.encode_images(IMAGES).float(), backbone.visual(IMAGES).float()
    exact = backbone.visual(IMAGES)
    assert (lean - exact).abs().max() < 2 * (plain - exact).abs().max()


def hooked(backbone: Backbone) -> None:
    backbone.vision_blocks[1].ln_2.register_forward_hook(lambda module, inputs, output: 2 * output)


def hooked_block(backbone: Backbone) -> None:
    backbone.vision_blocks[1].register_forward_hook(lambda module, inputs, output: 2 * output)


def hooked_norm(backbone: Backbone) -> None:
    backbone.visual.ln_post.register_forward_pre_hook(lambda module, inputs: (inputs[0].flip(-1),))


def other_activation(backbone: Backbone) -> None:
    backbone.vision_blocks[3].mlp.gelu = nn.ReLU()


def other_attention(backbone: Backbone) -> None:
    block = backbone.vision_blocks[0]
    block.attention = lambda q_x, **_: q_x.flip(1)


def other_forward(backbone: Backbone) -> None:
    block = backbone.vision_blocks[0]
    block.forward = lambda x, **_: x.flip(1)


def other_pooling(backbone: Backbone) -> None:
    backbone.visual.pool_type = "avg"


def dropped_patches(backbone: Backbone) -> None:
    backbone.visual.patch_dropout = nn.Tanh()


CHANGES = [
    hooked, hooked_block, hooked_norm, other_activation, other_attention, other_forward, other_pooling, dropped_patches,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_tower_computes_its_changes(change: Callable[[Backbone], None]) -> None:
    backbone = load_backbone("mini-clip")
    before = backbone.encode_images(IMAGES)
    change(backbone)
    assert not is_lean(backbone.visual, IMAGES)
    after = backbone.encode_images(IMAGES)
    assert torch.equal(after, backbone.visual(IMAGES)) and not torch.allclose(after, before, atol=1e-3)


def test_compiled_blocks_other_towers_and_stand_ins_of_other_devices_are_left_alone() -> None:
    backbone = load_backbone("mini-clip")
    compiled = copy.deepcopy(backbone)
    assert compile_vision(compiled) == 4 and not is_lean(compiled.visual, IMAGES)
    assert not is_lean(nn.Identity(), IMAGES)
    assert not is_lean(backbone.visual, IMAGES.to("meta"))
    with FakeTensorMode():
        assert not is_lean(backbone.visual, torch.empty(1, 3, 64, 64))
