"""Random erasing of normalised training clips, with the parameters of timm and the SlowFast code.

A box of a clip, the same in all frames, is filled with standard normal noise. Draws are a function of (seed, epoch,
position) and depend neither on the device batch nor on the number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.engine.video.batches import Draw
from harness.spec import Recipe
from harness.spec.augmentation import parse_augmentation

AREA = (0.02, 1 / 3)
"""Smallest and largest share of the frame that is erased."""
LOG_ASPECT = (math.log(0.3), math.log(1 / 0.3))
"""Logarithms of the smallest and largest ratio of height to width."""
ATTEMPTS = 10
"""Boxes that are drawn until one fits into the frame."""


@dataclass(frozen=True)
class Box:
    """A box in pixels, and the seed of its noise."""

    top: int
    left: int
    height: int
    width: int
    seed: int


def draw_box(recipe: Recipe, draw: Draw, height: int, width: int) -> Box | None:
    """The box of a clip; None if the clip is left as it is.

    Args:
        recipe: Seed, and the probability in its augmentation.
        draw: The draw of the clip.
        height: Height of the frame in pixels.
        width: Width of the frame in pixels.
    """
    # The constant separates this stream from the streams of other draws with the same seed.
    rng = np.random.default_rng([recipe.seed, 1 + draw.epoch, draw.position, 0xE2A5E])
    if rng.random() > parse_augmentation(recipe.augmentation).erasing:
        return None
    for _ in range(ATTEMPTS):
        area = rng.uniform(*AREA) * height * width
        aspect = math.exp(rng.uniform(*LOG_ASPECT))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if h < height and w < width:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            return Box(top, left, h, w, int(rng.integers(1 << 62)))
    return None


def erase(video: Tensor, draws: Sequence[Draw], recipe: Recipe) -> Tensor:
    """Return clips with erased boxes; the clips themselves if the recipe erases nothing.

    Args:
        video: (B, T, 3, H, W), normalised; changed in place.
        draws: The draw of each clip.
        recipe: Recipe of the fit.
    """
    if not parse_augmentation(recipe.augmentation).erasing:
        return video
    for clip, draw in zip(video, draws, strict=True):
        box = draw_box(recipe, draw, video.shape[-2], video.shape[-1])
        if box is not None:
            # Drawn on the CPU, so that a GPU gives the same noise.
            noise = torch.randn(
                (*clip.shape[:2], box.height, box.width), generator=torch.Generator().manual_seed(box.seed)
            )
            rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
            clip[..., rows, columns] = noise.to(clip)
    return video
