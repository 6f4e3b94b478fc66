"""Draw a small folder of labelled clips, so that the notebook runs without data."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

CLASSES = ("circle left", "circle right", "square left", "square right")


def make_clips(folder: str | Path, per_class: int = 8, frames: int = 12, size: int = 96) -> Path:
    """Draw a bright circle or square that moves left or right over noise: one folder for each class.

    Args:
        folder: Folder to fill; existing clips stay.
        per_class: Clips per class.
        frames: Frames per clip.
        size: Side of a frame in pixels.

    Returns:
        The folder.
    """
    rows, columns = np.mgrid[:size, :size]
    for name in CLASSES:
        for number in range(per_class):
            path = Path(folder) / name / f"clip{number}.avi"
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng([number, *name.encode()])
            y, colour = rng.integers(20, size - 20), rng.integers(120, 256, 3)
            with av.open(str(path), "w") as container:
                stream = container.add_stream("mjpeg", rate=12)
                stream.width, stream.height, stream.pix_fmt = size, size, "yuvj420p"
                for index in range(frames):
                    x = 12 + (size - 24) * index / (frames - 1)
                    x = size - x if name.endswith("left") else x
                    far = np.hypot(rows - y, columns - x)
                    near = np.maximum(abs(rows - y), abs(columns - x))
                    image = rng.integers(0, 60, (size, size, 3))
                    image[(far if name.startswith("circle") else near) <= 11] = colour
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image.astype(np.uint8), "rgb24")))
                container.mux(stream.encode())
    return Path(folder)
