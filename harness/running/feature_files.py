"""Files of features: arrays for other programs, as .npz or .safetensors."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from harness.base.atomic import write_bytes
from harness.running.features import ListFeatures


def write_features(path: Path, content: ListFeatures) -> None:
    """Write features with their labels and names, atomically.

    An .npz holds the arrays `features` (N, T, D) and `video_features` (N, D) in float32, `labels` (N,) in int64, and
    `videos` (N,) and `classes` (C,) as text; `title` and `key` name the eval. It holds no Python objects, so that
    `numpy.load` needs no `allow_pickle`. A .safetensors file holds the three arrays of numbers, and the texts as JSON
    in its metadata.

    Args:
        path: The file, whose suffix decides the format.
        content: The features of a list.
    """
    frames, videos = content.features.frames, content.features.videos
    labels = np.array(content.labels, dtype=np.int64)
    if path.suffix.lower() == ".npz":
        buffer = io.BytesIO()
        np.savez(
            buffer, features=frames, video_features=videos, labels=labels,
            videos=np.array(content.videos, dtype=np.str_), classes=np.array(content.classes, dtype=np.str_),
            title=np.array(content.title), key=np.array(content.key),
        )  # fmt: skip
        write_bytes(path, buffer.getvalue())
        return
    metadata = {
        "videos": json.dumps(content.videos), "classes": json.dumps(content.classes), "title": content.title,
        "key": content.key,
    }  # fmt: skip
    write_bytes(path, save({"features": frames, "video_features": videos, "labels": labels}, metadata))
