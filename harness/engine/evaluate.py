"""Scoring of every video of a list: in eval mode, without gradients, with text features computed once.

Batches depend on the list alone, so that they are the same after an interruption and for any number of processes. The
processes take batches in turn.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.base.errors import EXIT_FAILED, UserError
from harness.engine.compute.device import casts_kept
from harness.engine.compute.device_batch import eval_batch
from harness.engine.features.cached_loaders import ListFeatures, eval_batches, eval_features
from harness.engine.features.context import Context
from harness.engine.job import EvalJob
from harness.engine.model.compiled import compile_if_asked, compile_if_it_pays
from harness.engine.partial_scores import PartialScores
from harness.engine.scoring import feature_logits, view_logits
from harness.engine.video.batches import Draw
from harness.engine.video.decode import Undecodable
from harness.engine.video.loaders import EvalBatch, decode_hint, in_batches

Progress = Callable[[int, int], None]
"""Called with (videos done, videos in total)."""


@dataclass(frozen=True)
class Scores:
    """The outcome of an eval, one row per video of the list, in list order.

    Args:
        ids: (N, min(depth, C)) predicted class ids, best first; -1 for a video that could not be decoded.
        probabilities: (N, min(depth, C)) probabilities of these classes, the mean over views.
        failed: Row number -> reason why the video could not be decoded, and the hash of its bytes.
        seconds: Wall time of this call.
        scored: Videos scored in this call by all processes; fewer than N after a resume.
        cached: Whether features of some videos came from the cache. `seconds` is then not a measure of speed.
    """

    ids: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    failed: dict[int, Undecodable]
    seconds: float
    scored: int
    cached: bool = False

    def require_a_decoded_video(self, job: EvalJob) -> None:
        """Refuse scores without any prediction.

        Args:
            job: The list that was scored.

        Raises:
            UserError: No video of the list could be decoded.
        """
        if len(self.failed) == len(job.rows):
            raise UserError(
                f"None of the {len(job.rows)} videos of the list can be decoded; "
                f"the first: {job.rows[0][0]}: {self.failed[0].reason}.",
                decode_hint(job.views.reader),
                EXIT_FAILED,
            )


@torch.no_grad()
def evaluate(job: EvalJob, context: Context, partial: Path | None = None, progress: Progress | None = None) -> Scores:
    """Score all videos of a list.

    Args:
        job: Fitted or untrained method, evaluation list, its label set and the views.
        context: Device, options, feature cache, processes. The cache does not change the scores.
        partial: File for intermediate results, from which an interrupted eval resumes.
        progress: Called after each batch.

    Returns:
        The scores, equal on all processes. Videos that cannot be decoded are in `failed`, even if they are all videos.

    Raises:
        MachineFaultError: A video could not be read, or the machine failed while it was decoded. The scores of other
            videos are kept in `partial`, or their features in the cache.
        UserError: The method returns scores of a wrong shape, or scores that are not finite.
    """
    started = time.perf_counter()
    method, processes = job.method.to(context.device.device).eval(), context.processes
    with processes.together():
        compile_if_asked(method.backbone, context.compute.compile, context.device)
    per_batch = eval_batch(type(method), method.options, context.device, context.compute)
    # Before the decision on the compiler: with a cache the vision tower runs for missing videos only.
    features = eval_features(job, context, per_batch)
    if features is None:
        frames = len(job.rows) * job.views.count * job.views.frames
        compile_if_it_pays(method.backbone, context.compute.compile, context.device, "eval", frames)
    # Cached features outlive an interruption themselves.
    resumed = partial if features is None else None
    scores = PartialScores(job.rows, min(job.depth, len(job.label_set)), resumed, job.views.combine)
    if processes.is_leader:
        scores.restore()
    # Only whole batches count as done, because the composition of a batch may change the last bits of its scores.
    todo: list[list[int]] = processes.share(
        [batch for batch in in_batches(len(job.rows), per_batch) if not scores.done[batch].all()]
    )
    # Rows of batches that were half done when an earlier run ended: they are scored again with their whole batch.
    scores.forget([row for batch in todo for row in batch])
    if features is not None and not _complete(features, progress):
        features, scores.partial = None, partial
    own = todo[processes.rank :: processes.size]
    try:
        _score_batches(job, context, features, scores, own, progress)
    except Exception:
        with contextlib.suppress(OSError):  # the first error counts
            scores.save(processes.rank)
        raise
    scores.merge(processes, [row for batch in own for row in batch])
    scored = sum(map(len, todo))
    # Some features came from the cache if fewer were computed than videos were scored.
    cached = features is not None and sum(processes.gather(features.computed)) < scored - len(scores.failed)
    return Scores(scores.ids, scores.probabilities, scores.failed, time.perf_counter() - started, scored, cached)


def _complete(features: ListFeatures, progress: Progress | None) -> bool:
    """Compute the missing features of the list; False if there is no room for them, so that clips must be decoded."""
    videos = len(features.rows)
    draws = [Draw(index) for index in range(videos)]
    return features.complete_if_room(draws, lambda n: progress(n, videos) if progress else None)


def _score_batches(
    job: EvalJob,
    context: Context,
    features: ListFeatures | None,
    scores: PartialScores,
    batches: list[list[int]],
    progress: Progress | None,
) -> None:
    """Score the batches of this process."""
    device, processes, videos = context.device, context.processes, len(job.rows)
    mixed = torch.autocast(device.kind, dtype=device.dtype, enabled=device.dtype != torch.float32)
    # Texts are encoded once per list, so that on a CPU lower precision would save no time worth the rounding.
    with processes.together(), mixed if device.kind != "cpu" else contextlib.nullcontext():
        text = job.method.encode_text(job.label_set)
    with processes.together(), mixed, casts_kept(device, job.method.backbone):
        if features is None:
            loader: Iterable[EvalBatch] = job.loader(batches, context.compute, context.pins_memory, context.clips)
        else:
            loader = eval_batches(features, batches)
        for batch in loader:
            scores.add(batch, _logits(job, context, batch, text))
            if progress and features is None:  # with features, progress was reported while they were computed
                progress(min(int(scores.done.sum()) * processes.size, videos), videos)
            scores.save_sometimes(processes.rank)


def _logits(job: EvalJob, context: Context, batch: EvalBatch, text: Tensor) -> Tensor | None:
    """Logits (B, V, C) of the decoded videos of a batch, None if there are none."""
    classes = len(job.label_set)
    if batch.features is not None:
        return feature_logits(job.method, batch.features, text, job.views, context.device, classes)
    if batch.frames is not None:
        return view_logits(job.method, batch.frames, text, job.views, context.device, classes)
    return None
