"""Features of the videos of a list under a method: as arrays, and for a map of a fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.engine.method import ClipMethod
from harness.engine.video.frames import normalise, split_views
from harness.engine.video.loaders import Row, eval_loader, in_batches
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views


@dataclass(frozen=True)
class VideoFeatures:
    """Features of the videos that can be decoded.

    Args:
        frames: (N, T, D) float32, T = frames of all views in the order of the views. A method that does not pool frame
            features has one feature for each view instead.
        videos: (N, D) float32, the mean over views of the video features that the method scores.
        rows: N row numbers in the list.
    """

    frames: NDArray[np.float32]
    videos: NDArray[np.float32]
    rows: tuple[int, ...]


@torch.no_grad()
def video_features(
    method: ClipMethod, rows: list[Row], views: Views, compute: ComputeOptions, seed: int = 0
) -> VideoFeatures:
    """The features of the videos of a list that can be decoded.

    If the method encodes a video as a tuple, the features are the first tensor of the tuple.

    Args:
        method: The method in eval mode, on the CPU.
        rows: (path, class id) per video.
        views: Frames, clips, crops and sampling.
        compute: Decode workers.
        seed: Seed of random views.
    """
    frames: list[NDArray[np.float32]] = []
    videos: list[NDArray[np.float32]] = []
    numbers: list[int] = []
    for batch in eval_loader(rows, views, method.backbone.image_size, in_batches(len(rows), 8), compute, seed):
        if batch.frames is None:
            continue
        of_frames, of_views = _encoded(method, split_views(normalise(batch.frames, views, torch.device("cpu")), views))
        frames.append(torch.unflatten(of_frames, 0, (-1, views.count)).flatten(1, 2).numpy())
        # The mean of the views' features, although an eval averages probabilities: a map needs one point per video.
        videos.append(torch.unflatten(of_views, 0, (-1, views.count)).mean(dim=1).numpy())
        numbers += batch.rows
    if not numbers:
        width = method.embed_dim
        return VideoFeatures(np.zeros((0, 0, width), np.float32), np.zeros((0, width), np.float32), ())
    return VideoFeatures(np.concatenate(frames), np.concatenate(videos), tuple(numbers))


def _encoded(method: ClipMethod, views: Tensor) -> tuple[Tensor, Tensor]:
    """Frame features (B*V, T, D) and video features (B*V, D) of views (B*V, T, 3, H, W)."""
    if type(method).encode_video is ClipMethod.encode_video:
        frames = method.encode_frames(views)
        return frames.float(), method.pool(frames).float()
    encoded = method.encode_video(views)
    tensor = encoded[0] if isinstance(encoded, tuple) else encoded
    flat = tensor.float().flatten(1)
    return flat[:, None], flat
