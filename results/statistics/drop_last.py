"""Effect of the published evaluation loader, which drops videos of a list, on accuracy.

The published loader distributes a list over R processes, shuffles the share of each process and drops its last
incomplete batch of two: every process with an odd share silently drops one random video. This harness scores every
video; the functions below compute how much the accuracy can differ. Source: specification of the methods, section 5.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

RANKS = 8
BATCH = 2


@dataclass(frozen=True)
class DropLast:
    """Effect of dropping `dropped` random videos of `videos`.

    Args:
        videos, correct: Numbers of all videos and of correct videos in the whole list.
        dropped: Number of dropped videos.
        low, high: Smallest and largest possible top-1 accuracy of the remaining videos, in percent.
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
    """Number of videos that the published loader drops on `ranks` processes."""
    return sum(len(range(rank, videos, ranks)) % batch for rank in range(ranks))


def drop_last(correct: int, videos: int, ranks: int = RANKS) -> DropLast:
    """Effect of the published loader on a top-1 accuracy of `correct` of `videos`, on `ranks` processes."""
    dropped = dropped_videos(videos, ranks)
    left = videos - dropped
    if left < 1:
        return DropLast(videos, correct, dropped, math.nan, math.nan, math.nan)
    low, high = max(correct - dropped, 0) / left, min(correct, left) / left
    share = correct / videos
    # The number of correct videos among the remaining videos has a hypergeometric distribution.
    variance = share * (1 - share) * dropped / (left * (videos - 1)) if videos > 1 else 0.0
    return DropLast(videos, correct, dropped, 100 * low, 100 * high, 100 * math.sqrt(variance))
