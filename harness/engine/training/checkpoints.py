"""The checkpoints of a fit on disk: list them, and find the newest from which the fit can resume."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

logger = logging.getLogger(__name__)
CHECKPOINT = "epoch_{}.pth"


def epoch_checkpoints(folder: Path) -> list[Path]:
    """Epoch checkpoints of a fit, newest first."""
    paths = [p for p in folder.glob(CHECKPOINT.format("*")) if p.stem.split("_")[1].isdigit()]
    return sorted(paths, key=lambda p: -int(p.stem.split("_")[1]))


def newest_readable(folder: Path, clips: str = "") -> Path | None:
    """The newest checkpoint that loads. Damaged checkpoints are skipped, so that a kill costs one epoch at most.

    Args:
        folder: Folder of the fit.
        clips: Fingerprint of the training clips that are present. Checkpoints of other clips are skipped: videos of
            the list may have been added or removed since.
    """
    for path in epoch_checkpoints(folder):
        try:  # `weights_only` refuses files that would run code
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            if absent := {"meta", "state_dict", "optimizer"} - set(checkpoint):
                raise ValueError(f"it lacks {', '.join(sorted(absent))}")
            # Order and length of the epochs follow from the clips that are present.
            if checkpoint["meta"].get("clips", clips) != clips:
                raise ValueError("it was fitted on other clips of the list than are present now")
            return path
        except Exception as error:  # a damaged file makes torch raise many kinds of errors
            logger.warning("checkpoint %s cannot be read and is not used: %s", path, error)
    return None


def sweep(folder: Path) -> None:
    """Remove checkpoints that a killed process left half written."""
    for torn in folder.glob(f".{CHECKPOINT.format('*')}.*.tmp"):
        torn.unlink(missing_ok=True)


@dataclass(frozen=True)
class ResumePoint:
    """The state of a fit at a checkpoint, besides its tensors.

    Args:
        epoch: The epoch that the fit resumes with.
        replaced: Rows of undecodable training clips that earlier sessions replaced.
    """

    epoch: int = 0
    replaced: tuple[int, ...] = ()


def read_resume_point(checkpoint: Path | None) -> ResumePoint:
    """The resume point of a checkpoint, or of a fresh fit if there is no checkpoint."""
    if checkpoint is None:
        return ResumePoint()
    meta = torch.load(checkpoint, map_location="cpu", weights_only=True)["meta"]
    return ResumePoint(int(meta["epoch"]), tuple(meta.get("replaced", ())))
