"""The order of clips in a fit: a function of seed and epoch, independent of the number of processes.

The published run divides a permutation among R ranks (rank r takes positions r, r+R, ...) and cuts the clips of a rank
into micro-batches of B clips. The same groups of B clips are formed here and used in the same updates. Blending, which
mixes the clips of a group, and the gradient of each update therefore do not depend on the number of GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.base.errors import UserError
from harness.spec import Recipe
from harness.spec.updates import UpdatePlan, plan_updates


@dataclass(frozen=True)
class Draw:
    """A clip of an epoch: its row in the list, and the numbers that seed its augmentation and blending.

    Args:
        index: Row of the list.
        epoch: Epoch from 0; -1 in evaluation.
        position: Position in the order of the epoch; with the epoch it seeds the augmentation.
        group: Index of the blending group in the epoch.
    """

    index: int
    epoch: int = -1
    position: int = 0
    group: int = 0


def epoch_groups(n_videos: int, recipe: Recipe, epoch: int) -> list[list[int]]:
    """Return the blending groups of an epoch in the order in which updates use them.

    Returns:
        updates x (accumulate x ranks) groups of `micro_batch` rows.
    """
    plan = plan_updates(n_videos, recipe)
    order = np.random.default_rng([recipe.seed, epoch]).permutation(n_videos)
    # Like torch's DistributedSampler: the last round is filled with the first clips.
    padded = np.resize(order, -(-n_videos // recipe.ranks) * recipe.ranks)
    shards = padded.reshape(-1, recipe.ranks)  # row i holds the i-th clip of each rank
    groups = []
    for micro in range(plan.updates * recipe.accumulate):
        rows = shards[micro * recipe.micro_batch : (micro + 1) * recipe.micro_batch]
        groups += [[int(i) for i in rows[:, rank]] for rank in range(recipe.ranks)]
    return groups


class FitBatches:
    """Batches of `Draw`s of one process: a batch sampler whose epoch the training loop sets.

    Args:
        n_videos: Length of the training list.
        recipe: Recipe of the fit.
        device_clips: Clips per device batch; rounded down to whole groups that divide an update evenly. It changes
            speed and memory, not the result.
        rank: Rank of this process.
        processes: Number of processes, which must divide the number of groups of an update.

    Raises:
        UserError: The number of processes does not divide the number of groups of an update.
    """

    def __init__(self, n_videos: int, recipe: Recipe, device_clips: int, rank: int = 0, processes: int = 1) -> None:
        self.n_videos, self.recipe, self.rank, self.processes, self.epoch = n_videos, recipe, rank, processes, 0
        self.plan: UpdatePlan = plan_updates(n_videos, recipe)
        per_update = recipe.ranks * recipe.accumulate
        if per_update % processes:
            raise UserError(
                f"{processes} processes cannot share {per_update} groups of {recipe.micro_batch} clips evenly.",
                f"Use a number of processes that divides {per_update}.",
            )
        share = per_update // processes
        wanted = max(1, device_clips // recipe.micro_batch)
        # Only divisors of the share, because an update ends with a whole device batch.
        self.groups_per_batch = max(g for g in range(1, share + 1) if share % g == 0 and g <= max(wanted, 1))
        self.batches_per_update = share // self.groups_per_batch

    def __len__(self) -> int:
        return self.plan.updates * self.batches_per_update

    def __iter__(self) -> Iterator[list[Draw]]:
        recipe = self.recipe
        groups = epoch_groups(self.n_videos, recipe, self.epoch)
        per_update = recipe.ranks * recipe.accumulate
        share = per_update // self.processes
        for update in range(self.plan.updates):
            first = update * per_update + self.rank * share
            for start in range(first, first + share, self.groups_per_batch):
                yield [
                    Draw(index, self.epoch, group * recipe.micro_batch + k, group)
                    for group in range(start, start + self.groups_per_batch)
                    for k, index in enumerate(groups[group])
                ]
