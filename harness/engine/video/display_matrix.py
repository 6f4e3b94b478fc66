"""The display matrix of a video: how its frames are turned and mirrored before they are shown, as ffmpeg does it.

ffmpeg turns frames by a multiple of 90 degrees, and mirrors them where the matrix does. Angles between two multiples
are rounded to the nearer one, so that an angle of a few degrees, which a phone may write, does not turn a frame.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame


@dataclass(frozen=True)
class Orientation:
    """A transpose followed by mirrors.

    Args:
        transposed: Rows become columns.
        left_right: Then columns are reversed.
        top_bottom: Then rows are reversed.
    """

    transposed: bool = False
    left_right: bool = False
    top_bottom: bool = False

    @property
    def filters(self) -> list[tuple[str, str]]:
        """The names and arguments of FFmpeg's filters that turn frames in the same way."""
        steps = (
            (self.transposed, ("transpose", "cclock_flip")), (self.left_right, ("hflip", "")),
            (self.top_bottom, ("vflip", "")),
        )  # fmt: skip
        return [step for needed, step in steps if needed]

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image (H, W, 3) as it is shown."""
        if self.transposed:
            image = image.transpose(1, 0, 2)
        if self.left_right:
            image = image[:, ::-1]
        if self.top_bottom:
            image = image[::-1]
        return np.ascontiguousarray(image)


UPRIGHT = Orientation()


def orientation_of(frame: VideoFrame) -> Orientation:
    """Return the orientation of a frame by its display matrix."""
    from av.sidedata.sidedata import Type

    try:
        data = frame.side_data[Type.DISPLAYMATRIX]  # type: ignore[typeddict-item]  # the stub lacks this key
    except KeyError:
        return UPRIGHT
    if data.buffer_size < 36:
        return UPRIGHT
    return orientation(struct.unpack("=9i", bytes(data)[:36]))


def orientation(matrix: tuple[int, ...]) -> Orientation:
    """Return the orientation of a display matrix, as the filters that ffmpeg inserts.

    Args:
        matrix: 3 x 3 fixed-point numbers row by row (a b u c d v x y w), as in ISO/IEC 14496-12.
    """
    a, b, _, c, d = matrix[:5]
    first, second = math.hypot(a, c), math.hypot(b, d)
    if not first or not second:
        return UPRIGHT  # not a rotation
    degrees = math.degrees(math.atan2(b / second, a / first))
    match round(degrees / 90) % 4:
        case 1:  # transpose=clock, or cclock_flip of a mirrored video
            return Orientation(transposed=True, left_right=c <= 0)
        case 2:  # hflip and vflip, or one of them
            return Orientation(left_right=a < 0, top_bottom=d < 0)
        case 3:  # transpose=cclock, or clock_flip of a mirrored video
            return Orientation(transposed=True, left_right=c < 0, top_bottom=True)
    return Orientation(top_bottom=d < 0)
