"""The file `curve.jsonl` of a fit: loss and learning rate of every iteration, one JSON object per line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

CURVE = "curve.jsonl"


@dataclass(frozen=True)
class CurveRow:
    """One line of the file.

    Args:
        epoch: 0-based epoch.
        iteration: 0-based iteration over the whole fit; one device batch per process.
        loss: Training loss of the iteration in nats, mean over processes.
        lr: Learning rate of the first parameter group.
        seconds: Wall time since the begin of the fit, over all sessions.
    """

    epoch: int
    iteration: int
    loss: float
    lr: float
    seconds: float


def read_curve(path: Path) -> list[CurveRow]:
    """The rows of a file, up to the first line that a killed process left incomplete; none if the file is missing."""
    rows: list[CurveRow] = []
    if path.is_file():
        for line in path.read_bytes().splitlines():
            try:
                rows.append(msgspec.json.decode(line, type=CurveRow))
            # Only the last line can be torn, because the writer repairs the file before it adds rows.
            except (msgspec.MsgspecError, UnicodeDecodeError):
                break
    return rows


def curve_of(record: Path) -> Path:
    """The curve of the fit whose folder holds a record, directly or in its folder `evals`."""
    folder = record.parent
    return (folder.parent if folder.name == "evals" else folder) / CURVE
