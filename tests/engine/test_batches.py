"""The order of clips: the published sharding, whatever the device batch and the number of processes."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader
from torch.utils.data.distributed import DistributedSampler

from harness.base.errors import UserError
from harness.engine.video.batches import Draw, FitBatches, epoch_groups
from harness.spec import Recipe
from harness.spec.updates import plan_updates

Updates = list[list[tuple[int, ...]]]


def recipe(ranks: int = 8, micro: int = 4, accumulate: int = 2, **more: int) -> Recipe:
    return Recipe(epochs=1, lr=1e-3, ranks=ranks, micro_batch=micro, accumulate=accumulate, **more)


def published_updates(n: int, settings: Recipe, epoch: int) -> list[Counter[tuple[int, ...]]]:
    """The groups of each update as torch's own sampler and the original loop form them, over this project's shuffle.

    Every rank runs DistributedSampler (padding, no dropping), a batch sampler that drops the last batch, and an update
    after each `accumulate` micro-batches; what is left over is discarded.
    """
    order = np.random.default_rng([settings.seed, epoch]).permutation(n)
    by_rank = []
    for rank in range(settings.ranks):
        sampler = DistributedSampler(range(n), settings.ranks, rank, shuffle=False)  # type: ignore[arg-type]
        micro = [tuple(int(order[i]) for i in batch) for batch in BatchSampler(sampler, settings.micro_batch, True)]
        by_rank.append(micro)
    steps = len(by_rank[0]) // settings.accumulate
    return [
        Counter(group for micro in by_rank for group in micro[s * settings.accumulate : (s + 1) * settings.accumulate])
        for s in range(steps)
    ]


def updates_of(batches: list[FitBatches], per_update: int) -> list[list[list[Draw]]]:
    """The draws of each update over all processes, by group."""
    updates: list[list[list[Draw]]] = [[] for _ in range(batches[0].plan.updates)]
    for process in batches:
        for number, batch in enumerate(process):
            size = process.recipe.micro_batch
            groups = [batch[i : i + size] for i in range(0, len(batch), size)]
            updates[number // process.batches_per_update] += groups
    assert all(len(groups) == per_update for groups in updates)
    return updates


CASES = [
    (13, 1, 4, 1),
    (64, 8, 4, 2),
    (102, 8, 4, 2),
    (416, 8, 4, 2),
    (416, 4, 4, 4),
    (100, 3, 5, 2),
    (35, 8, 4, 1),
    (71, 2, 1, 3),
]


@pytest.mark.parametrize(("n", "ranks", "micro", "accumulate"), CASES)
@pytest.mark.parametrize("epoch", [0, 3])
def test_as_the_published_loop(n: int, ranks: int, micro: int, accumulate: int, epoch: int) -> None:
    settings = recipe(ranks, micro, accumulate)
    batches = FitBatches(n, settings, 16)
    batches.epoch = epoch
    updates = updates_of([batches], ranks * accumulate)
    assert [Counter(tuple(d.index for d in g) for g in u) for u in updates] == published_updates(n, settings, epoch)


# Specification, section 3.1: videos, n, updates per epoch, epochs, total updates, unused per epoch (at least).
TABLE = [
    (102, 3, 1, 50, 50, 38), (204, 6, 3, 50, 150, 12), (408, 12, 6, 50, 300, 24), (816, 25, 12, 50, 600, 48),
    (202, 6, 3, 50, 150, 10), (404, 12, 6, 50, 300, 20), (808, 25, 12, 50, 600, 40), (1616, 50, 25, 50, 1250, 16),
    (348, 11, 5, 50, 250, 28), (696, 21, 10, 50, 500, 56), (1392, 43, 21, 50, 1050, 48), (2784, 87, 43, 50, 2150, 32),
    (416, 13, 6, 11, 66, 32), (816, 25, 12, 11, 132, 48), (1392, 43, 21, 11, 231, 48), (3200, 100, 50, 11, 550, 0),
]  # fmt: skip


@pytest.mark.parametrize(("videos", "micro", "updates", "epochs", "total", "unused"), TABLE)
def test_the_published_numbers_of_updates(
    videos: int, micro: int, updates: int, epochs: int, total: int, unused: int
) -> None:
    settings = replace(recipe(), epochs=epochs)
    plan = plan_updates(videos, settings)
    assert (plan.micro_batches, plan.updates, plan.unused) == (micro, updates, unused)
    assert plan.updates * epochs == total
    assert len(FitBatches(videos, settings, 64)) == updates
    drawn = {draw.index for batch in FitBatches(videos, settings, 64) for draw in batch}
    assert videos - len(drawn) >= unused


settings_of_fits = st.builds(
    recipe, ranks=st.integers(1, 8), micro=st.integers(1, 6), accumulate=st.integers(1, 4), seed=st.integers(0, 2**31)
)


@st.composite
def fits(draw: st.DrawFn) -> tuple[int, Recipe, int]:
    chosen = draw(settings_of_fits)
    return draw(st.integers(chosen.effective_batch, chosen.effective_batch * 5)), chosen, draw(st.integers(0, 100))


@given(fits())
@settings(max_examples=60, deadline=None)
def test_every_fit_equals_the_published_loop(fit: tuple[int, Recipe, int]) -> None:
    n, chosen, epoch = fit
    groups = epoch_groups(n, chosen, epoch)
    per_update = chosen.ranks * chosen.accumulate
    updates = [Counter(tuple(g) for g in groups[i : i + per_update]) for i in range(0, len(groups), per_update)]
    assert updates == published_updates(n, chosen, epoch)


@given(fits(), st.sampled_from([1, 4, 8, 16, 64]), st.sampled_from([1, 2, 4]))
@settings(max_examples=80, deadline=None)
def test_device_batch_and_processes_change_nothing(fit: tuple[int, Recipe, int], clips: int, processes: int) -> None:
    """The same draws, with the same seeds of augmentation and blending, are in the same update."""
    n, chosen, epoch = fit
    per_update = chosen.ranks * chosen.accumulate
    if per_update % processes:
        with pytest.raises(UserError, match="cannot share"):
            FitBatches(n, chosen, clips, 0, processes)
        return
    processes = [FitBatches(n, chosen, clips, rank, processes) for rank in range(processes)]
    reference = FitBatches(n, chosen, 1)
    for batches in (reference, *processes):
        batches.epoch = epoch
    actual, expected = updates_of(processes, per_update), updates_of([reference], per_update)
    for update, reference_update in zip(actual, expected, strict=True):
        assert sorted(update, key=lambda g: g[0].group) == sorted(reference_update, key=lambda g: g[0].group)
    for batches in processes:
        lengths = {len(batch) for batch in batches}
        assert len(batches) == sum(1 for _ in batches) and len(lengths) == 1
        size = lengths.pop()
        assert size % chosen.micro_batch == 0 and size <= max(clips, chosen.micro_batch)


@given(fits())
@settings(max_examples=40, deadline=None)
def test_positions_number_the_clips_of_an_epoch(fit: tuple[int, Recipe, int]) -> None:
    """Augmentation is seeded by the position, so no two clips of an epoch share one; padding repeats few clips."""
    n, chosen, epoch = fit
    batches = FitBatches(n, chosen, 16)
    batches.epoch = epoch
    draws = [draw for batch in batches for draw in batch]
    assert sorted(draw.position for draw in draws) == list(range(batches.plan.clips))
    assert all(draw.position // chosen.micro_batch == draw.group and draw.epoch == epoch for draw in draws)
    counts = Counter(draw.index for draw in draws)
    assert max(counts.values()) <= 1 + math.ceil((chosen.ranks - 1) / n)
    assert sum(count - 1 for count in counts.values()) < chosen.ranks


def test_every_epoch_has_its_own_order() -> None:
    assert epoch_groups(64, recipe(), 0) != epoch_groups(64, recipe(), 1)
    assert epoch_groups(64, recipe(), 0) == epoch_groups(64, recipe(), 0)
    assert epoch_groups(64, recipe(), 0) != epoch_groups(64, recipe(seed=1), 0)


def test_a_list_too_short_for_an_update_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"16 training clips give no update at an effective batch of 64 \(4 x 8 ranks x 2\)"
    ):
        FitBatches(16, recipe(), 16)


def test_a_batch_sampler_of_torch() -> None:
    """FitBatches is handed to a DataLoader as its batch sampler."""
    batches = FitBatches(16, recipe(ranks=1), 8)
    loader = DataLoader(list(range(16)), batch_sampler=[[d.index for d in b] for b in batches])
    assert torch.cat(list(loader)).numel() == 16
