"""Methods whose frame features may be cached: those that neither train nor change CLIP's vision tower."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, MethodCard, load_backbone
from harness.engine.features.cache import FeatureCache, fits_from_features, pools_from_features
from harness.engine.video.batches import Draw
from harness.engine.video.loaders import Row
from harness.plugins import registry
from tests.engine.conftest import tiny_method
from tests.engine.test_features import FROZEN_VISION, score

OTHER_VISION = (
    "tc_clip", "mote", "open_vclip", "froster", "ost", "ez_clip", "lora", "st_adapter", "aim", "vita_clip", "viclip",
)  # fmt: skip


@pytest.mark.parametrize("name", ["vificlip", "image_ft", "bridge_prompt", "xclip", "actionclip"])
def test_never_used_where_vision_learns_or_is_changed(
    name: str, rows: list[Row], cache: FeatureCache, decodes: list[Draw]
) -> None:
    options: dict[str, Any] = {"xclip": {"frames": 2}, "bridge_prompt": {"stage_one": "clip"}}.get(name, {})
    method = tiny_method(name, **options)
    assert not pools_from_features(method)
    score(method, rows[:2], cache)
    score(method, rows[:2], cache)
    assert len(decodes) == 4 and not cache.folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHER_VISION)
def test_a_vision_tower_that_is_trained_or_changed_is_not_cached(name: str) -> None:
    assert not pools_from_features(tiny_method(name))


def test_every_built_in_method_is_sorted_into_one_of_the_two() -> None:
    own_models = {"mmaction2", "mformer"}
    named = {*FROZEN_VISION, *OTHER_VISION, *own_models, "vificlip", "image_ft", "bridge_prompt", "xclip", "actionclip"}
    built_in = {n for n in registry.sources("method") if registry.origin_of("method", n) == "built-in"}
    assert built_in <= named


class Frozen(ClipMethod):
    """Vanilla CLIP as a plugin would write it."""

    name = "frozen"
    card = MethodCard(title="Frozen")

    def setup(self) -> None:
        self.requires_grad_(False)


class OwnFrames(Frozen):
    def encode_frames(self, video: Tensor) -> Tensor:
        return super().encode_frames(video).flip(1)


class OwnVideo(Frozen):
    def encode_video(self, video: Tensor) -> Tensor:
        return super().encode_video(video.flip(1))


class OwnLoss(Frozen):
    def loss(self, video: Tensor, targets: Tensor, label_set: LabelSet) -> Tensor:
        return super().loss(video, targets, label_set) + video.mean()


def test_what_makes_a_method_ineligible() -> None:
    plain = Frozen(load_backbone("mini-clip"))
    assert pools_from_features(plain) and fits_from_features(plain)
    for cls in (OwnFrames, OwnVideo):
        assert not pools_from_features(cls(load_backbone("mini-clip")))
    own_loss = OwnLoss(load_backbone("mini-clip"))
    assert pools_from_features(own_loss) and not fits_from_features(own_loss)
    hooked = Frozen(load_backbone("mini-clip"))
    hooked.backbone.vision_blocks[0].register_forward_hook(lambda module, given, out: 2 * out)
    assert not pools_from_features(hooked)
    patched = Frozen(load_backbone("mini-clip"))
    patched.backbone.visual.forward = lambda images: images.mean()
    assert not pools_from_features(patched)
    drops = Frozen(load_backbone("mini-clip"))
    drops.backbone.visual.extra = torch.nn.Dropout(0.5)
    assert pools_from_features(drops) and not fits_from_features(drops)
    one_learns = Frozen(load_backbone("mini-clip"))
    one_learns.backbone.visual.class_embedding.requires_grad_(True)
    assert not pools_from_features(one_learns)
