"""View transforms: probes of time and corruptions of pixels, applied to the frames of a view before normalisation.

A transform maps the frames (T, H, W, 3) uint8 RGB of one view to frames of the same shape and type. Its random draws
come from a generator that is seeded from the name of the video alone, so that every method sees the same frames.
Strengths are relative to the size of a frame where they depend on it: a corruption looks the same at every resolution.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.base.errors import EXIT_FAILED, UserError, unknown_name
from harness.plugins.loose_files import load_file
from harness.plugins.registered_transforms import transforms
from harness.spec.view_transforms import BUILT_IN, CORRUPTIONS, STRENGTHS, corruption

Frames = NDArray[np.uint8]
"""The frames of a view: (T, H, W, 3) uint8 RGB."""
Transform = Callable[[Frames, np.random.Generator], Frames]

BLUR = (0.008, 0.016, 0.032)
"""Standard deviation of the Gaussian kernel, as a fraction of the short side: 1.8, 3.6 and 7.2 pixels at 224."""
NOISE = (20.0, 40.0, 80.0)
"""Standard deviation of Gaussian noise that is added to each value of 0..255."""
COMPRESSION = (30, 15, 5)
"""JPEG quality of each frame."""
BRIGHTNESS = (40, 80, 120)
"""Added to each value of 0..255."""
DROPPED = (0.25, 0.5, 0.75)
"""Fraction of the frames that are lost; a lost frame shows the last frame before it that was not lost."""


class ViewTransformError(UserError):
    """The function of a plugin failed, or returned something other than the frames of a view.

    Args:
        name: Name of the transform.
        file: File of the plugin.
        problem: The fault, as the end of a sentence.
        hint: The fix.
    """

    def __init__(self, name: str, file: str, problem: str, hint: str) -> None:
        super().__init__(f"The view transform {name!r} ({file}) {problem}.", hint, EXIT_FAILED)


class _Results(TypedDict):
    """The entries of mmaction2's dictionary that `ApplyViewTransform` reads."""

    filename: str
    imgs: list[NDArray[np.uint8]]


def video_seed(video: str | Path) -> int:
    """A seed from the name of a video without folder and suffix: the same for all methods and on all machines."""
    return int.from_bytes(hashlib.sha256(Path(video).stem.encode("utf-8", "surrogateescape")).digest()[:8], "big")


def shuffled(frames: Frames, random: np.random.Generator) -> Frames:
    """The frames in a random order that differs from the given order wherever there are two frames."""
    count = len(frames)
    order = np.arange(count)
    while count > 1 and (order == np.arange(count)).all():
        order = random.permutation(count)
    return frames[order]


def backwards(frames: Frames, random: np.random.Generator) -> Frames:
    """The frames in reverse order."""
    return frames[::-1]


def one_frame(frames: Frames, random: np.random.Generator) -> Frames:
    """The middle frame, repeated."""
    return np.repeat(frames[[len(frames) // 2]], len(frames), axis=0)


def first_half(frames: Frames, random: np.random.Generator) -> Frames:
    """The first half of the frames, each repeated so that the number of frames stays the same."""
    count = len(frames)
    return frames[np.arange(count) * -(-count // 2) // count]


def blur(strength: int, frames: Frames, random: np.random.Generator) -> Frames:
    """A Gaussian blur of each frame."""
    sigma = BLUR[strength - 1] * min(frames.shape[1:3])
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames]).astype(np.uint8, copy=False)


def noise(strength: int, frames: Frames, random: np.random.Generator) -> Frames:
    """Gaussian noise; a greater strength scales the same draw."""
    added = random.standard_normal(frames.shape, dtype=np.float32) * NOISE[strength - 1]
    return np.clip(np.rint(frames + added), 0, 255).astype(np.uint8)


def compression(strength: int, frames: Frames, random: np.random.Generator) -> Frames:
    """JPEG compression of each frame."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, COMPRESSION[strength - 1]]
    # The codec takes BGR; a swap of two channels before and after keeps the conversion to luminance right.
    encoded = [cv2.imencode(".jpg", frame[..., ::-1], quality)[1] for frame in frames]
    decoded = [np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8) for data in encoded]
    return np.stack(decoded)[..., ::-1]


def brightness(strength: int, frames: Frames, random: np.random.Generator) -> Frames:
    """Brighter frames."""
    return np.clip(frames.astype(np.int16) + BRIGHTNESS[strength - 1], 0, 255).astype(np.uint8)


def dropped(strength: int, frames: Frames, random: np.random.Generator) -> Frames:
    """Lost frames, in place of which the last frame that was not lost is shown. The first frame is never lost."""
    count = len(frames)
    # One order for all strengths: a stronger corruption loses the frames of the weaker ones and further frames.
    lost = (random.permutation(count - 1) + 1)[: math.ceil(DROPPED[strength - 1] * (count - 1))]
    shown = np.arange(count)
    shown[lost] = 0
    return frames[np.maximum.accumulate(shown)]


_KINDS: dict[str, Callable[[int, Frames, np.random.Generator], Frames]] = {
    "blur": blur, "noise": noise, "compression": compression, "brightness": brightness, "dropped": dropped,
}  # fmt: skip
_TIME: dict[str, Transform] = {
    "shuffled": shuffled, "reversed": backwards, "one_frame": one_frame, "first_half": first_half,
}  # fmt: skip
BUILT_IN_TRANSFORMS: dict[str, Transform] = {
    **_TIME,
    **{corruption(kind, strength): partial(_KINDS[kind], strength) for kind in CORRUPTIONS for strength in STRENGTHS},
}
"""The built-in transforms by name."""


class ApplyViewTransform:
    """The step of a pipeline that transforms each view.

    It refers to the transform of a plugin by name and file: decode processes that have not imported the plugin do so.

    Args:
        name: Name of the transform.
        frames: Number of frames T of a view.
        file: File of the plugin; empty for a built-in transform.
    """

    def __init__(self, name: str, frames: int, file: str = "") -> None:
        self.name, self.frames, self.file = name, frames, file

    def __call__(self, results: _Results) -> _Results:
        """Replace `imgs`, (views * T) frames (H, W, 3) uint8 RGB.

        Raises:
            ViewTransformError: The function of a plugin fails, or returns frames of another shape or type.
        """
        imgs, seed = results["imgs"], video_seed(results["filename"])
        transform = self._function()
        transformed: list[NDArray[np.uint8]] = []
        for first in range(0, len(imgs), self.frames):
            view = np.stack(imgs[first : first + self.frames])
            # A generator for each view: the views of a video are corrupted in the same way.
            transformed += list(self._checked(view, transform, np.random.default_rng(seed)))
        results["imgs"] = transformed
        return results

    def _function(self) -> Transform:
        if self.name in BUILT_IN_TRANSFORMS:
            return BUILT_IN_TRANSFORMS[self.name]
        if self.name not in transforms and self.file:
            load_file(Path(self.file))
        if self.name not in transforms:
            raise unknown_name("view transform", self.name, [*BUILT_IN, *transforms])
        return transforms[self.name].function

    def _checked(self, view: Frames, transform: Transform, random: np.random.Generator) -> Frames:
        """The transformed view; of a plugin's function the result is checked."""
        if self.name in BUILT_IN_TRANSFORMS:
            return transform(view, random)
        try:
            changed = np.asarray(transform(view, random))
        except Exception as error:
            problem = f"failed: {type(error).__name__}: {error}"
            raise ViewTransformError(self.name, self.file, problem, "Fix the function.") from None
        if changed.shape != view.shape or changed.dtype != np.uint8:
            problem = f"returns {changed.dtype} {changed.shape}, expected uint8 {view.shape}"
            hint = "Return frames of the shape and type of the argument."
            raise ViewTransformError(self.name, self.file, problem, hint)
        return changed
