"""The file `curve.jsonl` of a fit: loss and learning rate of every iteration, one JSON object per line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from harness.base.atomic import write_bytes
from results.curve_file import CurveRow, read_curve


class Curve:
    """The curve of a fit. A resumed fit overwrites the rows of the epochs that it repeats.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._seconds_before = 0.0

    def add(self, epoch: int, iteration: int, loss: float, lr: float, seconds: float) -> None:
        """Append a row; `seconds` is the wall time since the begin of this session."""
        file = self._file or self._open(epoch)
        row = CurveRow(epoch, iteration, round(loss, 6), lr, round(self._seconds_before + seconds, 3))
        file.write(json.dumps(asdict(row)) + "\n")

    def _open(self, epoch: int) -> TextIO:
        """Open the file for the rows of this session, without rows of the epochs that the session repeats."""
        kept = [row for row in self.rows() if row.epoch < epoch]
        self._seconds_before = max((row.seconds for row in kept), default=0.0)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path, "".join(json.dumps(asdict(row)) + "\n" for row in kept).encode())
        # Line-buffered, so that the rows of an epoch are on disk before the checkpoint of that epoch.
        self._file = self.path.open("a", encoding="utf-8", buffering=1)
        return self._file

    def rows(self) -> list[CurveRow]:
        """The rows on disk, up to the first line that a killed process left incomplete."""
        return read_curve(self.path)

    def seconds(self) -> float:
        """Wall time of the iterations of all sessions."""
        return max((row.seconds for row in self.rows()), default=0.0)

    def mean_loss(self, epoch: int) -> float | None:
        """The mean loss of an epoch in nats; None if the file has no row of it."""
        losses = [row.loss for row in self.rows() if row.epoch == epoch]
        return sum(losses) / len(losses) if losses else None

    def close(self) -> None:
        """Close the file; a later `add` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None
