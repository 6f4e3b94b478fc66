"""Parameter updates per epoch of a training list, as the published code counts them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from harness.base.errors import UserError
from harness.spec.recipe import Recipe

BATCH = ("accumulate", "ranks", "micro_batch")
"""Factors of the effective batch, in the order in which a short list lowers them."""


@dataclass(frozen=True)
class UpdatePlan:
    """Numbers of micro-batches and parameter updates per epoch of a training list.

    Args:
        micro_batches: n, micro-batches per epoch and rank of the published run; the schedule counts these.
        updates: m = n // accumulate, updates per epoch. Left-over micro-batches are discarded, as published.
        clips: Clips that contribute to updates in one epoch.
        unused: Clips of the list that do not contribute in a given epoch (at least; padding repeats some).
    """

    micro_batches: int
    updates: int
    clips: int
    unused: int


def fitted_batch(n_videos: int, recipe: Recipe) -> Recipe:
    """The recipe with an effective batch that a list can fill; the recipe itself if the list fills its batch.

    One rule for all methods: `accumulate` is lowered to the largest value that gives an update per epoch, then `ranks`,
    then `micro_batch`. Micro-batches are kept as long as possible, because clips are blended inside them and
    contrastive losses compare their clips.

    Args:
        n_videos: Clips of the training list, at least 1.
        recipe: A recipe.
    """
    for name in BATCH:
        for value in range(getattr(recipe, name), 0, -1):
            smaller = _with_factor(recipe, name, value)
            if _counts(n_videos, smaller)[1]:
                return smaller if value != getattr(recipe, name) else recipe
        recipe = _with_factor(recipe, name, 1)
    return recipe


def _with_factor(recipe: Recipe, name: str, value: int) -> Recipe:
    factors = {"accumulate": recipe.accumulate, "ranks": recipe.ranks, "micro_batch": recipe.micro_batch, name: value}
    return replace(recipe, accumulate=factors["accumulate"], ranks=factors["ranks"], micro_batch=factors["micro_batch"])


def _counts(n_videos: int, recipe: Recipe) -> tuple[int, int]:
    """Micro-batches and updates per epoch."""
    micro = math.ceil(n_videos / recipe.ranks) // recipe.micro_batch
    return micro, micro // recipe.accumulate


def plan_updates(n_videos: int, recipe: Recipe) -> UpdatePlan:
    """Updates per epoch for a list: the sampler pads to a multiple of the ranks, the loader drops the last batch.

    Raises:
        UserError: The list is too short for a single update per epoch.
    """
    micro, updates = _counts(n_videos, recipe)
    if updates < 1:
        smaller = fitted_batch(n_videos, recipe)
        changes = [
            f"--recipe {name}={getattr(smaller, name)}"
            for name in ("micro_batch", "ranks", "accumulate")
            if getattr(smaller, name) != getattr(recipe, name)
        ]
        raise UserError(
            f"{n_videos} training clips give no update at an effective batch of {recipe.effective_batch} "
            f"({recipe.micro_batch} x {recipe.ranks} ranks x {recipe.accumulate}).",
            f"Choose a smaller batch: {' '.join(changes)}.",
        )
    clips = updates * recipe.effective_batch
    return UpdatePlan(micro, updates, clips, max(0, n_videos - clips))
