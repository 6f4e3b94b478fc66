"""The published learning-rate schedules and the arithmetic of updates, as closed forms of the iteration index.

`absolute_cosine`: X-CLIP and ViFi-CLIP step timm's cosine scheduler by micro-iteration, after each optimiser step, with
the cosine at the *absolute* index: the rate starts at 0, rises linearly over the warm-up, and drops at its end onto a
cosine that began at iteration 0. mmengine's stock schedulers cannot express it. Source: utils/optimizer.py, main.py of
both projects. The functions `stepped_cosine`, `slowfast_cosine` and `epoch_cosine` describe the other schedules, and
`constant` is the rate of the recipe.
"""

from __future__ import annotations

import math

from harness.base.errors import unknown_name
from harness.spec import Recipe
from harness.spec.recipe import SCHEDULES


def cosine_at(index: int, recipe: Recipe, micro_batches: int, peak: float, floor: float) -> float:
    """The rate at micro-iteration `index`: f(t) of the specification, section 3.4.

    Args:
        index: Absolute micro-iteration t >= 0.
        recipe: Epochs and warm-up epochs.
        micro_batches: n, micro-iterations per epoch.
        peak: Peak rate of the parameter group.
        floor: Lowest rate, `min_lr_ratio` times the rate of the *recipe* for all groups.
    """
    warmup = int(recipe.warmup_epochs * micro_batches)
    total = int(recipe.epochs * micro_batches)
    if index < warmup:
        # In the order of operations of timm's CosineLRScheduler (a step size times the index), so that the floats are
        # equal.
        return index * (peak / warmup)
    # timm's scheduler has one cycle (`cycle_limit=1`) and stays at the lowest rate after it.
    if index >= total:
        return floor
    # The cosine is not shifted by the warm-up, so that the rate drops at the end of the warm-up, as published.
    return floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * index / total))


def rate_of_update(update: int, recipe: Recipe, micro_batches: int, peak: float | None = None) -> float:
    """The learning rate of a parameter update.

    With `absolute_cosine` the first update has rate 0, and each later update has the rate at the last micro-iteration
    of its predecessor, because the original steps its scheduler after the optimiser.

    Args:
        update: 0-based number of the update over the whole fit.
        recipe: Schedule, epochs, rates, accumulation.
        micro_batches: Micro-iterations per epoch.
        peak: Peak rate of the parameter group; the rate of the recipe if not given.

    Raises:
        UserError: The recipe names an unknown schedule.
    """
    peak = recipe.lr if peak is None else peak
    if recipe.schedule == "constant":
        return peak
    if recipe.schedule == "stepped_cosine":
        return stepped_cosine(update, recipe, micro_batches // recipe.accumulate, peak)
    if recipe.schedule == "slowfast_cosine":
        return slowfast_cosine(update, recipe, micro_batches // recipe.accumulate, peak)
    if recipe.schedule == "epoch_cosine":
        return epoch_cosine(update, recipe, micro_batches // recipe.accumulate, peak)
    if recipe.schedule != "absolute_cosine":
        raise unknown_name("schedule", recipe.schedule, SCHEDULES)
    # timm sets the groups to `warmup_lr_init`, which is 0, before the first update. AdamW's moments are still updated.
    if update == 0:
        return 0.0
    per_epoch = micro_batches // recipe.accumulate
    epoch, step = divmod(update - 1, per_epoch)
    # Micro-batches left over at the end of an epoch make no update, but the original counts them.
    index = epoch * micro_batches + (step + 1) * recipe.accumulate - 1
    return cosine_at(index, recipe, micro_batches, peak, recipe.lr * recipe.min_lr_ratio)


def stepped_cosine(update: int, recipe: Recipe, per_epoch: int, peak: float) -> float:
    """The rate of ActionCLIP: linear up to the peak, then a cosine to zero that begins at the end of the warm-up.

    The rate is a function of the fractional epoch, updated only at the first and at every tenth update of an epoch.
    Source: utils/lr_scheduler.py and train.py of ActionCLIP; specification, section 6.6.
    """
    epoch, step = divmod(update, per_epoch)
    # train.py of ActionCLIP steps the scheduler at iteration 1 and at every tenth iteration of an epoch.
    refreshed = 0 if step < 9 else (step + 1) // 10 * 10 - 1
    at = epoch + refreshed / per_epoch
    if at < recipe.warmup_epochs:
        return peak * at / recipe.warmup_epochs
    share = (at - recipe.warmup_epochs) / (recipe.epochs - recipe.warmup_epochs)
    return 0.5 * peak * (1.0 + math.cos(math.pi * share))


def slowfast_cosine(update: int, recipe: Recipe, per_epoch: int, peak: float) -> float:
    """The rate of the SlowFast code: linear over the warm-up, then a cosine that begins at its end.

    The rate is a function of the fractional epoch before the update. The linear part starts at `warmup_lr_ratio` and
    the cosine ends at `min_lr_ratio`, both of the peak rate of the group.
    Source: the learning-rate policy of Open-VCLIP and FROSTER (specification, part b of later methods, section 1.2).

    Args:
        update: 0-based number of the update over the whole fit.
        recipe: Epochs, warm-up and ratios.
        per_epoch: Updates per epoch.
        peak: Peak rate of the parameter group.
    """
    epoch, step = divmod(update, per_epoch)
    at = epoch + step / per_epoch
    warmup = recipe.warmup_epochs
    if at < warmup:
        start = peak * recipe.warmup_lr_ratio
        return at * (peak - start) / warmup + start
    floor = peak * recipe.min_lr_ratio
    share = (at - warmup) / (recipe.epochs - warmup)
    return floor + (peak - floor) * (math.cos(math.pi * share) + 1.0) * 0.5


def epoch_cosine(update: int, recipe: Recipe, per_epoch: int, peak: float) -> float:
    """The rate of mmcv's cosine by epoch, with a warm-up by iteration: AIM.

    The cosine is constant within an epoch. The warm-up scales it linearly, from `warmup_lr_ratio` on.
    Source: mmcv 1.x, the hook for learning rates (specification, part b of later methods, section 4).

    Args:
        update: 0-based number of the update over the whole fit.
        recipe: Epochs, warm-up and ratios.
        per_epoch: Updates per epoch.
        peak: Peak rate of the parameter group.
    """
    epoch = update // per_epoch
    floor = peak * recipe.min_lr_ratio
    rate = floor + 0.5 * (peak - floor) * (math.cos(math.pi * epoch / recipe.epochs) + 1.0)
    warmup = int(recipe.warmup_epochs * per_epoch)
    if update >= warmup:
        return rate
    return rate * (1.0 - (1.0 - update / warmup) * (1.0 - recipe.warmup_lr_ratio))
