"""The method that the contract checks look at, with inputs that are the same on every machine."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.base.errors import described
from harness.engine.method import ClipMethod
from harness.engine.model.backbone import Backbone
from harness.engine.training.step import build_optimizer
from harness.spec import LabelSet, Recipe, Views

FRAMES = 4
BASE = LabelSet(("open a door", "ride a bike", "jump"))
OTHER = LabelSet(("swim", "draw a sword", "chew"))
NOVEL = LabelSet(("pour water", "wave", "climb stairs", "clap hands"))
BATCH = 4


class Subject:
    """The method under test: fresh copies, and inputs that are the same in every run."""

    def __init__(self, cls: type[ClipMethod], options: Mapping[str, Any], backbone: Backbone) -> None:
        self.cls = cls
        self._options = cls.options_for(options, frames=FRAMES)
        own = cls.own_model(self._options)
        self._backbone = backbone if own is None else own.load()
        generator = torch.Generator().manual_seed(7)
        frames, size = FRAMES if own is None else own.views_of(Views()).frames, self._backbone.image_size
        self.video = torch.randn(BATCH, frames, 3, size, size, generator=generator)
        if own is not None:  # raw frames
            self.video = (64 * self.video + 128).clamp(0, 255)
        self.base, self.novel = BASE, NOVEL
        if not cls.open_vocabulary:
            fixed = LabelSet(tuple(f"class {i}" for i in range(self._backbone.classes)))
            self.base = self.novel = fixed
        self.targets = torch.eye(len(self.base))[torch.arange(BATCH) % len(self.base)]
        self.black = torch.full_like(self.video[:1], -2.0 if own is None else 0.0)

    def fresh(self) -> ClipMethod:
        """A new method in eval mode on a copy of the backbone whose parameters may all learn, as when just loaded."""
        return self.cls(copy.deepcopy(self._backbone).requires_grad_(True), self._options).eval()

    def said(self, error: BaseException) -> str:
        """What was raised and where in the method's own file, on one line."""
        return described(error, Path(sys.modules[self.cls.__module__].__file__ or "").resolve())

    @property
    def recipe(self) -> Recipe:
        """Some recipe of the method, with a rate at which a few steps move the weights."""
        found = self.cls.recipe or next(iter(self.cls.recipes.values()), Recipe(epochs=1, lr=1e-3))
        return Recipe(epochs=1, lr=1e-3, weight_decay=found.weight_decay, betas=found.betas, eps=found.eps)

    def logits(self, method: ClipMethod, labels: LabelSet, video: Tensor | None = None) -> Tensor:
        """Logits as the harness computes them in an eval: text once, then the views."""
        with torch.no_grad():
            text = method.encode_text(labels)
            return method.score(method.encode_video(self.video if video is None else video), text).float()

    def see(self, method: ClipMethod, labels: LabelSet) -> None:
        """Take a loss on some classes in training mode, without any update."""
        method.train()
        torch.manual_seed(3)
        with torch.no_grad():
            method.loss(self.video, self.targets, labels)
        method.eval()

    def train(self, method: ClipMethod, steps: int = 1) -> dict[str, bool]:
        """A short fit on the base classes; which learning parameters got a gradient other than zero.

        A method that is fitted in closed form is fitted instead; parameters that changed count as reached.
        """
        if method.fits_at_once:
            return self._fit_at_once(method)
        method.train()
        optimizer = build_optimizer(method, self.recipe)
        reached = {name: False for name, p in method.named_parameters() if p.requires_grad}
        torch.manual_seed(3)
        for _ in range(steps):
            optimizer.zero_grad()
            method.loss(self.video, self.targets, self.base).backward()
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
