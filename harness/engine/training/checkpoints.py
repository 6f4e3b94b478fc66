"""The checkpoints of a fit on disk: which there are, and which of them can be resumed from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger(__name__)
CHECKPOINT = "epoch_{}.pth"


def epoch_checkpoints(folder: Path) -> list[Path]:
    """Epoch checkpoints of a fit, newest first."""
    found = [p for p in folder.glob(CHECKPOINT.format("*")) if p.stem.split("_")[1].isdigit()]
    return sorted(found, key=lambda p: -int(p.stem.split("_")[1]))


def newest_readable(folder: Path, clips: str = "") -> Path | None:
    """The newest checkpoint that loads; damaged ones are skipped, so a kill costs an epoch at most.

    Args:
        folder: Of the fit.
        clips: Fingerprint of the training clips at hand; checkpoints that tell of others are skipped too, since of a
            list with missing videos other ones may be there by now.
    """
    for path in epoch_checkpoints(folder):
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            if absent := {"meta", "state_dict", "optimizer"} - set(checkpoint):
                raise ValueError(f"it lacks {', '.join(sorted(absent))}")
            if checkpoint["meta"].get("clips", clips) != clips:
                raise ValueError("it was fitted on other clips of the list than are there now")
            return path
        except Exception as error:
            logger.warning("checkpoint %s cannot be read and is not used: %s", path, error)
    return None


def sweep(folder: Path) -> None:
    """Remove what kills left in the middle of writing a checkpoint."""
    for torn in folder.glob(f".{CHECKPOINT.format('*')}.*.tmp"):
        torn.unlink(missing_ok=True)


def resumed_at(checkpoint: Path | None) -> dict[str, Any]:
    """The `epoch` at which a fit goes on from a checkpoint, and the rows `replaced` before it."""
    if checkpoint is None:
        return {"epoch": 0, "replaced": []}
    meta = torch.load(checkpoint, map_location="cpu", weights_only=True)["meta"]
    return {"epoch": int(meta["epoch"]), "replaced": meta.get("replaced", [])}
