"""Crops and resizes of frames that EZ-CLIP, Vita-CLIP and ViCLIP use instead of those of mmaction2.

Draws use Python's global generator, which `seeded_draws` seeds for each clip, in the order of the originals. All frames
of a clip are changed in the same way.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from harness.engine.video.augment import resized

if TYPE_CHECKING:
    from harness.engine.video.transforms import Clip

RATIOS = (3 / 4, 4 / 3)
"""Smallest and largest ratio of width and height of a random resized crop."""
TRIALS = 10
"""Boxes that are drawn before the largest centre box is taken instead."""
SCALES = (1, 0.875, 0.75, 0.66)
"""Sides of multi-scale crops as shares of the short side of the frame."""
NEAR = 3
"""A side that differs from the side of the input by fewer pixels becomes the side of the input."""


class FloatResizedCrop:
    """A random resized crop of the decoded frames, without rounding to grey levels: SlowFast's, as in Vita-CLIP.

    Args:
        size: Side of the square in pixels.
        low: Smallest share of the area.
        high: Largest share of the area.
        interpolation: `bilinear` or `bicubic`, without antialiasing.
    """

    def __init__(self, size: int, low: float, high: float, interpolation: str) -> None:
        self.size, self.low, self.high, self.interpolation = size, low, high, interpolation

    def __call__(self, results: Clip) -> Clip:
        """Replace `imgs` by float32 frames (size, size, 3) and set `img_shape`."""
        frames = results["imgs"]
        top, left, height, width = self._box(*frames[0].shape[:2])
        cut = [frame[top : top + height, left : left + width] for frame in frames]
        square = resized(cut, (self.size, self.size), self.interpolation).permute(0, 2, 3, 1).numpy()
        results["imgs"], results["img_shape"] = list(square), (self.size, self.size)
        return results

    def _box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return top, left, height and width of a box."""
        low, high = map(math.log, RATIOS)
        for _ in range(TRIALS):
            area = height * width * random.uniform(self.low, self.high)
            ratio = math.exp(random.uniform(low, high))
            across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < across <= width and 0 < down <= height:
                return random.randint(0, height - down), random.randint(0, width - across), down, across
        down = min(height, round(width / RATIOS[0]))
        across = min(width, round(height * RATIOS[1]))
        return (height - down) // 2, (width - across) // 2, down, across


class RawMultiScaleCrop:
    """ActionCLIP's and EZ-CLIP's crop: one of 13 boxes of the decoded frame, resized by Pillow with antialiasing.

    Args:
        size: Side of the square in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, results: Clip) -> Clip:
        """Replace `imgs`, a list of (H, W, 3) uint8 RGB frames, and set `img_shape`."""
        height, width = results["imgs"][0].shape[:2]
        sides = [int(min(height, width) * scale) for scale in SCALES]
        sides = [self.size if abs(side - self.size) < NEAR else side for side in sides]
        # Width and height are of neighbouring scales; the order of pairs and corners decides what a seed draws.
        pairs = [(w, h) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= 1]
        across, down = random.choice(pairs)
        left, top = random.choice(_corners((width - across) // 4, (height - down) // 4))
        box = (left, top, left + across, top + down)
        square = (self.size, self.size)
        # Copies, because mmaction2 flips frames in place.
        results["imgs"] = [
            np.array(Image.fromarray(frame).crop(box).resize(square, Image.Resampling.BILINEAR))
            for frame in results["imgs"]
        ]
        results["img_shape"] = square
        return results


def _corners(x: int, y: int) -> list[tuple[int, int]]:
    """Return the 13 corners in the order of the original, from a quarter of the room in both directions."""
    ends = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]
    return [(i * x, j * y) for i, j in ends]


class SquashedFrames:
    """The whole frame as a square, whatever its ratio: ViCLIP's evaluation.

    Args:
        size: Side of the square in pixels.
        kind: `squash` (bicubic without antialiasing, torchvision before 0.17), `squash_antialias` (later versions), or
            `squash_bilinear` (OpenCV, as in the demonstration).
    """

    def __init__(self, size: int, kind: str) -> None:
        self.size, self.kind = size, kind

    def __call__(self, results: Clip) -> Clip:
        """Replace `imgs`, a list of (H, W, 3) uint8 RGB frames, and set `img_shape`."""
        square = (self.size, self.size)
        if self.kind == "squash_bilinear":
            results["imgs"] = [np.asarray(cv2.resize(frame, square), np.uint8) for frame in results["imgs"]]
        else:
            results["imgs"] = _bicubic(results["imgs"], square, antialias=self.kind == "squash_antialias")
        results["img_shape"] = square
        return results


def _bicubic(frames: list[NDArray[np.uint8]], size: tuple[int, int], antialias: bool) -> list[NDArray[np.uint8]]:
    stacked = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float()
    scaled = F.interpolate(stacked, size=size, mode="bicubic", align_corners=False, antialias=antialias)
    return list(scaled.clamp(0, 255).round().byte().permute(0, 2, 3, 1).numpy())
