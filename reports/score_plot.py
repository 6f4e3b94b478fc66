"""Probabilities of classes over the time of a video, from sliding windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from reports.figures.palette import COLOURS
from reports.labels import shorten
from reports.plot import paper_style, write_plot

MOST_VIDEOS = 20
"""Largest number of videos of a figure, in which each video has separate axes."""
SHOWN = 5
"""Number of classes with a line: the classes with the highest probability in any window."""


@dataclass(frozen=True)
class ScoreTrack:
    """The windows of a video.

    Args:
        name: Name of the video.
        seconds: The middle of each window in seconds, in order.
        probabilities: Class name -> its probability in each window.
    """

    name: str
    seconds: tuple[float, ...]
    probabilities: dict[str, tuple[float, ...]]


def draw_scores(tracks: Sequence[ScoreTrack], path: Path) -> None:
    """Draw the probabilities over time, one pair of axes for each video, and write the figure.

    Args:
        tracks: The videos, at most `MOST_VIDEOS`.
        path: File to write: .png, .svg or .pdf.
    """
    with paper_style():
        figure = Figure(figsize=(6.9, 0.6 + 2.0 * len(tracks)), layout="constrained")
        for axes, track in zip(figure.subplots(len(tracks), squeeze=False)[:, 0], tracks, strict=True):
            best = sorted(track.probabilities, key=lambda name: -max(track.probabilities[name]))[:SHOWN]
            for name, colour in zip(best, COLOURS, strict=False):
                axes.plot(track.seconds, track.probabilities[name], ".-", color=colour, label=shorten(name, 30))
            axes.set(title=shorten(track.name, 80), ylabel="probability", ylim=(0.0, 1.02))
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes.set_xlabel("time (s)")
        write_plot(figure, path)
