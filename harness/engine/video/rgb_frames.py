"""Decoded frames as RGB images, equal to those of ffmpeg's command line (`-pix_fmt rgb24`, rotation on)."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from harness.engine.video.display_matrix import Orientation, orientation_of

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph

_DIRECT = {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "gray", "rgb24", "bgr24"}
"""Pixel formats that FFmpeg converts to RGB pixel by pixel, so that no filter is needed. Conversions of other formats
scale the chroma planes, and the position of chroma samples, which only FFmpeg's filter `scale` knows, matters there."""

_TIME_BASE = Fraction(1, 1000)
"""Of the filters, which do not look at time; frames of damaged files may have none."""


class _Description(TypedDict):
    width: int
    height: int
    format: str
    colorspace: int
    color_range: int


class RgbFrames:
    """Converts the frames of one video. The size of the first converted frame, as shown, is the size of all images.

    Filters are kept between frames of equal description.
    """

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self._graph: tuple[_Description, Orientation, Graph] | None = None

    def set_first(self, frame: VideoFrame) -> None:
        """Fix the size of all images by the first frame of the video."""
        size = frame.width, frame.height
        self._size = size[::-1] if orientation_of(frame).transposed else size

    def image(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Return a frame as it is shown, (H, W, 3) RGB uint8."""
        if self._size is None:
            self.set_first(frame)
        shown = orientation_of(frame)
        size = frame.width, frame.height
        if is_direct(frame) and self._size == (size[::-1] if shown.transposed else size):
            return shown.apply(_array(frame))
        return _array(self._filtered(frame, shown))

    def _filtered(self, frame: VideoFrame, shown: Orientation) -> VideoFrame:
        description: _Description = {
            "width": frame.width, "height": frame.height, "format": frame.format.name,
            "colorspace": int(frame.colorspace), "color_range": int(frame.color_range),
        }  # fmt: skip
        if self._graph is None or self._graph[:2] != (description, shown):
            self._graph = description, shown, self._new_graph(frame, shown)
        graph = self._graph[2]
        graph.push(frame)
        return graph.vpull()

    def _new_graph(self, frame: VideoFrame, shown: Orientation) -> Graph:
        """Return the filters that ffmpeg inserts: turn and mirror, scale to the size of the first frame, convert."""
        from av.filter import Graph

        graph = Graph()
        width, height = self._size or (frame.width, frame.height)
        last = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_TIME_BASE)
        size = (frame.height, frame.width) if shown.transposed else (frame.width, frame.height)
        # Without a filter for the size, FFmpeg converts where it has to: before a transpose that cannot keep chroma.
        scale = [] if size == (width, height) else [("scale", f"{width}:{height}:flags=bicubic")]
        for name, arguments in [*shown.filters, *scale, ("format", "rgb24"), ("buffersink", "")]:
            following = graph.add(name, arguments or None)
            last.link_to(following)
            last = following
        graph.configure()
        return graph


def is_direct(frame: VideoFrame) -> bool:
    """Whether the pixels of a frame become RGB without scaling of chroma planes."""
    return frame.format.name in _DIRECT


def _array(frame: VideoFrame) -> NDArray[np.uint8]:
    return frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
