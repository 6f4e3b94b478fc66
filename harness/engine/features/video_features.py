"""Video features of a list under a method: what a t-SNE or UMAP of a fit is drawn from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from harness.engine.method import ClipMethod
from harness.engine.video.frames import normalise, split_views
from harness.engine.video.loaders import Row, eval_loader, in_batches
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views


@torch.no_grad()
def video_features(
    method: ClipMethod, rows: list[Row], views: Views, compute: ComputeOptions, seed: int = 0
) -> tuple[NDArray[np.float32], list[int]]:
    """Features (N, D) of the videos that can be decoded, mean over views, and their row numbers.

    If the method encodes a video as a tuple, the features are the first tensor of the tuple.

    Args:
        method: The method in eval mode, on the CPU.
        rows: (path, class id) per video.
        views: Frames, clips, crops and sampling.
        compute: Decode workers.
        seed: Seed of random views.
    """
    features: list[NDArray[np.float32]] = []
    numbers: list[int] = []
    for batch in eval_loader(rows, views, method.backbone.image_size, in_batches(len(rows), 8), compute, seed):
        if batch.frames is None:
            continue
        encoded = method.encode_video(split_views(normalise(batch.frames, views, torch.device("cpu")), views))
        tensor = encoded[0] if isinstance(encoded, tuple) else encoded
        # The mean of the views' features, although an eval averages probabilities: a map needs one point per video.
        features.append(torch.unflatten(tensor.float(), 0, (-1, views.count)).mean(dim=1).flatten(1).numpy())
        numbers += batch.rows
    return (np.concatenate(features) if features else np.zeros((0, method.embed_dim), np.float32)), numbers
