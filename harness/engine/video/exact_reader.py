"""The reader `exact`: the frames of a sequential decode, as the command line of ffmpeg gives them.

decord's random access returns shifted frames on files with packed B-frames or with a wrong number of frames in the
header (all original HMDB-51 clips that were checked, some of UCF-101 and Kinetics). This reader decodes a file from its
first frame and converts only the requested frames to RGB. The number of frames is the number of decoded frames.

As ffmpeg does, it takes the largest default stream, skips packets that do not decode, flushes the decoder at the end,
honours edit lists, turns and mirrors frames by the display matrix, and scales frames of another size to the size of the
first frame.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import itertools
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.engine.video.local_file import open_video, refuse_single_picture
from harness.engine.video.rgb_frames import RgbFrames, is_direct
from harness.engine.video.video_bytes import read_through

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer

KEEP_BYTES = 256 * 2**20
"""Size up to which decoded frames are kept in memory; a larger file is decoded again for the requested frames."""


class SequentialVideo:
    """A video decoded in order, with the part of decord's interface that mmaction2's transforms use.

    Args:
        filename: The video file.

    Attributes:
        skipped: Number of packets that did not decode.
        scales_chroma: Whether the conversion to RGB scales chroma planes, in which builds of FFmpeg differ.

    Raises:
        NotAVideoError: The file is not a video or has no video stream.
        ValueError: No frame can be decoded.
        OSError: The file cannot be read.
    """

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.skipped, self.scales_chroma = 0, False
        self._frames: list[VideoFrame] | None = []
        self._count, size = 0, 0
        # State of `_streamed`; a file from which frames are read once needs none of it.
        self._again = False
        self._stream: Generator[VideoFrame, None, None] | None = None
        self._next = 0
        self._recent: deque[tuple[int, VideoFrame]] = deque()
        self._rgb = RgbFrames()
        for frame in self._decode():
            if not self._count:
                self._rgb.set_first(frame)
                self.scales_chroma = not is_direct(frame)
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

    def _decode(self) -> Generator[VideoFrame, None, None]:
        self.skipped, count = 0, 0
        with open_video(Path(self.filename)) as (container, stream):
            stream.thread_type = "SLICE"  # frame threads would return frames late at the end of damaged files
            self._rate = float(stream.average_rate or 0)
            for packet in self._packets(container, stream):
                frames = self._frames_of(packet, stream)
                count += len(frames)
                yield from frames
            refuse_single_picture(container, count)

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream] | None]:
        """Yield the packets of a stream up to the end or the first fault of the container, and None to flush."""
        import av

        try:
            for packet in container.demux(stream):
                if packet.size:  # PyAV ends with an empty packet, which a faulty container may lack
                    yield packet
        except (av.error.EOFError, av.error.InvalidDataError, av.error.ArgumentError):
            pass  # a damaged end of the file: the frames before it are valid
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            read_through(Path(self.filename))  # raises if the disk, and not the container, is at fault
        yield None

    def _frames_of(self, packet: Packet[VideoStream] | None, stream: VideoStream) -> list[VideoFrame]:
        """Return the frames that a packet completes; none if it does not decode."""
        import av

        try:
            return stream.codec_context.decode(packet)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            if error.errno == errno.ENOMEM:
                raise
            self.skipped += 1
            return []

    def get_avg_fps(self) -> float:
        """Return the frames per second of the stream, 0 if unknown."""
        return self._rate

    def get_batch(self, indices: NDArray[np.int64]) -> Batch:
        """Return the RGB frames of the indices; `.asnumpy()` of the result gives (N, H, W, 3) uint8."""
        wanted = sorted({int(i) for i in indices})
        images: dict[int, NDArray[np.uint8]] = {}
        if self._frames is not None:
            images = {i: self._rgb.image(self._frames[i]) for i in wanted}
        elif self._again:
            images = {i: self._rgb.image(frame) for i, frame in self._streamed(wanted)}
        else:
            last, self._again = wanted[-1], True
            with contextlib.closing(self._decode()) as frames:
                for index, frame in enumerate(frames):
                    if index in wanted:
                        images[index] = self._rgb.image(frame)
                    if index >= last:
                        break
        return Batch(np.stack([images[int(i)] for i in indices]))


    def _streamed(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """Yield frames of a large file by number, in order, from a decoder that goes on where the last call ended.

        Overlapping windows of a long video would otherwise decode it from its begin once for each window.
        """
        oldest = self._recent[0][0] if self._recent else self._next
        if self._stream is None or wanted[0] < oldest:
            self.close()
            # Of a copy: a suspended decoder of this object would refer to it, and keep its file open too long.
            self._stream, self._next = copy.copy(self)._decode(), 0
        yield from ((index, frame) for index, frame in self._recent if index in wanted)
        for frame in itertools.islice(self._stream, max(0, wanted[-1] + 1 - self._next)):
            index, self._next = self._next, self._next + 1
            self._recent.append((index, frame))
            size = sum(plane.buffer_size for plane in frame.planes)  # about equal for all frames
            while len(self._recent) * size > KEEP_BYTES:
                self._recent.popleft()
            if index in wanted:
                yield index, frame


    def close(self) -> None:
        """Close the file, which stays open between calls of `get_batch` on a large file."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None
        self._recent.clear()


class Batch:
    """Frames with the method by which mmaction2 reads decord's arrays.

    Args:
        array: (N, H, W, 3) uint8.
    """

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array

    def asnumpy(self) -> NDArray[np.uint8]:
        """Return the frames."""
        return self._array
