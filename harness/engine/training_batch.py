"""The clips of one loss: soft and hard labels, and random draws that depend only on seed, epoch and position."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.spec import LabelSet


@dataclass(frozen=True)
class TrainingBatch:
    """The clips of one call of `ClipMethod.training_loss`.

    The generators give draws that depend neither on the number of processes, nor on the device batch, nor on
    interruptions. Two generators with the same arguments give the same numbers.

    Args:
        video: (B, T, 3, H, W), normalised and blended; frame features (B, T, D) of a fit from cached features.
        targets: (B, C) soft targets, smoothed and blended.
        labels: (B,) class ids of the training list, before smoothing and blending.
        label_set: Classes of the training list.
        seed: Seed of the recipe.
        epoch: Epoch, counted from 0.
        positions: Position of each clip in the order of the epoch.
    """

    video: Tensor
    targets: Tensor
    labels: Tensor
    label_set: LabelSet
    seed: int = 0
    epoch: int = 0
    positions: tuple[int, ...] = ()

    def generator_of_epoch(self, name: str = "") -> torch.Generator:
        """Return a CPU generator whose draws are the same in all batches of an epoch.

        Args:
            name: Name of the draw; generators of different names are independent.
        """
        return self._generator("epoch", name)

    def generators_of_clips(self, name: str = "") -> list[torch.Generator]:
        """Return one CPU generator for each clip, whose draws do not depend on the other clips of the batch.

        Args:
            name: Name of the draw; generators of different names are independent.
        """
        return [self._generator("clip", name, position) for position in self.positions or range(len(self.labels))]

    def _generator(self, scope: str, name: str, position: int = 0) -> torch.Generator:
        # Python's `hash` of a text differs between processes.
        text = f"{scope}/{name}/{self.seed}/{self.epoch}/{position}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
        return torch.Generator().manual_seed(seed)
