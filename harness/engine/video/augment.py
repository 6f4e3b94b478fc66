"""Random crops and RandAugment of training clips, as the SlowFast code and mmaction2 draw them.

Draws use the global generators of Python and NumPy, which `seeded_draws` seeds for each clip. All frames of a clip are
changed in the same way.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from harness.engine.video.transforms import Clip

PROBABILITY = 0.5
"""Probability of each operation of RandAugment."""
TRANSLATION = 0.45
"""Largest shift of RandAugment as a share of the side of the input, for operations that count pixels."""

OPERATIONS = (
    "AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "SolarizeAdd", "Color", "Contrast",
    "Brightness", "Sharpness", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel",
)  # fmt: skip
"""Operations of RandAugment by their names in timm."""
TWO_FORMS = ("Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness")
"""Operations with a second form that is stronger at a higher magnitude."""


class ShortSideCrop:
    """A random short side, then a random square: the training crop of the SlowFast code.

    Frames become float32, because the original resizes normalised frames without rounding.

    Args:
        size: Side of the square in pixels.
        low: Smallest short side in pixels.
        high: Largest short side in pixels.
        interpolation: `bilinear` or `bicubic`, without antialiasing.
    """

    def __init__(self, size: int, low: float, high: float, interpolation: str = "bilinear") -> None:
        self.size, self.low, self.high, self.interpolation = size, low, high, interpolation

    def __call__(self, results: Clip) -> Clip:
        """Replace `imgs` by float32 frames (size, size, 3) and set `img_shape`."""
        height, width = results["imgs"][0].shape[:2]
        scaled = scaled_size(height, width, round(float(np.random.uniform(self.low, self.high))))
        frames = resized(results["imgs"], scaled, self.interpolation)
        # The upper end is excluded, so that the last offset is never drawn, as in the original.
        top, left = (int(np.random.randint(0, side - self.size)) if side > self.size else 0 for side in scaled)
        cropped = frames[:, :, top : top + self.size, left : left + self.size].permute(0, 2, 3, 1).numpy()
        results["imgs"], results["img_shape"] = list(cropped), (self.size, self.size)
        return results


def resized(frames: list[NDArray[np.uint8]], size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """Return frames (T, 3, H, W) as float32 of a given height and width, without antialiasing."""
    stacked = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float()
    if stacked.shape[-2:] == size:
        return stacked
    return F.interpolate(stacked, size=size, mode=interpolation, align_corners=False)


def scaled_size(height: int, width: int, short: int) -> tuple[int, int]:
    """Return height and width of a frame with a given short side; the other side is rounded down."""
    if min(height, width) == short:
        return height, width
    if width < height:
        return math.floor(height / width * short), short
    return short, math.floor(width / height * short)


class ShortSideViews:
    """One or three squares of frames whose short side is the side of the input: the evaluation of the SlowFast code.

    ST-Adapter and Vita-CLIP derive theirs from it.

    Args:
        size: Side of the square in pixels.
        crops: 1 for the centre; 3 for both ends of the long side and the centre, in the order of mmaction2.
        rounded: Round to uint8, as view transforms need; the original does not round.
        interpolation: `bilinear` or `bicubic`, without antialiasing.
        centre_down: Round the offset of the centre down, as ST-Adapter and Vita-CLIP do, instead of up.
    """

    def __init__(
        self, size: int, crops: int, rounded: bool = False, interpolation: str = "bilinear", centre_down: bool = False
    ) -> None:
        self.size, self.crops, self.rounded = size, crops, rounded
        self.interpolation, self.centre_down = interpolation, centre_down

    def __call__(self, results: Clip) -> Clip:
        """Replace `imgs` by frames (size, size, 3), crop by crop, and set `img_shape`."""
        height, width = results["imgs"][0].shape[:2]
        height, width = scaled_size(height, width, self.size)
        frames = resized(results["imgs"], (height, width), self.interpolation)
        spare = 0 if self.centre_down else 1
        centre = ((height - self.size + spare) // 2, (width - self.size + spare) // 2)
        corners = [(0, 0), (height - self.size, width - self.size), centre] if self.crops == 3 else [centre]
        squares = [frames[:, :, top : top + self.size, left : left + self.size] for top, left in corners]
        pixels = torch.cat(squares).permute(0, 2, 3, 1)
        results["imgs"] = list((pixels.clamp(0, 255).round().byte() if self.rounded else pixels).numpy())
        results["img_shape"] = (self.size, self.size)
        return results


class RandAugmentClip:
    """RandAugment of the SlowFast code and timm: N operations of a clip, each with probability 0.5.

    Args:
        size: Side of the input in pixels.
        magnitude: Magnitude M, 0 to 10.
        layers: Number N of operations.
        deviation: Standard deviation of the magnitude of each operation.
        increasing: Whether each operation is stronger at a higher magnitude.
    """

    def __init__(self, size: int, magnitude: float, layers: int, deviation: float, increasing: bool) -> None:
        from timm.data.auto_augment import AugmentOp  # evaluation does not need it

        settings = {
            "translate_const": int(size * TRANSLATION), "magnitude_std": deviation,
            "interpolation": Image.Resampling.BICUBIC,
        }  # fmt: skip
        names = [name + ("Increasing" if increasing and name in TWO_FORMS else "") for name in OPERATIONS]
        self.operations = [AugmentOp(name, PROBABILITY, magnitude, settings) for name in names]
        self.layers = layers

    def __call__(self, results: Clip) -> Clip:
        """Replace `imgs`, a list of (H, W, 3) uint8 RGB frames."""
        for number in np.random.choice(len(self.operations), self.layers):
            operation = self.operations[int(number)]
            drawn = random.getstate()
            frames = []
            for frame in results["imgs"]:
                random.setstate(drawn)  # timm draws for each picture; the operation is the same for all frames
                frames.append(np.asarray(operation(Image.fromarray(frame))))
            results["imgs"] = frames
        return results
