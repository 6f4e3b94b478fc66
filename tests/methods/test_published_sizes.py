"""One update of later methods on a ViT-B/32 and a ViT-L/14 with random weights: 2 frames, 4 classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b

import pytest
import torch
from torch import Tensor

from harness.api import Backbone, ClipMethod, LabelSet, Recipe, UserError, Views, load_backbone
from harness.cells.backbone import BackboneChoice
from harness.cells.request import MethodChoice
from harness.cells.resolve_method import method_row
from harness.engine.compute.device import Device
from harness.engine.method import method_class
from harness.engine.training.mm_runner import FitModel, PrecisionOptimWrapper
from harness.engine.training.schedule import rate_of_update
from harness.engine.training.step import batch_loss, build_optimizer
from harness.engine.video.batches import Draw
from harness.engine.video.loaders import FitBatch
from tests.methods.conftest import LATER_METHODS

CLIPS, FRAMES = 2, 2
LABELS = LabelSet(("run", "jump", "swim", "wave"))
OTHERS = LabelSet(("dive", "punch", "climb"))
ARCHITECTURES = ("ViT-B-32", "ViT-L-14")
DEFAULTS: list[tuple[str, dict[str, str | int | bool]]] = [
    (name, {}) for name in sorted(LATER_METHODS - {"viclip", "mformer"})
]
VARIANTS: list[tuple[str, dict[str, str | int | bool]]] = [
    ("lora", {"form": "maxi"}),
    ("st_adapter", {"head": "classes", "fixed_classes": 4, "before": "attn+mlp"}),
    ("aim", {"head": "classes", "fixed_classes": 4, "inner_adapter": True}),
    ("vita_clip", {"context": "classes", "fixed_classes": 4}),
]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def fresh_backbone(request: pytest.FixtureRequest) -> Callable[[], Backbone]:
    """A function that loads the backbone again, because `setup()` of methods changes it."""
    return lambda: load_backbone(request.param, "random")


def digests(method: ClipMethod) -> dict[str, bytes]:
    """A digest of each parameter and buffer, because copies of a ViT-L/14 and its teacher would take gigabytes."""
    named: list[tuple[str, Tensor]] = [*method.named_parameters(), *method.named_buffers()]
    return {name: blake2b(value.detach().contiguous().numpy().tobytes()).digest() for name, value in named}


def batch(recipe: Recipe, size: int) -> FitBatch:
    """A device batch of clips of two of the four classes, with random frames."""
    frames = torch.randint(256, (CLIPS, FRAMES, 3, size, size), generator=torch.Generator().manual_seed(0))
    draws = [Draw(number, 0, number, number // recipe.micro_batch) for number in range(CLIPS)]
    return FitBatch(frames.to(torch.uint8), torch.arange(CLIPS), draws)


def update(method: ClipMethod, recipe: Recipe) -> float:
    """Train a method for one update as a fit does: blending, autocast, optimiser and schedule; returns the loss."""
    device, views = Device(torch.device("cpu"), torch.float32), Views(frames=FRAMES)
    loss = batch_loss(method, LABELS, recipe, views, device)
    model: FitModel[FitBatch] = FitModel(method.train(), loss)
    wrapper = PrecisionOptimWrapper(
        dtype=device.dtype, device=device.kind, optimizer=build_optimizer(method, recipe), clip_norm=recipe.clip_norm
    )
    for group in wrapper.optimizer.param_groups:
        # The first update has rate 0 with `absolute_cosine`, and then changes nothing.
        group["lr"] = rate_of_update(1, recipe, 1, group["peak_lr"])
    return float(model.train_step(batch(recipe, method.backbone.image_size), wrapper)["loss"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"), [*DEFAULTS, *VARIANTS], ids=lambda v: v if isinstance(v, str) else "-".join(v)
)
def test_one_update(name: str, options: dict[str, str | int | bool], fresh_backbone: Callable[[], Backbone]) -> None:
    cls = method_class(name)
    method = cls(fresh_backbone(), cls.options_for(options, "b2n", frames=FRAMES))
    published = cls.recipe_for("b2n", "hmdb51")
    assert published is not None
    recipe = replace(published, micro_batch=CLIPS, accumulate=1, warmup_epochs=0)
    learnt = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    before = digests(method)
    assert math.isfinite(update(method, recipe))
    after = digests(method)
    changed = {name for name, value in after.items() if before[name] != value}
    assert changed & learnt
    assert changed <= learnt | set(method.trained_state())
    assert all(torch.isfinite(parameter).all() for parameter in method.parameters())
    assert_scores(method, LABELS if "fixed_classes" in options else OTHERS)


def assert_scores(method: ClipMethod, labels: LabelSet) -> None:
    """Fail unless the scores of a black video are finite."""
    video = torch.zeros(1, FRAMES, 3, method.backbone.image_size, method.backbone.image_size)
    with torch.no_grad():
        logits = method.eval()(video, labels)
    assert tuple(logits.shape) == (1, len(labels)) and torch.isfinite(logits).all()


@pytest.mark.slow
def test_viclip_has_no_update(fresh_backbone: Callable[[], Backbone]) -> None:
    """ViCLIP is evaluated and not trained: it scores videos, and an optimiser is refused."""
    method = method_class("viclip")(fresh_backbone())
    assert method_class("viclip").recipe_for("b2n", "hmdb51") is None and not method.trainable()
    assert_scores(method, OTHERS)
    with pytest.raises(UserError, match="viclip has no parameter that learns, so it cannot be fitted"):
        build_optimizer(method, Recipe(epochs=1, lr=1e-3))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_mformer_uses_its_own_network_on_every_architecture(arch: str) -> None:
    """Motionformer replaces CLIP, so that the architecture of a request is not part of its row; it has no recipe."""
    choice = MethodChoice("mformer", {"config": "tiny", "checkpoint": "random", "fixed_classes": 4})
    row = method_row(choice, BackboneChoice(arch, "random"), "supervised")
    assert row.model_id == method_row(choice, BackboneChoice(None, None), "supervised").model_id
    assert row.model_id.arch == "mformer-tiny" and row.spec.recipe_for("supervised", "k400") is None
