"""Label smoothing, MixUp and CutMix on groups of clips, as published.

Every group is blended, with CutMix with probability `switch`, else with MixUp. There is one draw per group, and CutMix
uses the same box in all frames. A draw is a function of (seed, epoch, group) and does not depend on the device batch.
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
    """Random numbers of the blending of a group.

    Args:
        permutation: Index of the partner of each clip in its group.
        weight: Lambda, the weight of a clip in its targets; for CutMix recomputed from the clipped box.
        box: (x1, y1, x2, y2) in pixels for CutMix, x along the width; None for MixUp.
    """

    permutation: tuple[int, ...]
    weight: float
    box: tuple[int, int, int, int] | None = None


def smooth(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Soft targets (B, C) of class ids (B,): smoothing/C for every class, plus 1 - smoothing for the class id."""
    off = smoothing / classes
    targets = torch.full((len(labels), classes), off, device=labels.device)
    return targets.scatter_(1, labels.view(-1, 1), 1.0 - smoothing + off)


def cutmix_box(
    lam: float, centre_x: int, centre_y: int, height: int, width: int
) -> tuple[tuple[int, int, int, int], float]:
    """The CutMix box (x1, y1, x2, y2) clipped to the frame, and lambda recomputed from its area.

    Args:
        lam: Lambda as drawn: the share of the frame outside of the unclipped box.
        centre_x: Centre of the box in pixels.
        centre_y: Centre of the box in pixels.
        height: Height of the frame in pixels.
        width: Width of the frame in pixels.
    """
    ratio = np.sqrt(1.0 - lam)  # of the sides, so that the box has the share 1 - lambda of the area
    # Both divisions round down as in the original, so that an odd side loses a pixel.
    half_w, half_h = int(width * ratio) // 2, int(height * ratio) // 2
    x1, x2 = (int(np.clip(centre_x + s * half_w, 0, width)) for s in (-1, 1))
    y1, y2 = (int(np.clip(centre_y + s * half_h, 0, height)) for s in (-1, 1))
    return (x1, y1, x2, y2), 1.0 - float((x2 - x1) * (y2 - y1)) / (width * height)


def draw_blend(recipe: Recipe, epoch: int, group: int, size: int, height: int, width: int) -> BlendDraw | None:
    """The draw of a group of `size` clips; None if the recipe does not blend."""
    if recipe.mixup <= 0 and recipe.cutmix <= 0:
        return None
    # The constant separates this stream from the streams of other draws with the same seed.
    rng = np.random.default_rng([recipe.seed, 1 + epoch, group, 0xB1E7D])
    # No number is drawn where one of the two is switched off, so that `switch` then has no effect.
    use_cutmix = recipe.cutmix > 0 and (recipe.mixup <= 0 or rng.random() < recipe.switch)
    # Uniform, so that a clip may be its own partner, as in the original; timm's Mixup reverses the batch instead.
    permutation = tuple(int(i) for i in rng.permutation(size))
    if not use_cutmix:
        return BlendDraw(permutation, float(rng.beta(recipe.mixup, recipe.mixup)))
    lam = float(rng.beta(recipe.cutmix, recipe.cutmix))
    box, weight = cutmix_box(lam, int(rng.integers(width)), int(rng.integers(height)), height, width)
    return BlendDraw(permutation, weight, box)


def apply_blend(video: Tensor, targets: Tensor, draw: BlendDraw) -> tuple[Tensor, Tensor]:
    """Blend a group.

    Args:
        video: (G, T, 3, H, W), normalised; not changed.
        targets: (G, C) soft targets; not changed.
        draw: The draw of the group.

    Returns:
        The blended video and targets, new tensors of the same shapes.
    """
    order = torch.tensor(draw.permutation, device=video.device)
    mixed_targets = draw.weight * targets + (1.0 - draw.weight) * targets[order]
    if draw.box is None:
        return draw.weight * video + (1.0 - draw.weight) * video[order], mixed_targets
    x1, y1, x2, y2 = draw.box
    video = video.clone()  # partners are read from the unchanged video
    video[..., y1:y2, x1:x2] = video[order][..., y1:y2, x1:x2]
    return video, mixed_targets
