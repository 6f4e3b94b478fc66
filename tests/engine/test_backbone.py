"""The backbone's promises: short texts equal full ones, frozen text is encoded once, unfit towers are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import _tokenizer as plain_tokenizer

from harness.api import Backbone, ClipMethod, LabelSet, ParentFit, UserError, build_method, load_backbone
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import method_class
from harness.engine.model.backbone import as_backbone

TEXTS = ("run", "a photo of a person who is riding a bike uphill.", "Pretending to put something behind something")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Every call that encodes texts, in order."""
    calls: list[tuple[str, ...]] = []
    original = Backbone.encode_texts

    def counted(self: Backbone, texts: tuple[str, ...], half: bool = False) -> torch.Tensor:
        calls.append(texts)
        return original(self, texts, half)

    monkeypatch.setattr(Backbone, "encode_texts", counted)
    return calls


@pytest.mark.parametrize("make", [tiny_backbone, lambda: load_backbone("mini-clip")], ids=["tiny", "mini-clip"])
def test_short_texts_equal_the_full_context(make: Any) -> None:
    backbone = make()
    with torch.no_grad():
        short, full = backbone.encode_texts(TEXTS), backbone.clip.encode_text(backbone.tokenize(TEXTS))
        assert float((short - full).abs().max()) <= 1e-5 * float(full.abs().max())
        for text in TEXTS:
            alone = backbone.encode_texts((text,))
            assert float((alone - full[TEXTS.index(text)]).abs().max()) <= 1e-5 * float(full.abs().max())


@pytest.mark.parametrize("name", ["bridge_prompt", "efficient_prompt"])
def test_short_prompts_equal_longer_ones(name: str) -> None:
    """A class's text features do not depend on how long the other classes' texts are."""
    options = {"frames": 4} if name == "efficient_prompt" else {}
    method = build_method(name, tiny_backbone(), **options)
    with torch.no_grad():
        alone = method.encode_text(LabelSet(("run",)))
        beside = method.encode_text(LabelSet(("run", " ".join(["jumping"] * 20))))
    assert float((alone[0] - beside[0]).abs().max()) <= 1e-5 * float(alone.abs().max())


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(UserError, match="has 102 tokens, the model reads 77"):
        tiny_backbone().tokenize((" ".join(["run"] * 100),))
    method = build_method("efficient_prompt", tiny_backbone(), frames=4)
    with pytest.raises(UserError, match=r"50 tokens; with 16 \+ 16 vectors"):
        method.encode_text(LabelSet(("jump", " ".join(["run"] * 50))))


def test_frozen_text_is_encoded_once_in_training(encoded: list[tuple[str, ...]]) -> None:
    method = build_method("image_ft", tiny_backbone()).train()
    labels, video, targets = LabelSet(("run", "jump")), torch.randn(2, 2, 3, 32, 32), torch.eye(2)
    for _ in range(3):
        method.loss(video, targets, labels).backward()
    assert len(encoded) == 1
    method.loss(video, targets, LabelSet(("jump", "run")))
    assert len(encoded) == 2


def test_learning_text_is_encoded_once_a_step(encoded: list[tuple[str, ...]]) -> None:
    method = build_method("text_ft", tiny_backbone()).train()
    for step in range(3):
        method.loss(torch.randn(2, 2, 3, 32, 32), torch.eye(2), LabelSet(("run", "jump"))).backward()
        assert len(encoded) == step + 1


def test_kept_text_follows_every_change(encoded: list[tuple[str, ...]]) -> None:
    method, labels = build_method("image_ft", tiny_backbone()), LabelSet(("run", "jump"))
    before = method.encode_text(labels)
    assert torch.equal(method.encode_text(labels), before) and len(encoded) == 1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert method.encode_text(labels).dtype == torch.bfloat16
    method.load_state_dict(build_method("image_ft", tiny_backbone(1)).state_dict())
    assert not torch.equal(method.encode_text(labels), before)
    with torch.no_grad():
        method.backbone.text.ln_final.weight.mul_(2)
    changed = method.encode_text(labels)
    method.backbone.text.requires_grad_(True)
    learnt = method.encode_text(labels)
    assert learnt.requires_grad and torch.allclose(learnt, changed, atol=1e-5)


def test_kept_text_is_no_state() -> None:
    method = build_method("image_ft", tiny_backbone())
    names = set(method.state_dict())
    method.encode_text(LabelSet(("run", "jump")))
    assert set(method.state_dict()) == names
    with torch.inference_mode():
        method.encode_text(LabelSet(("run", "fly")))
    loss = method.loss(torch.randn(2, 2, 3, 32, 32), torch.eye(2), LabelSet(("run", "fly")))
    loss.backward()
    assert method.backbone.visual.proj.grad is not None


def test_half_precision_options_show() -> None:
    labels, video = LabelSet(("run", "jump")), torch.randn(2, 2, 3, 32, 32)
    backbone = tiny_backbone()
    with torch.no_grad():
        backbone.text.token_embedding.weight.mul_(1.0001)
        published = build_method("vificlip", backbone, text_embedding="published")(video, labels)
        clean = build_method("vificlip", backbone, text_embedding="clean")(video, labels)
        rounded = build_method("vificlip", backbone, text_embedding="clean", logits="published")(video, labels)
    assert not torch.equal(published, clean)
    assert torch.allclose(published, clean, atol=1e-2)
    assert torch.equal(rounded, rounded.half().float()) and torch.allclose(rounded, clean, atol=0.05)


def resnet_backbone() -> Backbone:
    vision = CLIPVisionCfg(layers=(1, 1, 1, 1), width=16, image_size=32, head_width=16)
    clip = CLIP(64, vision, CLIPTextCfg(width=64, heads=1, layers=1, vocab_size=49408))
    return as_backbone(clip, "tiny-resnet", "random")


@pytest.mark.parametrize("name", ["xclip", "bridge_prompt"])
def test_methods_inside_a_vit_refuse_other_towers(name: str) -> None:
    with pytest.raises(
        UserError, match=f"{name} changes the inside of a vision transformer that .*; tiny-resnet has a Modified"
    ):
        build_method(name, resnet_backbone())


@pytest.mark.parametrize("name", ["vificlip", "actionclip", "efficient_prompt"])
def test_other_methods_run_on_other_towers(name: str) -> None:
    cls = method_class(name)
    method = cls(resnet_backbone(), cls.options_for({}, frames=2)).eval()
    assert method(torch.randn(2, 2, 3, 32, 32), LabelSet(("run", "jump", "fly"))).shape == (2, 3)


def test_frames_are_checked() -> None:
    for name in ("xclip", "efficient_prompt"):
        method = build_method(name, tiny_backbone(), frames=4)
        with pytest.raises(UserError, match=f"set up for 4 frames, the view has 3.\n.*{name}:frames=3"):
            method(torch.randn(1, 3, 3, 32, 32), LabelSet(("run", "jump")))


def test_options_follow_the_protocol() -> None:
    bridge, xclip = method_class("bridge_prompt"), method_class("xclip")
    assert bridge.options_for({}, "b2n", "hmdb51").vision_depth == 9
    few = bridge.options_for({"text_tokens": "4"}, "few_shot", "ucf101")
    assert (few.vision_tokens, few.text_tokens, few.text_depth) == (10, 4, 12)
    assert bridge.options_for({}, "b2n", "mini_target", preset="mini").text_depth == 2
    assert xclip.options_for({}, "supervised", "k400", frames=16).frames == 16
    assert xclip.options_for({"frames": "8"}, frames=16).frames == 8
    with pytest.raises(UserError, match="vision_depht"):
        bridge.options_for({"vision_depht": 3})


def test_prompts_adopt_a_parent() -> None:
    parent = build_method("vificlip", tiny_backbone(1))
    method = build_method("bridge_prompt", tiny_backbone())
    assert type(method).parent_fit(method.options) == ParentFit("vificlip", "zero_shot")
    method.adopt(parent.trained_state())
    assert torch.equal(method.backbone.visual.proj, parent.backbone.visual.proj)
    assert torch.equal(method.backbone.logit_scale, parent.backbone.logit_scale)
    assert not any(name.startswith("backbone.") for name in method.trained_state())

    state = parent.trained_state()
    state.pop("backbone.clip.visual.proj")
    with pytest.raises(UserError, match=r"lacks 1 tensors of CLIP \(first: backbone\.clip\.visual\.proj\)"):
        method.adopt(state)
    with pytest.raises(UserError, match="1 unknown tensors"):
        method.adopt({**parent.trained_state(), "adapter.weight": torch.zeros(1)})
    with pytest.raises(UserError, match="1 tensors of another shape"):
        method.adopt({**parent.trained_state(), "backbone.clip.visual.proj": torch.zeros(2, 2)})


def test_a_fit_starts_from_all_tensors_of_a_fit_of_the_same_method() -> None:
    """TC-CLIP's own parameters are those of the first fit, too; other options have other shapes."""
    parent = build_method("tc_clip", tiny_backbone(1))
    for parameter in parent.trainable():
        parameter.data += 0.1
    method = build_method("tc_clip", tiny_backbone(), start="source")
    assert type(method).parent_fit(method.options) == ParentFit("tc_clip", "zero_shot")
    state = parent.trained_state()
    own = {name for name in state if not name.startswith("backbone.")}
    assert {"text_context", "bias_tables.0"} <= own and any(name.startswith("prompt_layers.") for name in own)
    method.adopt(state)
    adopted = method.state_dict()
    assert all(torch.equal(adopted[name], value) for name, value in state.items())
    longer = build_method("tc_clip", tiny_backbone(), start="source", context_vectors=5)
    assert type(longer).parent_fit(longer.options) == ParentFit("tc_clip", "zero_shot", (("context_vectors", 5),))
    with pytest.raises(UserError, match="1 tensors of another shape"):
        longer.adopt(state)


def test_new_parameters_depend_on_the_seed_alone() -> None:
    cls: type[ClipMethod] = method_class("bridge_prompt")
    backbones = [tiny_backbone() for _ in range(3)]
    torch.manual_seed(1)
    first = cls(backbones[0])
    torch.manual_seed(2)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    again, other = cls(backbones[1]), cls(backbones[2], seed=7)
    assert torch.equal(torch.rand(1), drawn)  # building a method leaves the global generator alone
    assert torch.equal(first.vision_prompts[0], again.vision_prompts[0])
    assert not torch.equal(first.vision_prompts[0], other.vision_prompts[0])


def test_contrastive_loss_wants_one_class_per_clip() -> None:
    method = build_method("actionclip", tiny_backbone())
    with pytest.raises(UserError, match="needs one class per clip"):
        method.loss(torch.randn(2, 2, 3, 32, 32), torch.full((2, 2), 0.5), LabelSet(("run", "jump")))


@pytest.mark.slow
def test_weights_for_the_embedded_clip_are_refused() -> None:
    for weights in ("openai", Path("w.safetensors"), "random"):
        with pytest.raises(UserError, match="with weights of its own"):
            load_backbone("mini-clip", weights)
    assert load_backbone("mini-clip").facts.weights == load_backbone(None, "mini-clip").facts.weights


@pytest.mark.parametrize(
    "text",
    [
        "a  Photo of\ta man, who's 5'9\"; (jumps)!",
        "tom &amp; jerry &lt;b&gt;",
        "caf\u00e9 \u201cquoted\u201d",
        " x ",
        "",
        "a\r\nb\x1b[0m",
    ],
)
def test_tokens_are_those_of_open_clip(text: str) -> None:
    """Plain texts are cleaned without open_clip's repair of encodings, which does not change them."""
    expected = plain_tokenizer([text, "run"], context_length=77)
    assert torch.equal(tiny_backbone().tokenize((text, "run")), expected)
