"""The effect of the published evaluation loader, which leaves videos out of a list, on an accuracy.

The published loader deals a list out to R processes, shuffles each share and drops its last incomplete batch of two, so
every process with an odd share leaves out one random video without a message. This project scores every video; the
functions below compute the size of the difference. Source: specification of the methods, section 5.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

RANKS = 8
BATCH = 2


@dataclass(frozen=True)
class DropLast:
    """The effect of leaving out `dropped` random videos of `videos`.

    Args:
        videos, correct: Of the whole list.
        dropped: Videos left out.
        low, high: Smallest and largest top-1 accuracy that the rest can have, in percent.
        spread: Standard deviation of that accuracy over random choices, in percent points.
    """

    videos: int
    correct: int
    dropped: int
    low: float
    high: float
    spread: float

    @property
    def top1(self) -> float:
        """Top-1 accuracy of the whole list in percent."""
        return 100.0 * self.correct / self.videos

    def __str__(self) -> str:
        return (
            f"{self.dropped} of {self.videos} videos left out, top-1 {self.top1:.2f} would be {self.low:.2f} to "
            f"{self.high:.2f}, standard deviation {self.spread:.3f}"
        )


def dropped_videos(videos: int, ranks: int = RANKS, batch: int = BATCH) -> int:
    """Videos that the published loader leaves out of a list of a length, on a number of processes."""
    return sum(len(range(rank, videos, ranks)) % batch for rank in range(ranks))


def drop_last(correct: int, videos: int, ranks: int = RANKS) -> DropLast:
    """The effect of the published loader on a top-1 accuracy of `correct` of `videos`, on `ranks` processes."""
    dropped = dropped_videos(videos, ranks)
    left = videos - dropped
    if left < 1:
        return DropLast(videos, correct, dropped, math.nan, math.nan, math.nan)
    low, high = max(correct - dropped, 0) / left, min(correct, left) / left
    share = correct / videos
    # Correct videos among those kept are hypergeometric.
    variance = share * (1 - share) * dropped / (left * (videos - 1)) if videos > 1 else 0.0
    return DropLast(videos, correct, dropped, 100 * low, 100 * high, 100 * math.sqrt(variance))
