"""The cost of one view: equal to the closed forms, cheap, and never a reason to fail."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet
from harness.engine.contract.checks import tiny_backbone
from harness.engine.cost import view_cost as module
from harness.engine.cost.view_cost import ViewCost, view_cost, without_values
from harness.engine.method import method_class
from harness.engine.model.compiled import compile_vision

LABELS = LabelSet(tuple(f"class {i}" for i in range(7)))


def build(name: str, frames: int = 3) -> ClipMethod:
    cls = method_class(name)
    return cls(tiny_backbone(), cls.options_for({}, frames=frames)).eval()


@pytest.fixture(autouse=True)
def forgotten() -> None:
    module._known.clear()


def counted_by_hand(method: ClipMethod, frames: int) -> float:
    """10^9 multiply-adds of a ViT: patches, blocks (four projections, two attention products, MLP), projection."""
    visual, side = method.backbone.visual, method.backbone.image_size
    width, patch = visual.conv1.out_channels, visual.conv1.kernel_size[0]
    patches = (side // patch) ** 2
    tokens = patches + 1
    mlp = sum(part.weight.numel() for part in visual.transformer.resblocks[0].mlp if hasattr(part, "weight"))
    block = tokens * (4 * width**2 + mlp) + 2 * tokens**2 * width
    one = patches * 3 * patch**2 * width + len(visual.transformer.resblocks) * block + visual.proj.numel()
    return frames * one / 1e9


def test_equals_the_closed_form_of_a_vit() -> None:
    for frames in (1, 3):
        method = build("vificlip", frames)
        cost = view_cost(method, frames, LABELS)
        assert cost.gflops == pytest.approx(counted_by_hand(method, frames), abs=2e-6)
        assert cost.score_gflops == pytest.approx(7 * method.embed_dim / 1e9, abs=1e-6)


@pytest.mark.parametrize("name", ["actionclip", "bridge_prompt", "efficient_prompt", "xclip", "vanilla_clip"])
def test_every_method_is_counted_and_left_as_it_is(name: str) -> None:
    method, video = build(name), torch.randn(1, 3, 3, 32, 32)
    with torch.no_grad():
        before = method(video, LABELS)
        cost = view_cost(method, 3, LABELS)
        assert cost.gflops and cost.gflops > 0 and cost.score_gflops is not None
        assert torch.equal(method(video, LABELS), before)
    assert not any(tensor.is_meta for tensor in method.state_dict().values())
    assert all(tensor.is_meta for tensor in without_values(method).parameters())


def test_compiled_blocks_are_counted_without_being_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = view_cost(build("vificlip"), 3, LABELS)
    module._known.clear()
    method = build("vificlip")
    assert compile_vision(method.backbone)
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    assert view_cost(method, 3, LABELS) == plain


class LooksAtNumbers(ClipMethod):
    """A method that cannot run without values, as a plugin may be."""

    def encode_video(self, video: Tensor) -> Tensor:
        return super().encode_video(video) * float(video.mean())


def test_a_method_that_cannot_be_counted_has_no_cost_and_does_not_fail() -> None:
    assert view_cost(LooksAtNumbers(tiny_backbone()).eval(), 3, LABELS) == ViewCost(None, None)


def test_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = view_cost(build("vificlip"), 3, LABELS)
    monkeypatch.setattr(module, "_counted", lambda *_: pytest.fail("counted again"))
    assert view_cost(build("vificlip"), 3, LABELS) is first
