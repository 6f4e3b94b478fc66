"""Video transforms that mmaction2 lacks, or that differ there from the published pipeline.

Random draws use the global generators, which `seeded_draws` seeds for each clip from (seed, epoch, position). The
result does not depend on workers, on the order of clips, or on an interruption of the fit.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from harness.engine.video import segment_indices
from harness.engine.video.dense_indices import DenseClip, evaluation_indices, training_indices
from harness.spec.dense import DenseSampling, dense_sampling
from harness.spec.segments import SEGMENT_RULES


class Clip(TypedDict, total=False):
    """The dictionary that mmaction2's transforms pass on.

    Keys:
        video_reader: The opened video.
        total_frames: Number of frames of the video.
        frame_inds: (clips * frames,) indices of the frames to decode.
        clip_len, frame_interval, num_clips: Composition of `frame_inds`, which mmaction2's decoder checks.
        imgs: Decoded RGB frames (H, W, 3) uint8; at the end one array (views * T, 3, H, W).
        img_shape: Height and width of the frames.
        label: Class id.
    """

    video_reader: FrameRate
    total_frames: int
    frame_inds: NDArray[np.int64]
    clip_len: int
    frame_interval: int
    num_clips: int
    imgs: list[NDArray[np.uint8]]
    img_shape: tuple[int, int]
    label: int


class PackedClip(TypedDict):
    """A decoded clip: (views * T, 3, H, W) uint8 frames and the class id."""

    frames: NDArray[np.uint8]
    label: int


NORMALIZATION = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "clip": ((122.7709383, 116.7460125, 104.09373615), (68.5005327, 66.6321579, 70.32316305)),
    "raw": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Mean and standard deviation of RGB 0..255. ViFi-CLIP and X-CLIP use those of ImageNet, not those of CLIP."""


@contextmanager
def seeded_draws(*key: int) -> Iterator[None]:
    """Context in which the global generators of Python, NumPy and torch are seeded from a key; restored afterwards."""
    # SeedSequence mixes the key, so that neighbouring clips and epochs get unrelated streams.
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
    """Return random frame indices as published for training: one index in each of `frames` segments of equal length.

    Videos shorter than `frames` repeat frames without randomness (round half to even). Draws from NumPy's global
    generator.
    """
    segment = total // frames
    if segment > 0:
        return np.asarray(np.arange(frames) * segment + np.random.randint(segment, size=frames))
    return np.mod(np.around(np.arange(frames) * (total / frames)).astype(np.int64), total)


def centre_indices(total: int, frames: int) -> NDArray[np.int64]:
    """Return the centre frame of each of T equal segments of N frames: floor(i N/T + N/2T)."""
    step = total / float(frames)
    return np.mod((np.arange(frames) * step + step / 2.0).astype(np.int64), total)


class FrameRate(Protocol):
    """The part of a reader that dense sampling uses."""

    def get_avg_fps(self) -> float:
        """Return the average frames per second."""
        ...


class SampleViews:
    """Frame indices of several temporal views, view by view.

    Args:
        frames: Frames T of a view.
        clips: Number V of temporal views.
        sampling: `random` draws each view with the training sampler, as published for 4 x 3 views; `uniform`
            interleaves the views (view v takes every V-th of V*T centre indices, starting at v); a rule of dense
            sampling such as `dense:16` spaces the views evenly; a rule of segments takes a frame of each.
    """

    def __init__(self, frames: int, clips: int, sampling: str) -> None:
        self.frames, self.clips, self.sampling = frames, clips, sampling

    def __call__(self, results: Clip) -> Clip:
        """Add `frame_inds` (clips * frames,)."""
        total = results["total_frames"]
        if self.sampling == "random":
            views = [train_indices(total, self.frames) for _ in range(self.clips)]
        elif (dense := dense_sampling(self.sampling)) is not None:
            views = list(evaluation_indices(dense, dense_clip(results, dense, self.frames), self.clips))
        elif self.sampling in SEGMENT_RULES:
            segments = segment_indices.Segments(total, self.frames)
            views = list(segment_indices.evaluation_indices(self.sampling, segments, self.clips))
        else:
            centres = centre_indices(total, self.frames * self.clips)
            views = [centres[v :: self.clips] for v in range(self.clips)]
        return with_indices(results, np.concatenate(views))


class SampleDense:
    """Frame indices of a training clip under a rule of dense sampling: the clip starts at random.

    Args:
        frames: Frames T of the clip.
        sampling: The rule and its stride, such as `dense:16`.
    """

    def __init__(self, frames: int, sampling: str) -> None:
        dense = dense_sampling(sampling)
        assert dense is not None  # the views are checked
        self.frames, self.dense = frames, dense

    def __call__(self, results: Clip) -> Clip:
        """Add `frame_inds` (frames,)."""
        return with_indices(results, training_indices(self.dense, dense_clip(results, self.dense, self.frames)))


class SampleSegments:
    """Frame indices of a training clip under a rule of segments: a random frame of each segment.

    Args:
        frames: Frames T of the clip, and number of segments.
        sampling: One of `SEGMENT_RULES`.
    """

    def __init__(self, frames: int, sampling: str) -> None:
        self.frames, self.sampling = frames, sampling

    def __call__(self, results: Clip) -> Clip:
        """Add `frame_inds` (frames,)."""
        segments = segment_indices.Segments(results["total_frames"], self.frames)
        return with_indices(results, segment_indices.training_indices(self.sampling, segments))


def dense_clip(results: Clip, dense: DenseSampling, frames: int) -> DenseClip:
    """Return the video of a clip for dense sampling.

    Raises:
        ValueError: The rule needs the frame rate, which the file does not state.
    """
    if not dense.needs_rate:
        return DenseClip(results["total_frames"], frames, dense.stride)
    rate = float(results["video_reader"].get_avg_fps())
    if not rate > 0:
        raise ValueError(f"the file states no frame rate, which sampling={dense.rule}:{dense.stride} needs")
    return DenseClip(results["total_frames"], frames, dense.stride, rate)


def with_indices(results: Clip, indices: NDArray[np.int64]) -> Clip:
    """Return a clip with the indices of its frames, as mmaction2's decoder takes them."""
    results["frame_inds"] = indices.astype(np.int64)
    results["clip_len"], results["frame_interval"], results["num_clips"] = 1, 1, len(indices)
    return results


class PerFrameColorJitter:
    """torchvision's ColorJitter with new factors for each frame, applied to a clip with a probability.

    mmaction2's `ColorJitter` uses the same factors for all frames, has other defaults, and has no probability.
    """

    def __init__(self, probability: float = 0.8) -> None:
        from torchvision.transforms import ColorJitter  # evaluation does not need it

        self.probability = probability
        self.jitter = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)

    def __call__(self, results: Clip) -> Clip:
        """Replace `imgs`, a list of (H, W, 3) uint8 RGB frames."""
        if random.random() < self.probability:
            results["imgs"] = [np.asarray(self.jitter(Image.fromarray(frame))) for frame in results["imgs"]]
        return results


class ClipGrayScale:
    """Grey frames (ITU-R 601 luminance as in PIL), for all frames of a clip with a probability."""

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


class OwnResize:
    """The resize of open_clip's preprocessing (`image_transform_v2`), by Pillow with antialiasing.

    Args:
        size: Side of the square in pixels.
        resize: `shortest`, `squash` or `longest`, see `InputSettings`.
        interpolation: `bicubic` or `bilinear`.
        crop: Cut the centre square of `shortest`; False leaves the long side.
        square: Side of the centre square; 0 for `size`.
    """

    def __init__(self, size: int, resize: str, interpolation: str, crop: bool = True, square: int = 0) -> None:
        self.size, self.resize, self.crop, self.square = size, resize, crop, square or size
        self.interpolation = Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR

    def __call__(self, results: Clip) -> Clip:
        """Replace `imgs`, a list of (H, W, 3) uint8 RGB frames, and `img_shape`, which later transforms read."""
        frames = [self._resized(Image.fromarray(frame)) for frame in results["imgs"]]
        results["imgs"] = [np.asarray(frame) for frame in frames]
        results["img_shape"] = results["imgs"][0].shape[:2]
        return results

    def _resized(self, frame: Image.Image) -> Image.Image:
        width, height = frame.size
        side = self.size
        if self.resize == "squash":
            return frame.resize((side, side), self.interpolation)
        if self.resize == "longest":
            # round() as in open_clip's ResizeKeepRatio
            ratio = max(width, height) / side
            fitted = frame.resize((round(width / ratio), round(height / ratio)), self.interpolation)
            square = Image.new("RGB", (side, side))
            square.paste(fitted, ((side - fitted.width) // 2, (side - fitted.height) // 2))
            return square
        # int() as in torchvision's Resize, and round() as in its CenterCrop
        short, long = min(width, height), max(width, height)
        other = int(side * long / short)
        resized = frame.resize((side, other) if width <= height else (other, side), self.interpolation)
        if not self.crop:
            return resized
        left, top = round((resized.width - self.square) / 2.0), round((resized.height - self.square) / 2.0)
        return resized.crop((left, top, left + self.square, top + self.square))


class PackClip:
    """The last step of a pipeline: frames as one array, and the label."""

    def __call__(self, results: Clip) -> PackedClip:
        """Return the packed clip without intermediate entries, which need not be sent between processes."""
        return {"frames": np.ascontiguousarray(results["imgs"]), "label": int(results["label"])}


def resize_side(size: int) -> int:
    """Return the length of the short side before a crop of `size` pixels: 224 -> 256, 64 -> 73."""
    return int(256 / 224 * size)


def single_threaded_opencv() -> None:
    """Turn off OpenCV's threads in a decode worker: there is one worker per core already."""
    cv2.setNumThreads(0)
