"""Small videos whose frames carry their numbers: painting, reading back, writing with PyAV, and damaging."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, BITS = 96, 64, 8
FFMPEG = shutil.which("ffmpeg")


def paint(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A grey image (H, W, 3) with the number's 8 bits in 4 x 2 blocks; the left half is darker."""
    image = np.full((height, width, 3), 128, np.uint8)
    image[:, : width // 2] = 100
    side = min(width, height)
    left, top = (width - side) // 2 + side // 8, (height - side) // 2 + side // 8
    wide, high = (side - side // 4) // 4, (side - side // 4) // 2
    for bit in range(BITS):
        row, column = divmod(bit, 4)
        value = 235 if (number >> bit) & 1 else 20
        image[top + row * high : top + (row + 1) * high, left + column * wide : left + (column + 1) * wide] = value
    return image


def read(image: NDArray[np.uint8]) -> int:
    """The number in an image, from the middle of each block."""
    height, width = image.shape[:2]
    side, number = min(width, height), 0
    left, top = (width - side) // 2 + side // 8, (height - side) // 2 + side // 8
    wide, high = (side - side // 4) // 4, (side - side // 4) // 2
    for bit in range(BITS):
        row, column = divmod(bit, 4)
        y, x = top + row * high + high // 4, left + column * wide + wide // 4
        if image[y : y + high // 2, x : x + wide // 2].mean() > 127:
            number |= 1 << bit
    return number


@dataclass(frozen=True)
class Coding:
    """How a numbered video is written.

    Args:
        codec: Encoder.
        extension: Extension of the file, which chooses the container.
        gop: Distance of key frames.
        b_frames: B-frames between two other frames.
        pix_fmt: Pixel format.
        options: Options of the encoder.
    """

    codec: str
    extension: str
    gop: int = 12
    b_frames: int = 0
    pix_fmt: str = "yuv420p"
    options: Sequence[tuple[str, str]] = field(default=())

    def __str__(self) -> str:
        extra = "".join(f"-{value}" for _, value in self.options)
        return f"{self.codec}-{self.extension}-gop{self.gop}-b{self.b_frames}-{self.pix_fmt}{extra}"


@contextlib.contextmanager
def same_scheduling() -> Iterator[None]:
    """Context after which this thread has the scheduling policy that it had before.

    For root, SVT-AV1 gives the thread that opens an encoder the highest real-time priority and keeps it. All processes
    that the test starts later inherit it, and starve every other process of the machine.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def write(path: Path, coding: Coding, numbers: Iterable[int], size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """Write a numbered video."""
    with same_scheduling(), av.open(str(path), "w") as container:
        stream = container.add_stream(coding.codec, rate=25, options=dict(coding.options))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, coding.pix_fmt
        stream.gop_size = coding.gop
        if coding.b_frames:
            stream.codec_context.max_b_frames = coding.b_frames
        stream.bit_rate = 2_000_000
        for number in numbers:
            frame = av.VideoFrame.from_ndarray(paint(number, *size), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def damaged(path: Path, source: Path, number: int, replacement: bytes = b"\x00\x01\x02\x03\x04\x05\x06\x07") -> Path:
    """Write a copy of a video in which one packet holds other bytes."""
    with av.open(str(source)) as given, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        for position, packet in enumerate(p for p in given.demux(video=0) if p.size):
            if position == number:
                other = av.Packet(replacement)
                other.pts, other.dts, other.time_base, other.duration = (
                    packet.pts, packet.dts, packet.time_base, packet.duration,
                )  # fmt: skip
                packet = other
            packet.stream = stream
            container.mux(packet)
    return path


def with_matrix(path: Path, source: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write a copy of an MP4 file whose display matrix has these four numbers."""
    content = bytearray(source.read_bytes())
    header = content.index(b"tkhd")
    times = 20 if content[header + 4] == 0 else 32
    start = header + 8 + times + 16
    upright = [65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30]
    numbers = [int.from_bytes(content[start + 4 * i : start + 4 * i + 4], "big", signed=True) for i in range(9)]
    assert numbers == upright
    for i, value in enumerate([a, b, 0, c, d]):
        content[start + 4 * i : start + 4 * i + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    return path


def ffmpeg_frames(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """All RGB frames (N, H, W, 3) that the command line of ffmpeg gives, without repeated or dropped frames."""
    assert FFMPEG
    command = [FFMPEG, "-loglevel", "quiet", "-i", f"file:{path}", "-fps_mode", "passthrough", "-pix_fmt", "rgb24"]
    output = subprocess.run([*command, "-f", "rawvideo", "-"], capture_output=True).stdout
    return np.frombuffer(output, np.uint8).reshape(-1, height, width, 3)
