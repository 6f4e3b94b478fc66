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
    """(N, D) features of the videos that can be decoded, mean over views, and their row numbers.

    Where a method's encoding of a video is a tuple, its first tensor is taken.

    Args:
        method: In eval mode, on the CPU.
        rows: (path, label) per video.
        views: How videos are looked at.
        compute: Workers.
        seed: Of random views.
    """
    features: list[NDArray[np.float32]] = []
    numbers: list[int] = []
    for batch in eval_loader(rows, views, method.backbone.image_size, in_batches(len(rows), 8), compute, seed):
        if batch.frames is None:
            continue
        encoded = method.encode_video(split_views(normalise(batch.frames, views, torch.device("cpu")), views))
        tensor = encoded[0] if isinstance(encoded, tuple) else encoded
        features.append(tensor.float().unflatten(0, (-1, views.count)).mean(dim=1).flatten(1).numpy())
        numbers += batch.rows
    return (np.concatenate(features) if features else np.zeros((0, method.embed_dim), np.float32)), numbers
