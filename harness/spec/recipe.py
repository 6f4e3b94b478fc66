"""Recipes: the optimisation settings of a fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.base.errors import UserError

_INFINITY = float("inf")
_AUGMENTATIONS = ("published", "none")
_SCHEDULES = ("absolute_cosine", "stepped_cosine", "constant")
_SELECTIONS = ("last",)


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

    def __post_init__(self) -> None:
        """Refuse values that no fit can use, before the optimiser fails on them in the middle of a run.

        Raises:
            UserError: A value is outside its range.
        """
        # Attributes instead of `getattr`, because a board of ten thousand records makes twenty thousand recipes.
        for name, count in (
            ("epochs", self.epochs), ("micro_batch", self.micro_batch), ("ranks", self.ranks),
            ("accumulate", self.accumulate),
        ):  # fmt: skip
            if count < 1:
                raise UserError(f"recipe.{name} is {count}, expected at least 1.")
        for name, count in (("seed", self.seed), ("views_cached", self.views_cached)):
            if count < 0:
                raise UserError(f"recipe.{name} is {count}, expected at least 0.")
        for name, value in (("lr", self.lr), ("eps", self.eps)):
            if not 0 < value < _INFINITY:
                raise UserError(f"recipe.{name} is {value:g}, expected a number above 0.")
        for name, value in (
            ("warmup_epochs", self.warmup_epochs), ("weight_decay", self.weight_decay), ("mixup", self.mixup),
            ("cutmix", self.cutmix),
        ):  # fmt: skip
            if not 0 <= value < _INFINITY:
                raise UserError(f"recipe.{name} is {value:g}, expected a number from 0.")
        for name, value in (
            ("smoothing", self.smoothing), ("switch", self.switch), ("min_lr_ratio", self.min_lr_ratio)
        ):  # fmt: skip
            if not 0 <= value <= 1:
                raise UserError(f"recipe.{name} is {value:g}, expected a number from 0 to 1.")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            shown = ",".join(f"{beta:g}" for beta in self.betas)
            raise UserError(f"recipe.betas is {shown}, expected two numbers from 0 to below 1, such as 0.9,0.98.")
        for name, text, allowed in (
            ("augmentation", self.augmentation, _AUGMENTATIONS), ("schedule", self.schedule, _SCHEDULES),
            ("selection", self.selection, _SELECTIONS),
        ):  # fmt: skip
            if text not in allowed:
                raise UserError(f"recipe.{name} is {text!r}, expected one of {', '.join(allowed)}.")

    @property
    def effective_batch(self) -> int:
        """Clips per parameter update."""
        return self.micro_batch * self.ranks * self.accumulate

    def of_seed(self, index: int) -> Recipe:
        """The recipe of repeat `index` of kind `seed`, counted from 1; repeat 1 has the seed of this recipe."""
        return replace(self, seed=self.seed + index - 1)


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
