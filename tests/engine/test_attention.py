"""Attention maps: equal to what the attention module itself reports, one per frame, and drawn in both forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from harness.api import ClipMethod, UserError, build_method
from harness.engine.attention import class_token_attention, compare_attention, render
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import method_class

VIDEO = torch.randn(1, 3, 3, 32, 32, generator=torch.Generator().manual_seed(4))


def build(name: str, **options: Any) -> ClipMethod:
    cls = method_class(name)
    return cls(tiny_backbone(), cls.options_for(options, frames=3)).eval()


def test_equals_what_the_module_reports() -> None:
    method = build("vanilla_clip")
    block, inputs = method.backbone.vision_blocks[-1], []
    block.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    maps = class_token_attention(method, VIDEO)
    with torch.no_grad():
        x = block.ln_1(inputs[-1])
        weights = block.attn(x, x, x, need_weights=True)[1][:, 0, 1:]
    expected = weights / weights.sum(dim=1, keepdim=True)
    np.testing.assert_allclose(maps.reshape(3, 16), expected.numpy(), atol=1e-6)


OPTIONS = [
    ("vificlip", {}), ("bridge_prompt", {}), ("actionclip", {}), ("xclip", {}), ("efficient_prompt", {}), ("mote", {}),
    ("tc_clip", {}), ("froster", {}), ("open_vclip", {}), ("open_vclip", {"neighbours": 2}), ("ost", {}), ("aim", {}),
    ("aim", {"inner_adapter": True}), ("st_adapter", {}), ("st_adapter", {"before": "attn"}), ("lora", {}),
    ("lora", {"form": "maxi"}), ("ez_clip", {}), ("ez_clip", {"temporal": "adapters"}), ("vita_clip", {}),
    ("vita_clip", {"local_prompts": False, "global_prompts": 0}), ("viclip", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_maps_of_every_method(name: str, options: dict[str, Any]) -> None:
    maps = class_token_attention(build(name, **options), VIDEO)
    assert maps.shape == (3, 4, 4)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), 1.0, atol=1e-5)
    assert (maps > 0).all() and not np.allclose(maps[0], maps[1])


@pytest.mark.parametrize(("name", "options"), [case for case in OPTIONS if case[0] != "tc_clip"])
def test_maps_are_those_of_the_pass(name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The queries and keys of the last attention in the vision tower, as PyTorch receives them."""
    method, seen = build(name, **options), []
    torch.manual_seed(0)
    for parameter in method.parameters():  # adapters and updates are zero at the start
        parameter.data += 0.05 * torch.randn_like(parameter)
    attend = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention",
        lambda q, k, v, *more, **other: seen.append((q.detach(), k.detach())) or attend(q, k, v, *more, **other),
    )  # fmt: skip
    method.requires_grad_(True).encode_video(VIDEO)  # with gradients: PyTorch's fast path calls another function
    query, key = next(pair for pair in reversed(seen) if pair[1].shape[2] > 16)  # not over frames
    shares = (query[:, :, :1] @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(dim=-1).mean(dim=1)[:, 0]
    maps = class_token_attention(method, VIDEO).reshape(3, 16)
    if name == "viclip":
        expected = shares[0, 1:].view(16, 3).t()
    else:
        shares = shares.view(3, -1)
        start = 1 + {("open_vclip", 1): 17, ("open_vclip", 2): 34, ("froster", 1): 17}.get(
            (name, options.get("neighbours", 1)), 0
        )
        start += 11 if name == "vita_clip" and not options else 0  # prompts of 3 frames and 8 of the video
        expected = shares[:, start : start + 16]
    expected = expected / expected.sum(dim=1, keepdim=True)
    np.testing.assert_allclose(maps, expected.numpy(), atol=1e-6)


def test_drawn_side_by_side(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 3, 32, 32), dtype=np.uint8)
    attention = compare_attention(
        {"vanilla": (build("vanilla_clip"), VIDEO), "prompts": (build("bridge_prompt"), VIDEO)}, frames
    )
    assert attention.frames.shape == (3, 32, 32, 3)
    assert list(attention.maps) == ["vanilla", "prompts"]
    assert not np.allclose(attention.maps["vanilla"], attention.maps["prompts"])
    with Image.open(render(attention, tmp_path / "maps.gif", size=40)) as film:
        assert film.n_frames == 3 and film.size == (3 * 44 - 4, 68)
    with av.open(str(render(attention, tmp_path / "maps.mp4", size=40))) as film:
        shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(shown) == 3 and shown[0].shape == (68, 128, 3)
    assert np.abs(shown[0][14:54, 44:84].astype(int) - shown[0][14:54, 88:128]).mean() > 2, "two methods, two maps"
    with pytest.raises(UserError, match=r"maps\.jpg is neither"):
        render(attention, tmp_path / "maps.jpg")


def test_bright_where_attention_is(tmp_path: Path) -> None:
    from harness.engine.attention import AttentionMaps

    maps = np.zeros((1, 4, 4), np.float32)
    maps[0, 0, 0] = 1.0
    grey = np.full((1, 32, 32, 3), 100, np.uint8)
    with Image.open(render(AttentionMaps(grey, {"one": maps}), tmp_path / "one.gif", size=64)) as sheet:
        drawn = np.asarray(sheet.convert("RGB"))[14:, 64 + 4 :]
    assert drawn[8, 8, 0] > 1.5 * drawn[50, 50, 0]


def test_only_vits(tmp_path: Path) -> None:
    from tests.engine.test_backbone import resnet_backbone

    with pytest.raises(UserError, match="attention map"):
        class_token_attention(build_method("vanilla_clip", resnet_backbone()), VIDEO)
