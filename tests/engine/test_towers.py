"""Towers of other families than CLIP: features and logits equal those of open_clip on the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP
from torch import Tensor

from harness.api import Backbone, LabelSet, Recipe, UserError, build_method, load_backbone
from harness.engine.method import method_class
from harness.engine.model import tokenizer
from harness.engine.model.backbone import as_backbone
from harness.engine.model.towers import NOT_IN_FEATURES
from harness.engine.training.gradient_checkpointing import blocks_of, checkpointed
from tests.engine import hub_cache

TEXTS = ("run", "a photo of a person who is riding a bike", "fly")
VISION = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16}
TEXT = {"width": 32, "heads": 2, "layers": 1}
LABELS = LabelSet(("run", "jump", "fly"))


def coca() -> Backbone:
    torch.manual_seed(1)
    clip = CoCa(
        32,
        {"context_length": 76, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1, "attn_pooler_heads": 2},
        TEXT | {"context_length": 76, "embed_cls": True, "output_tokens": True},
        VISION | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    )
    return as_backbone(clip, "coca_ViT-B-32", "random")


def with_bias() -> Backbone:
    """As SigLIP: attention over the whole text, read at its last position, and a bias of all logits."""
    torch.manual_seed(2)
    text = TEXT | {"context_length": 32, "no_causal_mask": True, "pool_type": "last", "proj_bias": True}
    clip = CustomTextCLIP(32, VISION, text, init_logit_bias=-10.0)
    return as_backbone(clip, "PE-Core-B-16", "random")


def resnet() -> Backbone:
    torch.manual_seed(3)
    clip = CLIP(64, {"layers": (1, 1, 1, 1), "width": 16, "image_size": 32, "head_width": 16}, TEXT)
    return as_backbone(clip, "RN50", "random")


def timm() -> Backbone:
    torch.manual_seed(4)
    vision = {"image_size": 32, "timm_model_name": "test_efficientnet", "timm_pool": "avg", "timm_proj": "linear"}
    return as_backbone(CustomTextCLIP(32, vision, TEXT), "MobileCLIP-S1", "random")


FAMILIES: dict[str, Callable[[], Backbone]] = {
    "coca": coca, "logit_bias": with_bias, "resnet": resnet, "timm": timm,
}  # fmt: skip


def relative(value: Tensor, reference: Tensor) -> float:
    return float((value - reference).abs().max() / reference.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_features_and_logits_equal_those_of_open_clip(family: str) -> None:
    backbone, images = FAMILIES[family](), torch.randn(3, 3, 32, 32)
    clip: Any = backbone.clip
    method = build_method("vanilla_clip", backbone, template="{}", text_embedding="clean").eval()
    tokens = backbone.tokenize(TEXTS)
    assert torch.equal(tokens, tokenizer.tokenizer_of(backbone.arch)(list(TEXTS), backbone.context_length))
    with torch.no_grad():
        image, text = clip.encode_image(images, normalize=False), clip.encode_text(tokens, normalize=False)
        assert relative(backbone.encode_images(images), image) <= 1e-5
        assert relative(backbone.encode_texts(TEXTS), text) <= 1e-5
        out = clip(images, tokens)
        pair = (out["image_features"], out["text_features"]) if isinstance(out, dict) else out[:2]
        logits = clip.logit_scale.exp() * pair[0] @ pair[1].T + (0 if clip.logit_bias is None else clip.logit_bias)
        assert relative(method(images[:, None], LabelSet(TEXTS)), logits) <= 1e-5
    assert backbone.embed_dim == image.shape[1] == text.shape[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "name"), [*((family, "vificlip") for family in FAMILIES), ("coca", "text_ft"), ("coca", "actionclip")]
)
def test_every_parameter_that_learns_gets_a_gradient(family: str, name: str) -> None:
    cls = method_class(name)
    method = cls(FAMILIES[family](), cls.options_for({}, frames=2)).train()
    learning = dict(method.named_parameters())
    method.loss(torch.randn(2, 2, 3, 32, 32), torch.eye(3)[:2], LABELS).backward()
    silent = [n for n, p in learning.items() if p.requires_grad and p.grad is None]
    assert silent == []
    assert not any(p.requires_grad for n, p in method.backbone.clip.named_parameters() if n.startswith(NOT_IN_FEATURES))


def statistics(method: torch.nn.Module) -> dict[str, Tensor]:
    return {n: b.clone() for n, b in method.named_buffers() if "running_" in n}


@pytest.mark.slow
@pytest.mark.parametrize(("family", "name"), [("resnet", "vificlip"), ("resnet", "text_ft"), ("timm", "vificlip")])
def test_a_fit_uses_the_stored_statistics(family: str, name: str) -> None:
    method, video = build_method(name, FAMILIES[family]()), torch.randn(4, 2, 3, 32, 32)
    before, targets = statistics(method), torch.eye(3)[[0, 1, 2, 0]]
    method.eval()
    with torch.no_grad():
        evaluated = float(method.loss(video, targets, LABELS))
        method.train()
        assert before and not any(m.training for m in method.modules() if "BatchNorm" in type(m).__name__)
        whole = float(method.loss(video, targets, LABELS))
        halves = [float(method.loss(video[s], targets[s], LABELS)) for s in (slice(0, 2), slice(2, 4))]
    assert whole == pytest.approx(evaluated, rel=1e-6) and sum(halves) / 2 == pytest.approx(whole, rel=1e-5)
    after = statistics(method)
    assert all(torch.equal(before[n], after[n]) for n in before)
    assert not any("running_" in n for n in method.trained_state())


@pytest.mark.slow
def test_declared_batch_statistics_are_part_of_a_fit() -> None:
    cls = method_class("vificlip")
    learning = type("Batchwise", (cls,), {"batch_statistics": True, "recipe": Recipe(epochs=1, lr=1e-3)})
    method = learning(resnet()).train()
    with torch.no_grad():
        for _ in range(3):
            method.loss(3 + torch.randn(4, 2, 3, 32, 32), torch.eye(3)[[0, 1, 2, 0]], LABELS)
    state = {n: v.clone() for n, v in method.trained_state().items()}
    assert sum("running_mean" in n for n in state) == sum("running_mean" in n for n, _ in method.named_buffers()) > 0
    fresh = learning(resnet())
    fresh.load_state_dict(state, strict=False)
    video = torch.randn(2, 2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(video, LABELS), method.eval()(video, LABELS))
        assert not torch.allclose(learning(resnet()).eval()(video, LABELS), method(video, LABELS))


@pytest.mark.slow
def test_long_texts_are_refused_by_every_tokenizer(hub: Path) -> None:
    long = " ".join(["run"] * 100)
    for arch, most in (("coca_ViT-B-32", 76), ("PE-Core-B-16", 32), ("ViT-B-16-SigLIP", 64), ("ViT-L-14-CLIPA", 32)):
        with pytest.raises(UserError, match=f"tokens, the model reads {most}"):
            tokenizer.tokenize(arch, most, (long,))
        assert tokenizer.tokenize(arch, most, ("run",)).shape == (1, most)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Path]:
    """An empty cache of the hub with small tokenizers and a small text tower."""
    pytest.importorskip("transformers", reason="the extra [hf] is not installed")
    for name in ("timm/ViT-B-16-SigLIP", "bert-base-uncased", "roberta-base"):
        hub_cache.add_tokenizer(tmp_path, name)
    hub_cache.add_tower(
        tmp_path, "roberta-base", hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        vocab_size=64,
    )  # fmt: skip
    with hub_cache.used(tmp_path):
        yield tmp_path


@pytest.mark.slow
def test_a_text_tower_of_hugging_face(hub: Path) -> None:
    torch.manual_seed(5)
    text = {"hf_model_name": "roberta-base", "hf_tokenizer_name": "roberta-base", "hf_model_pretrained": False}
    backbone = as_backbone(CustomTextCLIP(32, VISION, text), "roberta-ViT-B-32", "random")
    tokens = open_clip.get_tokenizer("roberta-ViT-B-32")(list(TEXTS))
    assert backbone.context_length == 77 and torch.equal(backbone.tokenize(TEXTS), tokens)
    assert tokenizer.pad_id("roberta-ViT-B-32") == 1
    with torch.no_grad():
        assert relative(backbone.encode_texts(TEXTS), backbone.clip.encode_text(tokens)) <= 1e-5
    build_method("vificlip", backbone).train().loss(torch.randn(2, 2, 3, 32, 32), torch.eye(3)[:2], LABELS).backward()
    with pytest.raises(UserError, match=r"efficient_prompt .* roberta-ViT-B-32 has a text tower of transformers"):
        build_method("efficient_prompt", backbone, frames=2)


def test_quick_gelu_of_an_architecture_that_is_not_named_after_it(hub: Path, tmp_path: Path) -> None:
    """The tag states nothing of the activation, and no other architecture could be named."""
    with pytest.raises(UserError, match="weights roberta-ViT-B-32/laion2b_s12b_b32k are not on this machine"):
        load_backbone("roberta-ViT-B-32", "laion2b_s12b_b32k", tmp_path / "weights")


def test_absent_files_of_a_tokenizer_and_of_a_tower_are_one_error(hub: Path) -> None:
    with pytest.raises(UserError, match=r"The tokenizer google/mt5-base of mt5-base-ViT-B-32 could not be read"):
        load_backbone("mt5-base-ViT-B-32", "random")
    hub_cache.add_tokenizer(hub, "google/mt5-base")
    (hub_cache.snapshot(hub, "google/mt5-base") / "config.json").unlink(missing_ok=True)
    tokenizer._tokenizer.cache_clear()
    with pytest.raises(UserError, match=r"(?s)google/mt5-base of mt5-base-ViT-B-32 .*config.json.*HF_HUB_CACHE"):
        load_backbone("mt5-base-ViT-B-32", "random")


@pytest.mark.parametrize("arch", ["ViT-B-16-SigLIP", "ViT-L-14-CLIPA", "roberta-ViT-B-32"])
def test_a_missing_package_is_one_error(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    tokenizer._tokenizer.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name))
    with pytest.raises(UserError, match=rf"{arch} needs the package transformers, .*\n?.*\[hf\]"):
        load_backbone(arch, "random")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["resnet", "timm"])
def test_gradient_checkpointing_finds_the_blocks_of_other_towers(family: str) -> None:
    method, video = build_method("vificlip", FAMILIES[family]()).train(), torch.randn(2, 2, 3, 32, 32)
    gradients = []
    for wanted in (False, True):
        method.zero_grad()
        with checkpointed(method.backbone, wanted) as blocks:
            method.loss(video, torch.eye(3)[:2], LABELS).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None]))
    vision = len(blocks_of(method.backbone)) - len(method.backbone.text_blocks)
    assert blocks == len(blocks_of(method.backbone)) and vision > 0
    assert relative(gradients[1], gradients[0]) <= 1e-5
