"""Recipes: the optimisation settings of a fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from harness.base.epochs import NONE, parse_epochs, parse_selection
from harness.base.errors import UserError
from harness.spec.augmentation import parse_augmentation
from harness.spec.later import later
from harness.spec.options import OptionValue

SCHEDULES = ("absolute_cosine", "stepped_cosine", "slowfast_cosine", "epoch_cosine", "constant")
DECAY_KINDS = ("vectors", "biases", "norms", "positions")
"""Kinds of parameters that a recipe can except from weight decay, for any method."""

_INFINITY = float("inf")
_WARMED_UP = ("slowfast_cosine", "epoch_cosine")
"""Schedules whose warm-up starts at `warmup_lr_ratio`."""
_PLAIN_AUGMENTATIONS = ("published", "none")


@dataclass(frozen=True)
class Recipe:
    """The optimisation settings of a method for one protocol and dataset.

    The effective batch is `micro_batch * ranks * accumulate` clips for any number of processes at run time.
    `ranks` and `accumulate` stay explicit because the published schedule counts micro-iterations per rank and the
    published blending mixes inside one micro-batch: an equal total batch made of other factors is another method.

    Args:
        epochs: Passes over the training list.
        lr: Peak learning rate of the main parameter group.
        warmup_epochs: Epochs of linear warm-up. What follows depends on `schedule`: the cosine of `absolute_cosine`
            began at iteration 0, so that the rate drops at the end of the warm-up; that of `slowfast_cosine` begins
            there.
        micro_batch: Clips per blending group (4 in all published ViFi-CLIP recipes).
        ranks: Processes of the published run.
        accumulate: Micro-batches per update and rank.
        augmentation: `published`, `none`, or steps such as `short_side:224-256`, see `harness.spec.augmentation`.
        flip: Mirror a clip with probability 0.5 after the crop.
        smoothing, mixup, cutmix, switch: Label smoothing, Beta parameters, and the probability of CutMix over Mixup.
            With mixup = cutmix = 0 nothing is blended.
        views_cached: Augmented views per clip whose frame features are stored; epoch e uses view e modulo this number;
            0 for new views in every epoch. Needs a frozen vision tower and no blending, and changes the method.
        schedule: `absolute_cosine`, `stepped_cosine`, `slowfast_cosine`, `epoch_cosine` or `constant`, see
            `harness.engine.training.schedule`.
        seed: Base seed of every random draw of the fit.
        selection: Evaluated epoch: `last`, or `epoch:N` (counted from 1), which puts the row into the open division: it
            can only be chosen by scores of the evaluation list.
        average: Epochs whose trained weights are averaged after the fit, such as `2-22` or `2-22:2` (every second);
            `none` for the weights of the selected epoch.
        initial_share: Share, from 0 to 1, of the weights before the fit in the evaluated weights of the backbone, which
            are interpolated after averaging; parameters that the method added keep their trained values.
        source: The publication of the settings, or `own` with a reason.
        clip_norm: Largest L2 norm of the gradient of all trained parameters in an update; larger gradients are scaled
            down to it. 0 for no limit.
        warmup_lr_ratio: Rate of the first update with `slowfast_cosine` and `epoch_cosine`, as a fraction of the rate
            without warm-up.
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
    clip_norm: float = later(0.0)
    warmup_lr_ratio: float = later(0.0)
    average: str = later(NONE)
    initial_share: float = later(0.0)
    lr_factors: tuple[str, ...] = later(())
    no_decay: tuple[str, ...] = later(())

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
            ("cutmix", self.cutmix), ("clip_norm", self.clip_norm),
        ):  # fmt: skip
            if not 0 <= value < _INFINITY:
                raise UserError(f"recipe.{name} is {value:g}, expected a number from 0.")
        for name, value in (
            ("smoothing", self.smoothing), ("switch", self.switch), ("min_lr_ratio", self.min_lr_ratio),
            ("warmup_lr_ratio", self.warmup_lr_ratio), ("initial_share", self.initial_share),
        ):  # fmt: skip
            if not 0 <= value <= 1:
                raise UserError(f"recipe.{name} is {value:g}, expected a number from 0 to 1.")
        if self.warmup_lr_ratio and self.schedule not in _WARMED_UP:
            raise UserError(
                f"recipe.warmup_lr_ratio is {self.warmup_lr_ratio:g} with schedule {self.schedule}, which has no such "
                "setting; expected 0.",
                f"Set schedule={' or '.join(_WARMED_UP)}, or leave warmup_lr_ratio out.",
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            shown = ",".join(f"{beta:g}" for beta in self.betas)
            raise UserError(f"recipe.betas is {shown}, expected two numbers from 0 to below 1, such as 0.9,0.98.")
        if self.augmentation not in _PLAIN_AUGMENTATIONS:
            parse_augmentation(self.augmentation)
        if self.lr_factors or self.no_decay:
            self._check_groups()
        if self.schedule not in SCHEDULES:
            raise UserError(f"recipe.schedule is {self.schedule!r}, expected one of {', '.join(SCHEDULES)}.")
        if self.selection != "last" or self.average != NONE:
            self._check_evaluated()

    def _check_evaluated(self) -> None:
        """Refuse epochs that cannot be read, and a selected epoch beside an average."""
        chosen, averaged = self.chosen_epoch, self.averaged_epochs
        if chosen and averaged:
            raise UserError(
                f"recipe.selection is {self.selection} and recipe.average is {self.average}, expected one of them.",
                "Add --recipe average=none, or leave out --recipe selection=...",
            )

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
            # `factors` keeps the last of two equal names, so that it is shorter than the setting if a name is repeated.
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

    @property
    def chosen_epoch(self) -> int:
        """N of `selection=epoch:N`; 0 for the last epoch."""
        return parse_selection(self.selection, self.epochs)

    @property
    def averaged_epochs(self) -> tuple[int, ...]:
        """The epochs whose weights are averaged, counted from 1; empty without averaging."""
        return parse_epochs(self.average, self.epochs, "recipe.average")

    @property
    def ingredients(self) -> tuple[int, ...]:
        """The epochs whose trained weights decide the evaluated weights."""
        return self.averaged_epochs or (self.chosen_epoch or self.epochs,)

    @property
    def trajectory(self) -> Recipe:
        """The recipe with the plain weights of the last epoch; recipes with equal trajectories train alike."""
        return replace(self, selection="last", average=NONE, initial_share=0.0)

    @property
    def evaluated(self) -> str:
        """The evaluated weights in one word: `last`, `epoch:5`, `average:2-22`, each with `+initial:0.3`."""
        weights = f"average:{self.average}" if self.averaged_epochs else self.selection
        return weights + (f"+initial:{self.initial_share:g}" if self.initial_share else "")

    def of_seed(self, index: int) -> Recipe:
        """The recipe of repeat `index` of kind `seed`, counted from 1; repeat 1 has the seed of this recipe."""
        return replace(self, seed=self.seed + index - 1)


def _is_factor(text: str) -> bool:
    """Whether a text is a finite number from 0."""
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
        options: Options of that method, as pairs of name and value.
        recipe: Settings of its declared recipe that differ, as pairs of name and text, such as `("average", "none")`.
    """

    method: str
    protocol: str
    options: tuple[tuple[str, OptionValue], ...] = ()
    recipe: tuple[tuple[str, str], ...] = ()
