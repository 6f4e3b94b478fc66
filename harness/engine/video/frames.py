"""Decoded frames on the device: normalisation, and views as a batch dimension."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.engine.video.transforms import NORMALIZATION
from harness.spec import Views


def normalise(frames: Tensor, views: Views, device: torch.device) -> Tensor:
    """Return normalised fp32 frames on the device, from uint8 RGB (..., 3, H, W)."""
    own = tuple(tuple(255 * v for v in values) for values in (views.input.mean, views.input.std))
    statistics = own if views.normalize == "model" else NORMALIZATION[views.normalize]
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in statistics)
    return (frames.to(device, non_blocking=True).float() - mean) / std


def split_views(frames: Tensor, views: Views) -> Tensor:
    """Return the V views of each video as rows of the batch: (B, V*T, ...) -> (B*V, T, ...)."""
    return torch.unflatten(frames, 1, (views.count, views.frames)).flatten(0, 1)
