"""One fit: a method is trained on a list with a recipe, by gradient steps or in closed form; resumable."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.base.canonical import fingerprint
from harness.base.errors import EXIT_FAILED, UserError
from harness.engine.compute.device_batch import device_batch
from harness.engine.features.cached_loaders import fit_features, training_loader
from harness.engine.features.context import Context
from harness.engine.job import FitJob
from harness.engine.model.compiled import compile_if_asked, compile_if_it_pays
from harness.engine.training import mm_runner
from harness.engine.training.closed_form import solve
from harness.engine.training.curve import Curve
from harness.engine.training.gradient_checkpointing import checkpointed
from harness.engine.training.kept_weights import finish_weights, held_epochs, initial_weights, kept_file
from harness.engine.training.sharding import Sharding
from harness.engine.training.step import batch_loss, build_optimizer
from harness.engine.video.batches import FitBatches
from harness.engine.video.loaders import TrainingClips, fit_loader
from results.curve_file import CURVE
from results.fit_file import FitOutcome

Progress = Callable[[int, int, float | None], None]
"""Called with (iterations done, iterations in total, loss); the loss is None in a closed form."""


def fit(job: FitJob, folder: Path, context: Context, progress: Progress | None = None) -> FitOutcome:
    """Train a method on a list and write `weights.safetensors` and `curve.jsonl` into a folder.

    A fit that is interrupted and called again ends with the same weights as an uninterrupted fit: order, augmentation
    and blending are functions of (seed, epoch, position), and parameters, optimiser and loss scale are restored from
    the last epoch.

    Args:
        job: Method, training list, recipe and views. Each epoch sees one random view per clip.
        folder: Folder of this fit; holds no other fit.
        context: Device, options, feature cache, processes. Cached frame features replace decoded clips if the vision
            tower is frozen and the recipe neither augments nor blends, or sets `views_cached`. The leading process
            writes.
        progress: Called after each iteration on the leading process.

    Returns:
        Updates, final loss, time and replaced clips, equal on all processes.

    Raises:
        UserError: The list is too short, no parameter is trained, a class has no decodable clip, the loss is not
            finite, the recipe sets `views_cached` and features cannot be cached, or the number of processes does not
            divide an update.
    """
    with context.processes.together():
        job.method.to(context.device.device)
    if job.method.fits_at_once:
        return _fit_in_closed_form(job, folder, context, progress)
    if context.compute.grad_checkpointing and job.method.backbone.uses_batch_statistics:
        raise UserError(
            f"{job.method.name} declares batch_statistics, and --grad-checkpointing computes each block twice: the "
            "stored statistics of its BatchNorm layers would move twice in each step.",
            "Fit without --grad-checkpointing, with a smaller --fit-clips if memory is short.",
        )
    return _fit_by_gradient(job, folder, context, progress)


def decisive_batch(job: FitJob, context: Context) -> int:
    """Clips in a device batch of each process if the fit depends on it (BatchNorm with batch statistics), else 0."""
    if job.method.fits_at_once or not job.method.backbone.uses_batch_statistics:
        return 0
    clips, processes = device_batch("fit", context.device, context.compute), context.processes
    batches = FitBatches(len(job.rows), job.recipe, clips, processes.rank, processes.size)
    return batches.groups_per_batch * job.recipe.micro_batch


def _fit_in_closed_form(job: FitJob, folder: Path, context: Context, progress: Progress | None) -> FitOutcome:
    """A fit with one update and no loss."""
    processes = context.processes
    with processes.together():
        compile_if_asked(job.method.backbone, context.compute.compile, context.device)
    started = time.perf_counter()
    replaced = solve(job, context, progress)
    with processes.together():
        if processes.is_leader:
            finish_weights(job.method, job.recipe, folder, {}, {})
    seconds = round(time.perf_counter() - started, 3)
    return FitOutcome(1, 1, 0, None, seconds, resumed_at=0, skipped_updates=0, replaced=replaced)


def _fit_by_gradient(job: FitJob, folder: Path, context: Context, progress: Progress | None) -> FitOutcome:
    processes, device = context.processes, context.device
    with processes.together():
        # Before the first update, and before shards replace the tensors.
        initial = initial_weights(job.method, job.recipe) if processes.is_leader else {}
    setup = _set_up(job, context)
    curve = Curve(folder / CURVE)  # seconds and final loss are read from it, because they cover all sessions
    total = job.recipe.epochs * len(setup.training.batches)
    if device.kind == "cuda":
        # The peak of an earlier cell of this run must not count.
        torch.cuda.reset_peak_memory_stats(device.device)
    started = time.perf_counter()

    def report(epoch: int, iteration: int, loss: float, rate: float) -> None:
        if not processes.is_leader:  # the loss is already the mean over all processes
            return
        curve.add(epoch, iteration, loss, rate, time.perf_counter() - started)
        if progress:
            progress(iteration + 1, total, loss)

    try:
        with checkpointed(job.method.backbone, context.compute.grad_checkpointing):
            ended = mm_runner.run_fit(setup.training, folder, context, report)
    except (FloatingPointError, RuntimeError) as error:
        if (failure := _explained(error, job, setup, first=not curve.rows())) is None:
            raise
        # The loss is the mean over all processes, so that all of them are here with the same error.
        raise processes.mark_common(failure) from None
    finally:
        curve.close()
        setup.training.loader.close()  # ends decode workers that were kept between epochs
        if processes.is_leader:
            _remove_session_files(folder)
    if setup.sharding is not None:
        setup.sharding.undo()  # before the weights are written, which needs whole tensors
    # Each process knows only the clips that it decoded, and only its own GPU.
    replaced = processes.gather(sorted(setup.training.loader.replaced))
    peaks = processes.gather(_peak_memory_gib(context))
    final_loss, seconds = None, 0.0
    with processes.together():
        if processes.is_leader:
            files = {epoch: kept_file(folder, epoch) for epoch in setup.training.kept}
            finish_weights(job.method, job.recipe, folder, files, initial)
            final_loss, seconds = curve.mean_loss(job.recipe.epochs - 1), curve.seconds()
    plan = setup.training.batches.plan
    return FitOutcome(
        updates=plan.updates * job.recipe.epochs,
        updates_per_epoch=plan.updates,
        unused_per_epoch=plan.unused,
        final_loss=processes.share(final_loss),
        seconds=processes.share(seconds),
        resumed_at=ended.resumed_at,
        skipped_updates=ended.skipped_updates,
        replaced=sorted({row for rows in replaced for row in rows}),
        peak_memory_gib=max(peaks),
    )


@dataclass(frozen=True)
class _Setup:
    """The parts of a fit for mmengine's Runner, and the sharding of its blocks with `--shard fsdp`."""

    training: mm_runner.Training
    sharding: Sharding | None


def _set_up(job: FitJob, context: Context) -> _Setup:
    method, recipe, compute, processes = job.method, job.recipe, context.compute, context.processes
    with processes.together():
        clips = device_batch("fit", context.device, compute)  # an upper limit: FitBatches rounds it to whole groups
        batches = FitBatches(len(job.rows), recipe, clips, processes.rank, processes.size)
        compile_if_asked(method.backbone, compute.compile, context.device)
        features = fit_features(job, context, batches.groups_per_batch * recipe.micro_batch)
        if features is None:  # the vision tower runs in every epoch
            frames = recipe.epochs * len(job.rows) * job.views.frames
            compile_if_it_pays(method.backbone, compute.compile, context.device, "fit", frames)
        # One process has nothing to shard; torch's wrappers would only add copies.
        shard = compute.shard if processes.size > 1 else "none"
        sharding = Sharding(method, context.device, vision=features is None) if shard == "fsdp" else None
    # Outside of `together`, because processes wait for each other while they shard.
    if sharding is not None:
        sharding.share(processes)
    with processes.together():
        optimizer = build_optimizer(method, recipe, shard)  # after sharding, which replaces the parameters
    size, listed = method.backbone.image_size, TrainingClips(job.rows, job.label_set, job.views.reader)
    loader = training_loader(
        features,
        lambda: fit_loader(listed, recipe, job.views, size, batches, compute, context.pins_memory).with_kept(
            job.kept(context.clips)
        ),
        listed,
        batches,
        recipe,
    )
    loss = batch_loss(method, job.label_set, recipe, job.views, context.device)
    model = mm_runner.FitModel(method, loss, processes.mean)
    # The same list may have other missing videos in another session; its checkpoints are then not resumed.
    clips_present = fingerprint([[path.name if path else None, label] for path, label in job.rows])
    kept = set(held_epochs(method, recipe, compute.keep_epochs))
    if recipe.ingredients != (recipe.epochs,):
        kept |= set(recipe.ingredients)
    training = mm_runner.Training(model, loader, batches, optimizer, recipe, clips_present, tuple(sorted(kept)))
    return _Setup(training, sharding)


def _explained(error: Exception, job: FitJob, setup: _Setup, first: bool) -> UserError | None:
    """The error of a fit in words of the user; None if the error is not known.

    Args:
        error: The error.
        job: The work of the fit.
        setup: The parts of the fit.
        first: Whether the first iteration raised it.
    """
    if isinstance(error, FloatingPointError):
        reason = f"The fit of {job.method.name} failed: {error}"
        if first:  # the initial weights give this loss, which no learning rate can change
            hint = f"No update came before it, so that the loss itself is wrong: see check method {job.method.name}."
            return UserError(f"{reason} in the first iteration.", hint, EXIT_FAILED)
        return UserError(f"{reason}.", "Lower the rate: --recipe lr=...", EXIT_FAILED)
    if setup.sharding is not None and "DTensor" in str(error):  # a plain tensor met a sharded parameter
        reason = f"{job.method.name} uses weights of a block outside of it, which --shard fsdp shards: {error}"
        return UserError(reason, "Use --shard zero.", EXIT_FAILED)
    return None


def _peak_memory_gib(context: Context) -> float:
    """Peak GPU memory of this process in GiB, 0 on a CPU."""
    device = context.device
    return torch.cuda.max_memory_allocated(device.device) / 2**30 if device.kind == "cuda" else 0.0


def _remove_session_files(folder: Path) -> None:
    """Remove the files that mmengine leaves of every session: an empty log and a dump of its configuration."""
    for path in folder.glob("[0-9]*_[0-9]*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix == ".py":
            path.unlink(missing_ok=True)
