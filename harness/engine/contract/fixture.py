"""The method that the contract checks examine, with inputs that are the same on every machine."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from harness.base.errors import described
from harness.engine.method import ClipMethod
from harness.engine.model.clip_model import Backbone
from harness.engine.training.step import build_optimizer
from harness.engine.training_batch import TrainingBatch
from harness.spec import LabelSet, Recipe, Views
from harness.spec.options import OptionValue

FRAMES = 4
BASE = LabelSet(("open a door", "ride a bike", "jump"))
OTHER = LabelSet(("swim", "draw a sword", "chew"))
NOVEL = LabelSet(("pour water", "wave", "climb stairs", "clap hands"))
BATCH = 4


class MethodUnderTest:
    """A method class with options, from which each check builds fresh instances, and inputs for them.

    Args:
        cls: The class of the method.
        options: Option values that differ from the defaults.
        backbone: The CLIP model; not used by a method with its own model.

    Attributes:
        video: (BATCH, T, 3, H, W) noise.
        black: (1, T, 3, H, W) black video.
        base: Classes for training.
        novel: Other classes; the same as `base` for a method with a fixed set of classes.
        is_open: Whether the method can classify any classes under its options.
        targets: (BATCH, C) one-hot targets for `base`.
    """

    def __init__(self, cls: type[ClipMethod], options: Mapping[str, OptionValue], backbone: Backbone) -> None:
        self.cls = cls
        self._options = cls.options_for(options, frames=FRAMES)
        own = cls.own_model(self._options)
        backbone = backbone if own is None else own.load()
        self._prototype = backbone
        generator = torch.Generator().manual_seed(7)
        frames, size = FRAMES if own is None else own.views_of(Views()).frames, backbone.image_size
        self.video = torch.randn(BATCH, frames, 3, size, size, generator=generator)
        if own is not None:  # a model of its own normalises frames itself and takes pixel values 0..255
            self.video = (64 * self.video + 128).clamp(0, 255)
        self.base, self.novel = BASE, NOVEL
        self.is_open = cls.is_open(self._options)
        if not self.is_open:
            classes = int(getattr(backbone, "classes", 0)) or int(getattr(self._options, "fixed_classes", 0))
            self.base = self.novel = LabelSet(tuple(f"class {i}" for i in range(classes)))
        # One-hot, because contrastive losses such as ActionCLIP's refuse smoothed targets.
        self.targets = torch.eye(len(self.base))[torch.arange(BATCH) % len(self.base)]
        # About -2 is the value of a black pixel in the usual input statistics.
        self.black = torch.full_like(self.video[:1], -2.0 if own is None else 0.0)

    def fresh(self) -> ClipMethod:
        """A new instance in eval mode. Its backbone is a copy in which all parameters require gradients, as loaded."""
        # Copied for each check: a method that trains or patches the backbone would spoil the next check.
        return self.cls(copy.deepcopy(self._prototype).requires_grad_(True), self._options).eval()

    def twin(self) -> MethodUnderTest:
        """The same method and backbone with inputs of its own, which a check may spoil."""
        other = copy.copy(self)
        other.video, other.black, other.targets = self.video.clone(), self.black.clone(), self.targets.clone()
        return other

    def explain(self, error: BaseException) -> str:
        """An exception on one line: type, message, and its line in the method's file."""
        return described(error, Path(sys.modules[self.cls.__module__].__file__ or "").resolve())

    @property
    def recipe(self) -> Recipe:
        """A recipe of the method with a learning rate at which a few steps change the weights."""
        own = self.own_recipe
        # Published rates are as low as 1e-6: after a few steps a float32 weight may not have changed at all.
        return Recipe(epochs=1, lr=1e-3, weight_decay=own.weight_decay, betas=own.betas, eps=own.eps)

    @property
    def own_recipe(self) -> Recipe:
        """The recipe that the method declares, or the first of its recipes."""
        return self.cls.recipe or next(iter(self.cls.recipes.values()), Recipe(epochs=1, lr=1e-3))

    def batch(self, labels: LabelSet) -> TrainingBatch:
        """The training clips with the classes of a label set of as many classes as `base`."""
        return TrainingBatch(self.video, self.targets, self.targets.argmax(dim=-1), labels)

    def logits(self, method: ClipMethod, labels: LabelSet, video: Tensor | None = None) -> Tensor:
        """Logits (B, C), computed as in an eval: encode the texts once, then the videos.

        Args:
            method: A fresh instance.
            labels: The label set.
            video: (B, T, 3, H, W); `self.video` if not given.
        """
        with torch.no_grad():
            text = method.encode_text(labels)
            return method.score(method.encode_video(self.video if video is None else video), text).float()

    def see(self, method: ClipMethod, labels: LabelSet) -> Tensor:
        """The loss on a label set in training mode, without an update."""
        method.train()
        torch.manual_seed(3)  # the same dropout in every call
        with torch.no_grad():
            loss = method.training_loss(self.batch(labels))
        method.eval()
        return loss

    def train(self, method: ClipMethod, steps: int = 1) -> dict[str, bool]:
        """Train on the base classes for a few steps, or once if the method is fitted in closed form.

        Returns:
            Name of each trained parameter -> whether it had a gradient other than zero (closed form: whether it
            changed).
        """
        if method.fits_at_once:
            return self._fit_at_once(method)
        method.train()
        optimizer = build_optimizer(method, self.recipe)
        reached = {name: False for name, p in method.named_parameters() if p.requires_grad}
        torch.manual_seed(3)
        # A gradient in any step counts: behind a layer that starts at zero, as in LoRA, the first gradient is zero.
        for _ in range(steps):
            optimizer.zero_grad()
            method.training_loss(self.batch(self.base)).backward()
            for name, parameter in method.named_parameters():
                if name in reached and parameter.grad is not None:
                    reached[name] |= bool(parameter.grad.abs().max() > 0)
            optimizer.step()
        with torch.no_grad():
            method.after_fit()
        method.eval()
        return reached

    def _fit_at_once(self, method: ClipMethod) -> dict[str, bool]:
        before = {name: p.detach().clone() for name, p in method.named_parameters() if p.requires_grad}
        with torch.no_grad():
            labels = torch.arange(BATCH) % len(BASE)
            method.fit_features(method.encode_video(self.video).float(), labels, BASE)
            method.after_fit()
        return {name: not torch.equal(before[name], p) for name, p in method.named_parameters() if name in before}
