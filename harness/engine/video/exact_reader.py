"""Frames equal to a sequential decode: the reader `exact`.

decord's random access returns shifted frames on files with packed B-frames or wrong header counts (all original
HMDB-51 clips seen, some of UCF-101 and Kinetics). Here a file is decoded once from its first frame; only the frames
asked for are converted to RGB. The number of frames is what was decoded, not what the header says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

KEEP_BYTES = 256 * 2**20
"""Decoded frames are kept up to this size; a larger file is decoded a second time for the frames asked for."""


class SequentialVideo:
    """A video decoded in order; has the part of decord's interface that mmaction2's transforms use.

    Raises:
        ValueError: There is no video stream, or not one frame decodes.
    """

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self._frames: list[Any] | None = []
        self._count, size = 0, 0
        for frame in self._decode():
            self._count += 1
            if self._frames is not None:
                size += sum(plane.buffer_size for plane in frame.planes)
                self._frames.append(frame)
                if size > KEEP_BYTES:
                    self._frames = None
        if not self._count:
            raise ValueError("no frame could be decoded")

    def __len__(self) -> int:
        return self._count

    def _decode(self) -> Any:
        import av

        # Titles in other encodings than UTF-8 are common in HMDB-51 and no reason to refuse a file.
        with av.open(self.filename, metadata_errors="replace") as container:
            if not container.streams.video:
                raise ValueError("the file has no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # frame threads would return frames late at the end of damaged files
            self._rate = float(stream.average_rate or 0)
            try:
                yield from container.decode(stream)
            except av.error.EOFError:
                return
            except (av.error.InvalidDataError, av.error.ArgumentError):
                if not self._count:
                    raise
                return  # a damaged tail: what decoded before it counts

    def get_avg_fps(self) -> float:
        """Frames per second of the stream, 0 if unknown."""
        return self._rate

    def get_batch(self, indices: NDArray[np.int64]) -> _Batch:
        """RGB frames at the indices, (N, H, W, 3) uint8 behind `.asnumpy()`."""
        wanted = sorted({int(i) for i in indices})
        images: dict[int, NDArray[np.uint8]] = {}
        if self._frames is not None:
            images = {i: _rgb(self._frames[i]) for i in wanted}
        else:
            count, last = self._count, wanted[-1]
            for number, frame in enumerate(self._decode()):
                if number in wanted:
                    images[number] = _rgb(frame)
                if number >= last:
                    break
            self._count = count
        return _Batch(np.stack([images[int(i)] for i in indices]))


class _Batch:
    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array

    def asnumpy(self) -> NDArray[np.uint8]:
        """The frames."""
        return self._array


def _rgb(frame: Any) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    turns = int(getattr(frame, "rotation", 0) or 0) // 90  # decord applies the display rotation too
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
