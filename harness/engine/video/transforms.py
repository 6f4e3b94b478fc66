"""Video transforms that mmaction2 lacks or does differently from the published pipeline.

Random draws use the global generators, which `seeded_draws` sets per clip from (seed, epoch, position): the result
does not depend on workers, on the order of clips, or on whether a fit was interrupted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

Clip = dict[str, Any]
NORMALIZATION = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "clip": ((122.7709383, 116.7460125, 104.09373615), (68.5005327, 66.6321579, 70.32316305)),
    "raw": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Mean and standard deviation of RGB 0..255. ViFi-CLIP and X-CLIP use ImageNet's, not CLIP's own."""


@contextmanager
def seeded_draws(*key: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's global generators from a key, and put them back afterwards."""
    words = np.random.SeedSequence([k & 0xFFFFFFFF for k in key]).generate_state(3)
    saved = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.default_generator.manual_seed(int(words[2]))
    try:
        yield
    finally:
        random.setstate(saved[0])
        np.random.set_state(saved[1])
        torch.set_rng_state(saved[2])


def train_indices(total: int, frames: int) -> NDArray[np.int64]:
    """Random frame indices as published for training: one in each of `frames` equal segments of total // frames.

    Videos shorter than `frames` repeat frames without randomness (round half to even). NumPy's global generator.
    """
    segment = total // frames
    if segment > 0:
        return np.asarray(np.arange(frames) * segment + np.random.randint(segment, size=frames))
    return np.mod(np.around(np.arange(frames) * (total / frames)).astype(np.int64), total)


def centre_indices(total: int, frames: int) -> NDArray[np.int64]:
    """The centre frame of each of `frames` equal segments: floor(i N/T + N/2T)."""
    step = total / float(frames)
    return np.mod((np.arange(frames) * step + step / 2.0).astype(np.int64), total)


def dense_indices(total: int, frames: int, clips: int, stride: int) -> NDArray[np.int64]:
    """Frame indices (clips, frames) of evenly spaced clips of every `stride`-th frame; past the end they start again.

    As mmaction2's `SampleFrames` in test mode, which its model zoo is evaluated with.
    """
    room = max(total - ((frames - 1) * stride + 1), 0)
    starts = np.round(np.arange(clips) * (room / (clips - 1))) if clips > 1 else np.array([room // 2])
    return np.mod(starts[:, None].astype(np.int64) + np.arange(frames) * stride, total)


class SampleViews:
    """Frame indices of several temporal views, one view after another.

    `random` draws each view with the training sampler, as published for 4 x 3 views (the result is random);
    `uniform` interleaves the views: view v takes every V-th of V*T centre indices, starting at v; `dense:N` takes every
    N-th frame.
    """

    def __init__(self, frames: int, clips: int, sampling: str) -> None:
        self.frames, self.clips, self.sampling = frames, clips, sampling

    def __call__(self, results: Clip) -> Clip:
        """Add `frame_inds` (clips * frames,)."""
        total = results["total_frames"]
        if self.sampling == "random":
            views = [train_indices(total, self.frames) for _ in range(self.clips)]
        elif self.sampling.startswith("dense:"):
            views = list(dense_indices(total, self.frames, self.clips, int(self.sampling.removeprefix("dense:"))))
        else:
            dense = centre_indices(total, self.frames * self.clips)
            views = [dense[v :: self.clips] for v in range(self.clips)]
        results["frame_inds"] = np.concatenate(views).astype(np.int64)
        results.update(clip_len=1, frame_interval=1, num_clips=self.frames * self.clips)
        return results


class PerFrameColorJitter:
    """torchvision's ColorJitter on every frame with fresh factors and order per frame; one coin per clip.

    mmaction2's transform of the same name shares factors over frames and has other defaults and no probability.
    """

    def __init__(self, probability: float = 0.8) -> None:
        from torchvision.transforms import ColorJitter  # imported here: evaluation never needs it

        self.probability = probability
        self.jitter = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)

    def __call__(self, results: Clip) -> Clip:
        """Replace `imgs`, a list of (H, W, 3) uint8 RGB frames."""
        if random.random() < self.probability:
            results["imgs"] = [np.asarray(self.jitter(Image.fromarray(frame))) for frame in results["imgs"]]
        return results


class ClipGrayScale:
    """All frames of a clip turned grey (ITU-R 601 luminance as in PIL), with one coin per clip."""

    def __init__(self, probability: float = 0.2) -> None:
        self.probability = probability

    def __call__(self, results: Clip) -> Clip:
        """Replace `imgs`, a list of (H, W, 3) uint8 RGB frames."""
        if random.random() < self.probability:
            results["imgs"] = [
                np.repeat(np.asarray(Image.fromarray(frame).convert("L"))[..., None], 3, axis=2)
                for frame in results["imgs"]
            ]
        return results


class PackClip:
    """The last step: frames as one (views * T, 3, H, W) uint8 array, with the label and nothing else."""

    def __call__(self, results: Clip) -> Clip:
        """Return the packed clip; intermediate entries are dropped so that little travels between processes."""
        return {"frames": np.ascontiguousarray(results["imgs"]), "label": int(results["label"])}


def resize_side(size: int) -> int:
    """Length of the short side before cropping `size` pixels: 224 -> 256, 64 -> 73."""
    return int(256 / 224 * size)


def single_threaded_opencv() -> None:
    """Keep OpenCV from starting threads of its own in a decode worker."""
    cv2.setNumThreads(0)
