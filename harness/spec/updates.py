"""Parameter updates per epoch of a training list, as the published code counts them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.base.errors import UserError
from harness.spec.recipe import Recipe


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


def plan_updates(n_videos: int, recipe: Recipe) -> UpdatePlan:
    """Updates per epoch for a list: the sampler pads to a multiple of the ranks, the loader drops the last batch.

    Raises:
        UserError: The list is too short for a single update per epoch.
    """
    micro = math.ceil(n_videos / recipe.ranks) // recipe.micro_batch
    updates = micro // recipe.accumulate
    if updates < 1:
        raise UserError(
            f"{n_videos} training clips give no update at an effective batch of {recipe.effective_batch} "
            f"({recipe.micro_batch} x {recipe.ranks} ranks x {recipe.accumulate}).",
            "Choose a smaller batch, e.g. --recipe ranks=1 --recipe accumulate=2.",
        )
    clips = updates * recipe.effective_batch
    return UpdatePlan(micro, updates, clips, max(0, n_videos - clips))
