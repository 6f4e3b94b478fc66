"""Scoring every video of a list: in eval mode, without gradients, text features once per label set."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.engine.clips import EvalClips, Row, eval_loader
from harness.engine.compiled import compile_vision
from harness.engine.device import Device
from harness.engine.feature_clips import eval_batches, eval_features
from harness.engine.features import FeatureCache
from harness.engine.method import ClipMethod
from harness.engine.step import feature_logits, view_logits
from harness.errors import EXIT_FAILED, UserError
from harness.runtime import Runtime
from harness.spec import LabelSet, Views
from results.atomic import write_bytes
from results.metrics import NO_PREDICTION, rank

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
        seconds: Time spent in this process.
        scored: Videos scored in this process (fewer than N after a resume).
    """

    ids: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    failed: dict[int, str]
    seconds: float
    scored: int


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
) -> Scores:
    """Scores of all videos of a list.

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

    Raises:
        UserError: No video of the list can be decoded, or the method returns scores of a wrong shape or not finite.
    """
    started = time.perf_counter()
    size, classes = method.backbone.image_size, len(label_set)
    method = method.to(device.device).eval()
    if runtime.compile:
        compile_vision(method)
    depth = min(DEPTH, classes)
    ids = np.full((len(rows), depth), NO_PREDICTION, dtype=np.int64)
    probabilities = np.zeros((len(rows), depth))
    failed: dict[int, str] = {}
    per_batch = runtime.eval_clips or (32 if device.kind == "cuda" else 8)
    features = eval_features(cache, method, rows, views, device, runtime, seed, per_batch)
    if features is not None:
        partial = None  # what is slow is kept video by video
    first = _restore(partial, ids, probabilities, failed) if partial else 0
    first -= first % per_batch  # whole batches only, so that a resumed eval computes the same batches
    failed = {row: reason for row, reason in failed.items() if row < first}
    with torch.autocast(device.kind, dtype=device.dtype, enabled=device.dtype != torch.float32):
        text = method.encode_text(label_set)
        saved = time.monotonic()
        done = first
        if features is None:
            batches: Iterable[EvalClips] = eval_loader(
                rows, views, size, first, per_batch, runtime, seed, device.kind == "cuda"
            )
        else:
            batches = eval_batches(features, (lambda n: progress(n, len(rows))) if progress else None)
        for batch in batches:
            failed.update(batch.failed)
            if batch.rows:
                if batch.features is not None:
                    logits = feature_logits(method, batch.features, text, views, device, classes)
                else:
                    assert batch.frames is not None
                    logits = view_logits(method, batch.frames, text, views, device, classes)
                chosen = rank(_order(logits), depth)
                mean = view_probabilities(logits).cpu().numpy()
                ids[batch.rows] = chosen
                probabilities[batch.rows] = np.take_along_axis(mean, chosen, axis=1)
            done += len(batch.rows) + len(batch.failed)
            if progress and features is None:
                progress(done, len(rows))
            if partial and time.monotonic() - saved > SAVE_SECONDS:
                _save(partial, done, ids, probabilities, failed)
                saved = time.monotonic()
    if len(failed) == len(rows):
        reason = failed[0]
        raise UserError(
            f"None of the {len(rows)} videos of the list can be decoded; the first: {rows[0][0]}: {reason}.",
            "See: python -m harness check data DATASET --decode",
            EXIT_FAILED,
        )
    return Scores(ids, probabilities, failed, time.perf_counter() - started, len(rows) - first)


def _order(logits: Tensor) -> NDArray[np.float64]:
    """What the classes are ranked by: logits for one view (a softmax could only add ties), else mean probabilities."""
    if logits.shape[1] == 1:
        return logits[:, 0].double().cpu().numpy()
    return view_probabilities(logits).cpu().numpy()


def _save(path: Path, done: int, ids: NDArray[np.int64], p: NDArray[np.float64], failed: dict[int, str]) -> None:
    buffer = io.BytesIO()
    rows = np.array(sorted(failed), dtype=np.int64)
    reasons = np.array([failed[int(r)] for r in rows], dtype=np.str_)
    np.savez_compressed(buffer, done=done, ids=ids, probabilities=p, rows=rows, reasons=reasons)
    write_bytes(path, buffer.getvalue())


def _restore(path: Path, ids: NDArray[np.int64], p: NDArray[np.float64], failed: dict[int, str]) -> int:
    """Load intermediate results into the arrays; how many videos are done. An unreadable file counts as none."""
    if not path.is_file():
        return 0
    try:
        with np.load(path, allow_pickle=False) as saved:
            if saved["ids"].shape != ids.shape:
                return 0
            ids[:], p[:] = saved["ids"], saved["probabilities"]
            failed.update({int(r): str(t) for r, t in zip(saved["rows"], saved["reasons"], strict=True)})
            return int(saved["done"])
    except Exception as error:
        logger.warning("intermediate results %s cannot be read, the eval starts anew: %s", path, error)
        ids[:], p[:] = NO_PREDICTION, 0.0
        return 0
