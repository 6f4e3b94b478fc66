"""Recipes: the optimisation settings of a fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from harness.base.errors import UserError
from harness.spec.later import later

DECAY_KINDS = ("vectors", "biases", "norms", "positions")
"""Kinds of parameters that a recipe can except from weight decay, for any method."""


@dataclass(frozen=True)
class Recipe:
    """The optimisation settings of a method for one protocol and dataset.

    The effective batch is `micro_batch * ranks * accumulate` clips for any number of processes at run time.
    `ranks` and `accumulate` stay explicit because the published schedule counts micro-iterations per rank and the
    published blending mixes inside one micro-batch: an equal total batch made of other factors is another method.

    Args:
        epochs: Passes over the training list.
        lr: Peak learning rate of the main parameter group.
        warmup_epochs: Linear warm-up. The cosine is evaluated at the absolute iteration, as published.
        micro_batch: Clips per blending group (4 in all published ViFi-CLIP recipes).
        ranks: Processes of the published run.
        accumulate: Micro-batches per update and rank.
        augmentation: `published` or `none`.
        smoothing, mixup, cutmix, switch: Label smoothing, Beta parameters, and the probability of CutMix over Mixup.
            With mixup = cutmix = 0 nothing is blended.
        views_cached: Augmented views per clip whose frame features are stored; epoch e uses view e modulo this number;
            0 for new views in every epoch. Needs a frozen vision tower and no blending, and changes the method.
        schedule: `absolute_cosine` (X-CLIP and ViFi-CLIP), `stepped_cosine` (ActionCLIP) or `constant`.
        seed: Base seed of every random draw of the fit.
        source: Where the settings are published, or `own` with a reason.
        lr_factors: Learning rates by parameter group: `NAME=FACTOR` for a group of `MethodSpec.named_groups`, whose
            peak rate is FACTOR times the rate that the method gives its parameters. The floor of the schedule stays
            `min_lr_ratio` times `lr` for all groups.
        no_decay: Parameters without weight decay: names of `MethodSpec.named_groups`, or kinds of parameters:
            `vectors` (tensors of at most one dimension), `biases`, `norms` (parameters of normalisation layers) and
            `positions` (positional embeddings).
    """

    epochs: int
    lr: float
    warmup_epochs: float = 5
    micro_batch: int = 4
    ranks: int = 8
    accumulate: int = 2
    weight_decay: float = 0.001
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    min_lr_ratio: float = 0.01
    augmentation: str = "published"
    flip: bool = True
    smoothing: float = 0.1
    mixup: float = 0.8
    cutmix: float = 1.0
    switch: float = 0.5
    schedule: str = "absolute_cosine"
    seed: int = 1024
    selection: str = "last"
    source: str = "own"
    views_cached: int = 0
    lr_factors: tuple[str, ...] = later(())
    no_decay: tuple[str, ...] = later(())

    def __post_init__(self) -> None:
        """Refuse values that no fit can use, before the optimiser fails on them in the middle of a run.

        Raises:
            UserError: A value is outside its range.
        """
        for name in ("epochs", "micro_batch", "ranks", "accumulate"):
            if getattr(self, name) < 1:
                raise UserError(f"recipe.{name} is {getattr(self, name)}, expected at least 1.")
        for name in ("seed", "views_cached"):
            if getattr(self, name) < 0:
                raise UserError(f"recipe.{name} is {getattr(self, name)}, expected at least 0.")
        for name in ("lr", "eps", "warmup_epochs", "weight_decay", "mixup", "cutmix"):
            value, positive = getattr(self, name), name in ("lr", "eps")
            if not 0 <= value < float("inf") or (positive and not value):
                raise UserError(f"recipe.{name} is {value:g}, expected a number {'above' if positive else 'from'} 0.")
        for name in ("smoothing", "switch", "min_lr_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"recipe.{name} is {getattr(self, name):g}, expected a number from 0 to 1.")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            shown = ",".join(f"{beta:g}" for beta in self.betas)
            raise UserError(f"recipe.betas is {shown}, expected two numbers from 0 to below 1, such as 0.9,0.98.")
        self._check_groups()
        for name, allowed in (
            ("augmentation", ("published", "none")),
            ("schedule", ("absolute_cosine", "stepped_cosine", "constant")),
            ("selection", ("last",)),
        ):
            if getattr(self, name) not in allowed:
                raise UserError(f"recipe.{name} is {getattr(self, name)!r}, expected one of {', '.join(allowed)}.")

    def _check_groups(self) -> None:
        """Refuse entries of `lr_factors` and `no_decay` that cannot be read, and names that occur twice."""
        for entry in self.lr_factors:
            name, equals, text = entry.partition("=")
            if not (name and equals and _is_factor(text)):
                raise UserError(
                    f"recipe.lr_factors has the entry {entry!r}, expected NAME=FACTOR with a factor from 0, such as "
                    "prompts=10."
                )
        for setting, names in (("lr_factors", list(self.factors)), ("no_decay", self.no_decay)):
            entries = getattr(self, setting)
            if len(set(names)) < len(entries) or "" in names:
                raise UserError(
                    f"recipe.{setting} is {','.join(entries)}, expected names of parameter groups without repetition."
                )

    @property
    def factors(self) -> dict[str, float]:
        """The factors of `lr_factors` by name of the parameter group."""
        pairs = (entry.partition("=") for entry in self.lr_factors)
        return {name: float(text) for name, _, text in pairs}

    @property
    def effective_batch(self) -> int:
        """Clips per parameter update."""
        return self.micro_batch * self.ranks * self.accumulate

    def of_seed(self, index: int) -> Recipe:
        """The recipe of repeat `index` of kind `seed`, counted from 1; repeat 1 has the seed of this recipe."""
        return replace(self, seed=self.seed + index - 1)


def _is_factor(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and value >= 0


@dataclass(frozen=True)
class ParentFit:
    """Another fit that a method starts from, on the same dataset.

    Args:
        method: The method that is fitted first.
        protocol: Protocol whose first fit for the dataset is used: `zero_shot` fits on the whole training list of the
            dataset's source.
    """

    method: str
    protocol: str
