"""Label smoothing, MixUp and CutMix on groups of clips, as published.

Every group is blended: with probability `switch` by CutMix, otherwise by MixUp; one draw per group, the same box in all
frames. Draws come from (seed, epoch, group), so the device batch does not change them.
Source: ViFi-CLIP and X-CLIP, datasets/blending.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.spec import Recipe


@dataclass(frozen=True)
class BlendDraw:
    """What is drawn for one group.

    Args:
        permutation: The partner of each clip in its group.
        weight: Share of the clip itself in the targets: lambda, recomputed from the clipped box for CutMix.
        box: (x1, y1, x2, y2) in pixels for CutMix, x along the width; None for MixUp.
    """

    permutation: tuple[int, ...]
    weight: float
    box: tuple[int, int, int, int] | None = None


def smooth(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Soft targets (B, C): smoothing/C on every class, 1 - smoothing more on the label. `labels`: (B,)."""
    off = smoothing / classes
    targets = torch.full((len(labels), classes), off, device=labels.device)
    return targets.scatter_(1, labels.view(-1, 1), 1.0 - smoothing + off)


def cutmix_box(
    lam: float, centre_x: int, centre_y: int, height: int, width: int
) -> tuple[tuple[int, int, int, int], float]:
    """The CutMix box clipped to the frame, and lambda recomputed from its area."""
    ratio = np.sqrt(1.0 - lam)
    half_w, half_h = int(width * ratio) // 2, int(height * ratio) // 2
    x1, x2 = (int(np.clip(centre_x + s * half_w, 0, width)) for s in (-1, 1))
    y1, y2 = (int(np.clip(centre_y + s * half_h, 0, height)) for s in (-1, 1))
    return (x1, y1, x2, y2), 1.0 - float((x2 - x1) * (y2 - y1)) / (width * height)


def draw_blend(recipe: Recipe, epoch: int, group: int, size: int, height: int, width: int) -> BlendDraw | None:
    """The draw of one group of `size` clips, or None where the recipe blends nothing."""
    if recipe.mixup <= 0 and recipe.cutmix <= 0:
        return None
    rng = np.random.default_rng([recipe.seed, 1 + epoch, group, 0xB1E7D])
    use_cutmix = recipe.cutmix > 0 and (recipe.mixup <= 0 or rng.random() < recipe.switch)
    permutation = tuple(int(i) for i in rng.permutation(size))
    if not use_cutmix:
        return BlendDraw(permutation, float(rng.beta(recipe.mixup, recipe.mixup)))
    lam = float(rng.beta(recipe.cutmix, recipe.cutmix))
    box, weight = cutmix_box(lam, int(rng.integers(width)), int(rng.integers(height)), height, width)
    return BlendDraw(permutation, weight, box)


def apply_blend(video: Tensor, targets: Tensor, draw: BlendDraw) -> tuple[Tensor, Tensor]:
    """One group blended: video (G, T, 3, H, W) normalised, targets (G, C); both returned anew."""
    order = torch.tensor(draw.permutation, device=video.device)
    mixed_targets = draw.weight * targets + (1.0 - draw.weight) * targets[order]
    if draw.box is None:
        return draw.weight * video + (1.0 - draw.weight) * video[order], mixed_targets
    x1, y1, x2, y2 = draw.box
    video = video.clone()
    video[..., y1:y2, x1:x2] = video[order][..., y1:y2, x1:x2]
    return video, mixed_targets
