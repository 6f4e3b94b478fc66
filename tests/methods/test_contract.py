"""Every registered method keeps the contract; methods made to break it are caught, each by its check."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
from torch import Tensor, nn

from harness import registry
from harness.api import Backbone, ClipMethod, LabelSet, MethodCard, Recipe
from harness.engine.backbone import as_backbone
from harness.engine.contract import CHECKS, NOVEL, Subject, _tiny_state, check_method, learns_everywhere, tiny_backbone
from harness.engine.method import method_class
from harness.engine.published_weights import fit_names
from harness.engine.weights import strict_load

CONFIGS = Path(__file__).with_name("configs")
ON_CLIP = [name for name in sorted(registry.sources("method")) if method_class(name).uses_clip]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ON_CLIP),
    ("mmaction2", {"config": str(CONFIGS / "tiny_tsn.py"), "checkpoint": "random"}),
    ("mmaction2", {"config": str(CONFIGS / "tiny_swin.py"), "checkpoint": "random"}),
    ("vanilla_clip", {"ensemble": "action16"}),
    ("bridge_prompt", {"stage_one": "clip", "text_tokens": 4, "vision_tokens": 3, "prompt_rounding": "clean"}),
    ("actionclip", {"fusion": "mean"}),
    ("xclip", {"tune_text": True}),
    ("efficient_prompt", {"temporal": False}),
]


@pytest.fixture(scope="module")
def backbone():
    return tiny_backbone()


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_contract(name: str, options: dict[str, Any], check, backbone) -> None:
    explanation = check(Subject(method_class(name), options, backbone))
    assert not explanation, explanation


def split_backbone() -> Backbone:
    """The tiny CLIP with its text tower apart, as open_clip keeps it for most architectures."""
    vision = CLIPVisionCfg(layers=2, width=128, patch_size=8, image_size=32)
    text = CLIPTextCfg(width=64, heads=1, layers=2, vocab_size=49408)
    clip = CustomTextCLIP(64, vision, text, quick_gelu=True)
    strict_load(clip, fit_names(clip, _tiny_state(0)), "the seeded weights")
    return as_backbone(clip, "tiny-split", "seed 0")


@pytest.mark.parametrize("name", ON_CLIP)
def test_the_text_tower_may_stand_apart(name: str, backbone) -> None:
    together, apart = Subject(method_class(name), {}, backbone), Subject(method_class(name), {}, split_backbone())
    assert torch.allclose(apart.logits(apart.fresh(), NOVEL), together.logits(together.fresh(), NOVEL), atol=1e-4)
    assert apart.fresh().parameter_counts() == together.fresh().parameter_counts()
    assert not learns_everywhere(apart)


class Sound(ClipMethod):
    """The smallest method that keeps every promise; the broken ones below change one thing each."""

    name = "sound"
    card = MethodCard(title="Sound", source="this test")
    recipe: ClassVar[Recipe | None] = Recipe(epochs=1, lr=1e-3)

    def setup(self) -> None:
        self.freeze_clip()
        self.adapter = nn.Linear(self.embed_dim, self.embed_dim)

    def pool(self, frames: Tensor) -> Tensor:
        return super().pool(frames) + self.adapter(frames.mean(dim=1))


class NoRecipe(Sound):
    recipe = None


class WrongShape(Sound):
    def score(self, video: Tensor, text: Tensor) -> Tensor:
        return super().score(video, text)[:, :1]


class PositionBias(Sound):
    def encode_text(self, label_set: LabelSet) -> Tensor:
        text = super().encode_text(label_set)
        return text + torch.arange(len(text))[:, None] * torch.linspace(-1, 1, text.shape[1])


class DropsInEval(Sound):
    def pool(self, frames: Tensor) -> Tensor:
        return nn.functional.dropout(super().pool(frames), 0.5, training=True)


class CentresBatch(Sound):
    def pool(self, frames: Tensor) -> Tensor:
        pooled = super().pool(frames)
        return pooled - pooled.mean(dim=0)


class ChangesFrozen(Sound):
    def loss(self, video: Tensor, targets: Tensor, label_set: LabelSet) -> Tensor:
        with torch.no_grad():
            self.backbone.visual.proj.mul_(1.01)
        return super().loss(video, targets, label_set)


class Unused(Sound):
    def setup(self) -> None:
        super().setup()
        self.spare = nn.Parameter(torch.zeros(3))


class KeepsText(Sound):
    def encode_text(self, label_set: LabelSet) -> Tensor:
        if not hasattr(self, "kept"):
            self.kept = super().encode_text(label_set)
        text = super().encode_text(label_set)
        return text + self.kept.mean(dim=0)


class ForgetsWhenSaved(Sound):
    def setup(self) -> None:
        super().setup()
        self.gain = 1.0

    def loss(self, video: Tensor, targets: Tensor, label_set: LabelSet) -> Tensor:
        self.gain += 0.5
        return super().loss(video, targets, label_set)

    def pool(self, frames: Tensor) -> Tensor:
        return super().pool(frames) + self.gain * frames[:, 0]


class Overflows(Sound):
    def score(self, video: Tensor, text: Tensor) -> Tensor:
        scale = 1.0 if video.dtype == torch.float32 and not torch.is_autocast_enabled("cpu") else 3.0
        return scale * super().score(video, text)


class StaysInTraining(Sound):
    def eval(self):
        super().eval()
        self.adapter.train()
        return self


@pytest.mark.parametrize(
    ("cls", "caught_by"),
    [
        (NoRecipe, "has_card"), (WrongShape, "has_shapes"), (PositionBias, "follows_label_order"),
        (DropsInEval, "is_deterministic"), (CentresBatch, "ignores_other_videos"),
        (ChangesFrozen, "changes_what_it_declares"), (Unused, "learns_everywhere"), (KeepsText, "forgets_labels"),
        (ForgetsWhenSaved, "survives_saving"), (Overflows, "survives_half_precision"),
        (StaysInTraining, "leaves_training_behind"),
    ],
)  # fmt: skip
def test_broken_methods_are_caught(cls: type[ClipMethod], caught_by: str, backbone) -> None:
    failed = {check.name: check.explanation for check in check_method(cls, backbone=backbone) if not check.ok}
    assert caught_by in failed
    assert len(failed[caught_by]) > 20


def test_a_sound_method_passes_and_errors_are_reported(backbone) -> None:
    assert [check for check in check_method(Sound, backbone=backbone) if not check.ok] == []

    class Raises(Sound):
        def encode_text(self, label_set: LabelSet) -> Tensor:
            raise ValueError("no text today")

    failed = [check for check in check_method(Raises, backbone=backbone) if not check.ok]
    assert failed and all("no text today" in check.explanation for check in failed)


def test_the_tiny_backbone_is_the_same_everywhere() -> None:
    assert (
        tiny_backbone().facts.weights_sha256
        == tiny_backbone().facts.weights_sha256
        != tiny_backbone(1).facts.weights_sha256
    )
    logits = Subject(method_class("vanilla_clip"), {}, tiny_backbone()).fresh()
    assert tuple(logits(torch.zeros(1, 4, 3, 32, 32), NOVEL).shape) == (1, 4)
