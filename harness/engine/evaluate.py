"""Scoring every video of a list: in eval mode, without gradients, text features once per label set.

Batches are cut from the list alone, so that they are the same after an interruption and for any number of processes,
which take them in turn.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.base.atomic import write_bytes
from harness.base.errors import EXIT_FAILED, UserError
from harness.engine.batches import Draw
from harness.engine.clips import EvalClips, Row, eval_loader, in_batches
from harness.engine.compiled import compile_if_asked, compile_if_it_pays
from harness.engine.device import Device, casts_kept
from harness.engine.feature_clips import eval_batches, eval_features
from harness.engine.features import FeatureCache
from harness.engine.method import ClipMethod
from harness.engine.step import feature_logits, view_logits
from harness.engine.world import ALONE, World
from harness.runtime import Runtime
from harness.spec import LabelSet, Views, fingerprint
from results.statistics.metrics import NO_PREDICTION, rank

logger = logging.getLogger(__name__)
DEPTH = 5
SAVE_SECONDS = 30.0


@dataclass(frozen=True)
class Scores:
    """The outcome of an eval, one row per video of the list, in list order.

    Args:
        ids: (N, min(5, C)) predicted ids, best first; -1 for a video that could not be decoded.
        probabilities: (N, min(5, C)) their probabilities, the mean over views.
        failed: Row number -> why the video could not be decoded.
        seconds: Time spent in this call.
        scored: Videos scored in this call, by all processes (fewer than N after a resume).
        cached: Whether features of some videos came from the cache, so that `seconds` does not tell the method's speed.
    """

    ids: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    failed: dict[int, str]
    seconds: float
    scored: int
    cached: bool = False


def view_probabilities(logits: Tensor) -> Tensor:
    """Mean over views of the softmax over classes: (B, V, C) -> (B, C), in float64.

    The original sums instead of averaging; the order of classes is the same. Source: ViFi-CLIP main.py, validate().
    """
    return logits.double().softmax(dim=-1).mean(dim=1)


@torch.no_grad()
def evaluate(
    method: ClipMethod,
    rows: list[Row],
    label_set: LabelSet,
    views: Views,
    device: Device,
    runtime: Runtime,
    partial: Path | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    cache: FeatureCache | None = None,
    world: World = ALONE,
) -> Scores:
    """Scores of all videos of a list, on every process.

    Args:
        method: The fitted (or untrained) method.
        rows: (path or None, label) per video; None counts as undecodable.
        label_set: The classes to choose from, exactly those of the list.
        views: How videos are looked at.
        device: Where to compute.
        runtime: Batch size, workers, time limit.
        partial: File for intermediate results; an interrupted eval goes on from it.
        seed: Seed of random views.
        progress: Called with (videos done, videos in all).
        cache: Where frame features of a frozen vision tower are kept and found; the scores are the same without.
        world: The processes that share the list.

    Raises:
        UserError: No video of the list can be decoded, or the method returns scores of a wrong shape or not finite.
    """
    started = time.perf_counter()
    size, classes = method.backbone.image_size, len(label_set)
    method = method.to(device.device).eval()
    with world.together():
        compile_if_asked(method, runtime.compile, device)
    per_batch = runtime.eval_clips or (32 if device.kind == "cuda" else 8)
    features = eval_features(cache, method, rows, views, device, runtime, seed, per_batch, world)
    if features is None:
        compile_if_it_pays(method, runtime.compile, device, "eval", len(rows) * views.count * views.frames)
    found = _Found(rows, min(DEPTH, classes), partial if features is None else None)  # features are kept anyway
    if world.leads:
        found.restore()
    todo = world.share([batch for batch in in_batches(len(rows), per_batch) if not found.done[batch].all()])
    found.forget([row for batch in todo for row in batch])
    if features is not None:
        features.complete([Draw(index) for index in range(len(rows))], lambda n: progress and progress(n, len(rows)))
    shown = (lambda n: progress(min(n * world.size, len(rows)), len(rows))) if progress else None
    mixed = torch.autocast(device.kind, dtype=device.dtype, enabled=device.dtype != torch.float32)
    # Once a list: on a CPU texts are not worth rounding.
    with world.together(), mixed if device.kind != "cpu" else nullcontext():
        text = method.encode_text(label_set)
    with world.together(), mixed, casts_kept(device, method.backbone):
        mine = todo[world.rank :: world.size]
        if features is None:
            loader: Iterable[EvalClips] = eval_loader(rows, views, size, mine, runtime, seed, device.kind == "cuda")
        else:
            loader = eval_batches(features, mine)
        for batch in loader:
            found.add(batch, _logits(method, batch, text, views, device, classes))
            if shown and features is None:
                shown(int(found.done.sum()))
            found.save_sometimes(world.rank)
    found.merge(world, [row for batch in mine for row in batch])
    if len(found.failed) == len(rows):
        raise world.common(
            UserError(
                f"None of the {len(rows)} videos of the list can be decoded; "
                f"the first: {rows[0][0]}: {found.failed[0]}.",
                "See: python -m harness check data DATASET --decode",
                EXIT_FAILED,
            )
        )
    scored = sum(map(len, todo))
    cached = features is not None and sum(world.gather(features.computed)) < scored - len(found.failed)
    return Scores(found.ids, found.probabilities, found.failed, time.perf_counter() - started, scored, cached)


class _Found:
    """What is known of a list's videos, and the file in which it outlives an interruption.

    Args:
        rows: (path or None, label) per video.
        depth: Classes kept a video.
        partial: Place of the file of the leading process; the others put theirs beside it. None keeps nothing.
    """

    def __init__(self, rows: list[Row], depth: int, partial: Path | None) -> None:
        videos = len(rows)
        # Of a list with missing videos other ones may be there the next time.
        self.of = fingerprint([[str(path), label] for path, label in rows]) if partial else ""
        self.ids = np.full((videos, depth), NO_PREDICTION, dtype=np.int64)
        self.probabilities = np.zeros((videos, depth))
        self.done = np.zeros(videos, dtype=bool)
        self.failed: dict[int, str] = {}
        self.partial, self.saved = partial, time.monotonic()

    def add(self, batch: EvalClips, logits: Tensor | None) -> None:
        """Take in a batch: the logits (B, V, C) of the clips that decoded, the reasons of the others."""
        if logits is not None:
            chosen = rank(_order(logits), self.ids.shape[1])
            mean = view_probabilities(logits).cpu().numpy()
            self.ids[batch.rows] = chosen
            self.probabilities[batch.rows] = np.take_along_axis(mean, chosen, axis=1)
        self.failed.update(batch.failed)
        self.done[[*batch.rows, *batch.failed]] = True

    def forget(self, rows: list[int]) -> None:
        """Drop what is known of rows that will be scored (again)."""
        self.ids[rows], self.probabilities[rows], self.done[rows] = NO_PREDICTION, 0.0, False
        self.failed = {row: reason for row, reason in self.failed.items() if self.done[row]}

    def merge(self, world: World, mine: list[int]) -> None:
        """Bring the rows of all processes together; what was restored comes from the leading one."""
        if world.size == 1:
            return
        known = [int(row) for row in np.flatnonzero(self.done)] if world.leads else mine
        told = world.gather(
            [known, self.ids[known].tolist(), self.probabilities[known].tolist(), sorted(self.failed.items())]
        )
        self.failed = {}
        for rows, ids, probabilities, failed in told:
            if rows:
                self.ids[rows], self.probabilities[rows], self.done[rows] = ids, probabilities, True
            self.failed.update({int(row): reason for row, reason in failed})

    def save_sometimes(self, rank_of_writer: int) -> None:
        """Write the rows done so far, at most every half minute."""
        if self.partial is None or time.monotonic() - self.saved <= SAVE_SECONDS:
            return
        buffer = io.BytesIO()
        rows = np.array(sorted(self.failed), dtype=np.int64)
        reasons = np.array([self.failed[int(r)] for r in rows], dtype=np.str_)
        np.savez_compressed(
            buffer, of=np.array(self.of), done=self.done, ids=self.ids, probabilities=self.probabilities, rows=rows,
            reasons=reasons,
        )  # fmt: skip
        own = self.partial if rank_of_writer == 0 else self.partial.with_suffix(f".{rank_of_writer}.npz")
        write_bytes(own, buffer.getvalue())
        self.saved = time.monotonic()

    def restore(self) -> None:
        """Take in what an interrupted eval left, on however many processes. An unreadable file counts as none."""
        if self.partial is None:
            return
        for path in partial_files(self.partial):
            try:
                with np.load(path, allow_pickle=False) as saved:
                    done, ids, probabilities = (saved[name] for name in ("done", "ids", "probabilities"))
                    mine = ((self.done, done), (self.ids, ids), (self.probabilities, probabilities))
                    other = any(own.shape != found.shape or own.dtype != found.dtype for own, found in mine)
                    if other or str(saved["of"]) != self.of:
                        continue
                    failed = {int(r): str(t) for r, t in zip(saved["rows"], saved["reasons"], strict=True)}
            except Exception as error:  # whatever a torn file makes of a parser
                logger.warning("intermediate results %s cannot be read, the eval starts anew: %s", path, error)
                continue
            self.ids[done], self.probabilities[done], self.done[done] = ids[done], probabilities[done], True
            self.failed.update(failed)


def partial_files(partial: Path) -> list[Path]:
    """The files of intermediate results of an eval, one a process."""
    return sorted(p for p in partial.parent.glob(f"{partial.stem}*.npz") if p.is_file())


def _logits(
    method: ClipMethod, batch: EvalClips, text: object, views: Views, device: Device, classes: int
) -> Tensor | None:
    """Logits (B, V, C) of what decoded of a batch, None where nothing did."""
    if batch.features is not None:
        return feature_logits(method, batch.features, text, views, device, classes)
    if batch.frames is not None:
        return view_logits(method, batch.frames, text, views, device, classes)
    return None


def _order(logits: Tensor) -> NDArray[np.float64]:
    """What the classes are ranked by: logits for one view (a softmax could only add ties), else mean probabilities."""
    if logits.shape[1] == 1:
        return logits[:, 0].double().cpu().numpy()
    return view_probabilities(logits).cpu().numpy()
