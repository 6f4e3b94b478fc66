"""Scores collected so far in an eval, saved every 30 seconds so that an interrupted eval can resume."""

from __future__ import annotations

import io
import logging
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harness.base.atomic import write_bytes
from harness.base.canonical import fingerprint
from harness.engine.compute.processes import Processes
from harness.engine.video.decode import Undecodable
from harness.engine.video.loaders import EvalBatch, Row
from harness.spec.views import COMBINATIONS
from results.statistics.metrics import NO_PREDICTION, rank

logger = logging.getLogger(__name__)
SAVE_SECONDS = 30.0


def view_probabilities(logits: Tensor, combine: str = COMBINATIONS[0]) -> Tensor:
    """Mean over views of the softmax over classes: (B, V, C) -> (B, C), in float64.

    The original sums instead of averaging; the order of classes is the same. Source: ViFi-CLIP main.py, validate().

    Args:
        logits: (B, V, C).
        combine: `logits` for the softmax of the mean over views instead, see `Views.combine`.
    """
    if combine == "logits":
        return logits.double().mean(dim=1).softmax(dim=-1)
    return logits.double().softmax(dim=-1).mean(dim=1)


class PartialScores:
    """Scores of the videos of a list that were scored so far.

    Args:
        rows: (path or None, class id) per video.
        depth: Classes kept per video.
        partial: File of the leading process; the other processes write files of the same stem. None saves nothing.
        combine: Combination of the views of a video, see `Views.combine`.

    Attributes:
        ids: (N, depth) class ids, best first; -1 without a prediction.
        probabilities: (N, depth) their probabilities.
        done: (N,) whether a video was scored or found undecodable.
        failed: Row number -> reason why the video could not be decoded, and the hash of its bytes.
    """

    def __init__(self, rows: list[Row], depth: int, partial: Path | None, combine: str = COMBINATIONS[0]) -> None:
        videos, self.combine = len(rows), combine
        # Row numbers name other videos if videos of the list were added or removed since the file was written.
        self.rows_hash = fingerprint([[str(path), label] for path, label in rows]) if partial else ""
        self.ids: NDArray[np.int64] = np.full((videos, depth), NO_PREDICTION, dtype=np.int64)
        self.probabilities: NDArray[np.float64] = np.zeros((videos, depth))
        self.done: NDArray[np.bool_] = np.zeros(videos, dtype=bool)
        self.failed: dict[int, Undecodable] = {}
        self.partial, self.saved = partial, time.monotonic()

    def add(self, batch: EvalBatch, logits: Tensor | None) -> None:
        """Add a batch.

        Args:
            batch: Row numbers of decoded videos, and the undecodable videos.
            logits: (B, V, C) of the decoded videos; None if there are none.
        """
        if logits is not None:
            chosen = rank(_order(logits, self.combine), self.ids.shape[1])
            mean = view_probabilities(logits, self.combine).cpu().numpy()
            self.ids[batch.rows] = chosen
            self.probabilities[batch.rows] = np.take_along_axis(mean, chosen, axis=1)
        self.failed.update(batch.failed)
        self.done[[*batch.rows, *batch.failed]] = True

    def forget(self, rows: list[int]) -> None:
        """Drop the scores of rows that will be scored again."""
        self.ids[rows], self.probabilities[rows], self.done[rows] = NO_PREDICTION, 0.0, False
        self.failed = {row: clip for row, clip in self.failed.items() if self.done[row]}

    def merge(self, processes: Processes, own: list[int]) -> None:
        """Exchange rows, so that every process has the scores of all rows.

        Args:
            processes: All processes of the eval.
            own: Rows that this process scored. The leading process also sends the rows that it restored.
        """
        if processes.size == 1:
            return
        # Only the leading process read the file of an interrupted eval.
        rows = [int(row) for row in np.flatnonzero(self.done)] if processes.is_leader else own
        all_rows = processes.gather(rows)
        all_ids = processes.gather(self.ids[rows].tolist())
        all_probabilities = processes.gather(self.probabilities[rows].tolist())
        all_failed = processes.gather([(row, clip.reason, clip.sha256) for row, clip in sorted(self.failed.items())])
        self.failed = {}
        for rows, ids, probabilities, failed in zip(all_rows, all_ids, all_probabilities, all_failed, strict=True):
            if rows:  # NumPy gives an empty list the wrong shape
                self.ids[rows], self.probabilities[rows], self.done[rows] = ids, probabilities, True
            self.failed.update({int(row): Undecodable(reason, sha256) for row, reason, sha256 in failed})

    def save_sometimes(self, rank_of_writer: int) -> None:
        """Save the rows done so far if the last save is more than `SAVE_SECONDS` ago."""
        if time.monotonic() - self.saved > SAVE_SECONDS:
            self.save(rank_of_writer)

    def save(self, rank_of_writer: int) -> None:
        """Save the rows done so far.

        Raises:
            OSError: The file cannot be written.
        """
        if self.partial is None or not self.done.any():
            return
        buffer = io.BytesIO()
        rows = np.array(sorted(self.failed), dtype=np.int64)
        reasons = np.array([self.failed[int(r)].reason for r in rows], dtype=np.str_)
        hashes = np.array([self.failed[int(r)].sha256 for r in rows], dtype=np.str_)
        np.savez_compressed(
            buffer, of=np.array(self.rows_hash), done=self.done, ids=self.ids, probabilities=self.probabilities,
            rows=rows, reasons=reasons, hashes=hashes,
        )  # fmt: skip
        # One file per process: two writers of one file would lose each other's rows.
        own = self.partial if rank_of_writer == 0 else self.partial.with_suffix(f".{rank_of_writer}.npz")
        write_bytes(own, buffer.getvalue())
        self.saved = time.monotonic()

    def restore(self) -> None:
        """Add the rows that an interrupted eval of the same list saved, with any number of processes.

        A file that cannot be read, or that belongs to another list, is ignored.
        """
        if self.partial is None:
            return
        for path in partial_files(self.partial):
            try:
                # Without pickle a file cannot run code; ids and texts need none.
                with np.load(path, allow_pickle=False) as saved:
                    done, ids, probabilities = (saved[name] for name in ("done", "ids", "probabilities"))
                    pairs = ((self.done, done), (self.ids, ids), (self.probabilities, probabilities))
                    differs = any(own.shape != read.shape or own.dtype != read.dtype for own, read in pairs)
                    if differs or str(saved["of"]) != self.rows_hash:
                        continue
                    clips = zip(saved["rows"], saved["reasons"], saved["hashes"], strict=True)
                    failed = {int(row): Undecodable(str(reason), str(sha256)) for row, reason, sha256 in clips}
            except Exception as error:  # a torn file makes NumPy and zipfile raise many kinds of errors
                logger.warning("intermediate results %s cannot be read, the eval starts anew: %s", path, error)
                continue
            self.ids[done], self.probabilities[done], self.done[done] = ids[done], probabilities[done], True
            self.failed.update(failed)


def partial_files(partial: Path) -> list[Path]:
    """The files of intermediate results of an eval, one per process."""
    return sorted(p for p in partial.parent.glob(f"{partial.stem}*.npz") if p.is_file())


def _order(logits: Tensor, combine: str) -> NDArray[np.float64]:
    """Numbers (B, C) by which the classes are ranked: logits of one view or their mean, else mean probabilities.

    A softmax keeps the order of the logits and could only add ties.
    """
    if logits.shape[1] == 1 or combine == "logits":
        return logits.double().mean(dim=1).cpu().numpy()
    return view_probabilities(logits).cpu().numpy()
