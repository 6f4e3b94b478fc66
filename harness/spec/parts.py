"""Parts of videos in seconds: one part of each video, or sliding windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.base.errors import UserError

MOST_WINDOWS = 100_000
"""Most windows of a video; a step of a microsecond is a mistake."""


@dataclass(frozen=True)
class Part:
    """A part of a video.

    Args:
        start: First second.
        end: Second at which the part ends; None for the end of the video.
    """

    start: float = 0.0
    end: float | None = None


WHOLE = Part()


@dataclass(frozen=True)
class VideoLength:
    """The length of a video.

    Args:
        frames: Number of frames.
        rate: Average frames per second; 0 if the file does not state it.
    """

    frames: int
    rate: float

    @property
    def seconds(self) -> float:
        """Duration in seconds; 0 if it is not known."""
        return self.frames / self.rate if self.rate > 0 else 0.0

    def frames_of(self, part: Part) -> tuple[int, int]:
        """The numbers of the first frame of a part and of the frame after its last frame.

        Seconds are converted with the average rate. A part holds at least one frame.

        Raises:
            ValueError: The rate is not known, or the part begins after the end of the video.
        """
        if part == WHOLE:
            return 0, self.frames
        if not self.rate > 0:
            raise ValueError("the file states no frame rate, so that seconds name no frames")
        # Rounded, because 0.3 s * 10 frames per second is 3.0000000000000004 frames and means the third frame.
        first = math.floor(round(part.start * self.rate, 6))
        if first >= self.frames:
            raise ValueError(f"the part begins at {part.start:g} s, the video ends at {self.seconds:.3g} s")
        stop = self.frames if part.end is None else math.ceil(round(part.end * self.rate, 6))
        return first, max(first + 1, min(stop, self.frames))


@dataclass(frozen=True)
class Cut:
    """The parts of each video that are classified, in seconds.

    Args:
        start: Begin of the part.
        end: End of the part; None for the end of the video.
        window: Length of sliding windows within the part; None classifies the part as one clip.
        step: Distance between the begins of windows; None for half a window.

    Raises:
        UserError: A number is negative or not finite, the end is not after the start, or there is a step without a
            window.
    """

    start: float = 0.0
    end: float | None = None
    window: float | None = None
    step: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and self.start >= 0):
            raise UserError(f"start is {self.start:g}, expected a number of seconds from 0.")
        if self.end is not None and not (math.isfinite(self.end) and self.end > self.start):
            raise UserError(f"end is {self.end:g}, expected a number of seconds after start, {self.start:g}.")
        for name, value in (("window", self.window), ("step", self.step)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UserError(f"{name} is {value:g}, expected a number of seconds above 0.")
        if self.step is not None and self.window is None:
            raise UserError(f"step is {self.step:g} without a window.", "Give the length of a window, too.")
        if self.window is not None and self.end is not None and self.window > self.end - self.start:
            length = self.end - self.start
            raise UserError(
                f"window is {self.window:g} s, expected at most the length of the part from start to end, {length:g} s."
            )

    @property
    def whole(self) -> bool:
        """Whether each video is classified as a whole."""
        return self == Cut()

    def parts(self, length: VideoLength) -> tuple[Part, ...]:
        """The parts of a video of a length. The last window ends with the part, so that windows cover all of it.

        Raises:
            ValueError: The file states no frame rate, the video ends before the part begins or ends, or it is shorter
                than a window.
        """
        length.frames_of(Part(self.start, self.end))
        seconds = length.seconds
        # The last frame is shown for 1 / rate seconds, and containers round durations.
        if self.end is not None and self.end > seconds + 1 / length.rate:
            raise ValueError(f"the part ends at {self.end:g} s, the video at {seconds:.3g} s")
        if self.window is None:
            return (Part(self.start, self.end),)
        end = seconds if self.end is None else min(self.end, seconds)
        room = end - self.start - self.window
        # Half a frame of tolerance, because containers round durations.
        if room < -0.5 / length.rate:
            raise ValueError(
                f"the window of {self.window:g} s is longer than the video from {self.start:g} s on, "
                f"{end - self.start:.3g} s"
            )
        step = self.step or self.window / 2
        # 0.3 / 0.1 is 2.9999999999999996; without the small number the last window would be lost.
        count = math.floor(max(room, 0.0) / step + 1e-9) + 1
        if count > MOST_WINDOWS:
            raise ValueError(f"it has {count} windows of {self.window:g} s, expected at most {MOST_WINDOWS}")
        begins = [self.start + i * step for i in range(count)]
        if room - (begins[-1] - self.start) > 0.5 / length.rate:
            begins.append(self.start + room)
        return tuple(Part(round(begin, 6), round(begin + self.window, 6)) for begin in begins)
