"""The measured computations: device batches of fits and evals, as the engine computes them and in a naive way.

Clips are synthetic uint8 frames in memory, so that the decoder does not count. The naive way computes the text features
over the full context in every batch, with 64 frames per batch (2 clips of 32 frames), in fp32, from pageable memory,
with frames normalised in advance, the default optimiser and no cache.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.data.official.cards import load_card
from harness.engine.compute.device import Device, casts_kept
from harness.engine.method import ClipMethod, Encoded, method_class
from harness.engine.model.backbone import Backbone
from harness.engine.model.compiled import compile_vision
from harness.engine.scoring import view_logits
from harness.engine.training.blending import smooth
from harness.engine.training.step import batch_loss, blend_groups, build_optimizer
from harness.engine.video.batches import Draw
from harness.engine.video.frames import normalise
from harness.spec import LabelSet, Recipe, Views
from results.statistics.metrics import rank

Work = Callable[[], Any]
FIT_IMAGES, EVAL_IMAGES, NAIVE_IMAGES = 512, 1024, 64
EFFECTIVE_BATCH = 64


def label_set(names: int) -> LabelSet:
    """The first names of Kinetics-400; 400 at most."""
    return LabelSet(load_card("k400").names[:names])


def recipe_of(cls: type[ClipMethod]) -> Recipe | None:
    """The published recipe of a method for base-to-novel; None if the method is not trained."""
    return cls.recipe_for("b2n", "ucf101")


def build(name: str, backbone: Backbone, frames: int, device: torch.device) -> ClipMethod:
    """A method on a copy of the backbone on a device; the device `meta` allocates no memory."""
    cls = method_class(name)
    options = cls.options_for({}, "b2n", "ucf101", frames=frames)
    if hasattr(options, "stage_one"):  # the weights of the backbone are random, so there is no fit of stage one
        options = replace(options, stage_one="clip")
    own = copy.deepcopy(backbone)
    return cls(own, options).to(device)


class FitWork:
    """One device batch of a fit: forward, backward, and an update after every 64 clips."""

    def __init__(
        self, method: ClipMethod, frames: int, clips: int, names: int, device: Device, compiled: bool = False
    ) -> None:
        self.method, self.labels, self.device, self.clips = method.train(), label_set(names), device, clips
        recipe = recipe_of(type(method))
        assert recipe is not None
        self.recipe = replace(recipe, micro_batch=min(recipe.micro_batch, clips))
        self.views = Views(frames=frames)
        self.per_update = max(1, EFFECTIVE_BATCH // clips)
        self.steps = 0
        if compiled:
            compile_vision(method.backbone)
        self.optimizer = build_optimizer(method, self.recipe)
        self.loss = batch_loss(method, self.labels, self.recipe, self.views, device)
        self.batches = [self._batch(seed) for seed in range(2)]

    def _batch(self, seed: int) -> Any:
        frames = random_frames(self.clips, self.views.frames, self.method, self.device, seed)
        labels = torch.arange(self.clips) % len(self.labels)
        size = self.recipe.micro_batch
        draws = [Draw(k, 0, k, k // size) for k in range(self.clips)]
        return SimpleNamespace(frames=frames, features=None, labels=labels, draws=draws)

    def __call__(self) -> None:
        """Compute one device batch as the training loop does, and wait for the loss."""
        with autocast(self.device):
            loss = self.loss(self.batches[self.steps % 2])
        loss.backward()
        self.update()
        if not torch.isfinite(loss.detach()).item():
            raise FloatingPointError("the loss is not finite")

    def update(self) -> None:
        """Count the batch, and step after the last batch of an update."""
        self.steps += 1
        if self.steps % self.per_update == 0:
            self.optimizer.step()
            self.optimizer.zero_grad()

    def parts(self) -> dict[str, Work]:
        """Parts of the step that can be timed separately: input, vision tower, text tower, optimiser."""
        batch = self.batches[0]

        def inputs() -> tuple[Tensor, Tensor]:
            video = normalise(batch.frames, self.views, self.device.device)
            targets = smooth(batch.labels.to(self.device.device), len(self.labels), self.recipe.smoothing)
            return blend_groups(video, targets, batch, self.recipe)

        video, _ = inputs()
        with autocast(self.device):
            self.loss(batch).backward()  # the optimiser needs gradients

        def encode(work: Callable[[], Any]) -> Work:
            def run() -> None:
                with autocast(self.device):
                    work()

            return run

        def text() -> Encoded:
            if self.method.couples_clips:  # a contrastive batch has one text per clip
                return self.method.encode_prompts(self.labels.names[: self.clips])
            return self.method.encode_text(self.labels)

        return {
            "input": inputs,
            "vision": encode(lambda: self.method.encode_video(video)),
            "text": encode(text),
            "update": lambda: (self.optimizer.step(), None)[1],
        }


class EvalWork:
    """One device batch of an eval. Text features are computed in advance, as in `evaluate`."""

    def __init__(
        self, method: ClipMethod, frames: int, clips: int, names: int, device: Device, compiled: bool = False
    ) -> None:
        self.method, self.labels, self.device, self.clips = method.eval(), label_set(names), device, clips
        self.views = Views(frames=frames)
        if compiled:
            compile_vision(method.backbone)
        with torch.no_grad(), autocast(device) if device.kind != "cpu" else nullcontext():
            self.text = method.encode_text(self.labels)
        self.batches = [random_frames(clips, frames, method, device, seed) for seed in range(2)]
        self.steps = 0

    @torch.no_grad()
    def __call__(self) -> Any:
        """Score a batch and rank its classes."""
        self.steps += 1
        frames = self.batches[self.steps % 2]
        with autocast(self.device), casts_kept(self.device, self.method.backbone):
            logits = view_logits(self.method, frames, self.text, self.views, self.device, len(self.labels))
        return rank(logits[:, 0].double().cpu().numpy(), 5)


class NaiveFit(FitWork):
    """The clips and updates of `FitWork`, computed in the naive way."""

    def __init__(self, method: ClipMethod, frames: int, clips: int, names: int, device: Device) -> None:
        naive_text(method)
        super().__init__(method, frames, clips, names, device)
        self.optimizer = torch.optim.AdamW(method.parameter_groups(self.recipe), lr=self.recipe.lr)
        for batch in self.batches:
            batch.frames = normalise(batch.frames, self.views, torch.device("cpu"))

        def loss(batch: Any) -> Tensor:
            video = batch.frames.to(device.device)
            targets = smooth(batch.labels.to(device.device), len(self.labels), self.recipe.smoothing)
            return method.loss(*blend_groups(video, targets, batch, self.recipe), self.labels)

        self.loss = loss


class NaiveEval(EvalWork):
    """The clips of `EvalWork`, computed in the naive way."""

    def __init__(self, method: ClipMethod, frames: int, clips: int, names: int, device: Device) -> None:
        naive_text(method)
        super().__init__(method, frames, clips, names, device)
        self.batches = [normalise(batch, self.views, torch.device("cpu")) for batch in self.batches]

    @torch.no_grad()
    def __call__(self) -> Any:
        """Encode texts and clips, score, rank."""
        self.steps += 1
        logits = self.method(self.batches[self.steps % 2].to(self.device.device), self.labels)
        return rank(logits.double().cpu().numpy(), 5)


def naive_text(method: ClipMethod) -> None:
    """Make a method compute text features over the full context in each call."""
    backbone = method.backbone
    encode = backbone.encode_embedded_text
    context = backbone.context_length

    def padded(x: Tensor, end: Tensor, before_block: Any = None) -> Tensor:
        rest = x.new_zeros(len(x), context - x.shape[1], x.shape[2])
        return encode(torch.cat([x, rest], dim=1), end, before_block)

    half = getattr(method.options, "text_embedding", "clean") == "published"
    backbone.encode_embedded_text = padded  # type: ignore[method-assign]
    method.encode_prompts = lambda texts: backbone.encode_texts(texts, half)  # type: ignore[method-assign]


def random_frames(clips: int, frames: int, method: ClipMethod, device: Device, seed: int) -> Tensor:
    """Frames (clips, frames, 3, H, W) uint8 in host memory, pinned for a GPU."""
    size = method.backbone.image_size
    drawn = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (clips, frames, 3, size, size), dtype=torch.uint8, generator=drawn)
    return values.pin_memory() if device.kind == "cuda" else values


def autocast(device: Device) -> torch.autocast:
    """The engine's autocast for a device and precision."""
    return torch.autocast(device.kind, dtype=device.dtype, enabled=device.dtype != torch.float32)


def model_flops(name: str, backbone: Backbone, phase: str, frames: int, names: int) -> tuple[float, float]:
    """Floating-point operations per clip, and per batch without its clips, counted on shapes alone.

    Text features count once per batch in fits and not at all in evals. Recomputed activations do not count.
    """
    meta = torch.device("meta")
    method = build(name, backbone, frames, meta)
    labels, size = label_set(names), method.backbone.image_size

    def count(clips: int) -> float:
        video = torch.zeros(clips, frames, 3, size, size, device=meta)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            if phase == "eval":
                with torch.no_grad():
                    text = method.encode_text(labels)
                    before = counter.get_total_flops()
                    method.score(method.encode_video(video), text)
                return float(counter.get_total_flops() - before)
            text = method.encode_prompts(labels.names[:clips]) if method.couples_clips else method.encode_text(labels)
            encoded = method.encode_video(video)
            scores = encoded @ text.t() if method.couples_clips else method.score(encoded, text)
            scores.sum().backward()
        return float(counter.get_total_flops())

    method.train(phase == "fit")
    method.encode_text(labels)  # cached from here on: a fit computes frozen text features once
    single, double = count(1), count(2)
    return double - single, max(0.0, 2 * single - double)
