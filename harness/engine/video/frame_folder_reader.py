"""Reader of extracted frames: a folder of images with the interface of a video, for both readers of views."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.data.files.frame_folder import frame_files
from harness.engine.video.exact_reader import Batch

_ENDS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND"}
"""Marks at the end of whole images. OpenCV decodes an image that was cut off, with a grey rest."""
_END_BYTES = 1024


class FrameFolder:
    """The frames of a folder in the order of their numbers, decoded as mmaction2 decodes raw frames (OpenCV).

    Args:
        path: The folder.

    Raises:
        FrameFolderError: The images of the folder are not the frames of one clip.
        OSError: The folder cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._files = frame_files(path)

    def __len__(self) -> int:
        return len(self._files)

    def get_avg_fps(self) -> float:
        """Return 0: frames of a folder have no rate."""
        return 0.0

    def get_batch(self, indices: NDArray[np.int64]) -> Batch:
        """Return the RGB frames of the indices; `.asnumpy()` of the result gives (N, H, W, 3) uint8.

        Frames of another size are scaled to the size of the first frame of the folder.

        Raises:
            ValueError: A frame does not decode.
            OSError: A frame cannot be read.
        """
        images = {index: _image(self._files[index]) for index in sorted({int(i) for i in indices})}
        if len({image.shape for image in images.values()}) > 1 or 0 not in images:
            height, width = _image(self._files[0]).shape[:2]
            images = {
                index: image
                if image.shape[:2] == (height, width)
                else cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)
                for index, image in images.items()
            }
        return Batch(np.stack([images[int(i)] for i in indices]))


def _image(file: Path) -> NDArray[np.uint8]:
    content = file.read_bytes()
    end = _ENDS.get(file.suffix.lower(), b"")
    if end not in content[-_END_BYTES:]:
        raise ValueError(f"the frame {file.name} is cut off")
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if image is None:
        raise ValueError(f"the frame {file.name} does not decode")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
