"""Small figures of a row's panel: the accuracy of every class, and the training loss of its fits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from reports.class_scores import ClassScores
from reports.figures.svg import Figure, attribute, short
from reports.labels import shorten

WIDTH, HEIGHT = 280, 48
MOST_BARS = 100
MOST_POINTS = 40
NAMED = 2
"""Number of worst classes that are named."""


def class_strip(scores: ClassScores, column: str) -> Figure | None:
    """One bar for each class, the best first; at most `MOST_BARS` bars, each the mean of several classes.

    Args:
        scores: Right answers and videos of each class.
        column: Display name of the column.

    Returns:
        The figure; None for a list without videos.
    """
    order = scores.order()
    if not order:
        return None
    percent = [scores.percent(i) for i in order]
    size = -(-len(percent) // MOST_BARS)
    bars = [percent[at : at + size] for at in range(0, len(percent), size)]
    # One unit of the drawing is a bar, so that the path has a few characters for each class.
    heights = [round(HEIGHT - (HEIGHT - 2) * sum(bar) / len(bar) / 100) for bar in bars]
    steps = "".join(f"V{height}h{len(list(equal))}" for height, equal in groupby(heights))
    area = f'<path class="bars" d="M0 {HEIGHT}{steps}V{HEIGHT}z"/>'
    named = min(NAMED, len(order) // 2)
    worst = [scores.words(i, shorten(scores.names[i], 40)) for i in reversed(order[-named:] if named else [])]
    caption = f"Accuracy of {len(order)} classes, {column}, first repeat"
    caption += f", {size} classes in a bar." if size > 1 else "."
    if named:
        best = scores.words(order[0], shorten(scores.names[order[0]], 40))
        caption += f" Worst: {'; '.join(worst)}. Best: {best}."
    text = f"From {percent[-1]:.0f} to {percent[0]:.0f} percent"
    return Figure(_svg(area, text, len(bars)), caption)


def curve_strip(curves: Sequence[Sequence[float]]) -> Figure | None:
    """The mean training loss of each epoch, one line for each fit; None if no fit has two epochs.

    Args:
        curves: For each fit the mean losses of its epochs in nats.
    """
    shown = [list(curve) for curve in curves if len(curve) > 1]
    if not shown:
        return None
    most = max(max(curve) for curve in shown) or 1.0
    longest = max(len(curve) for curve in shown)
    lines = []
    for curve in shown:
        # A line has at most MOST_POINTS points, the first and the last epoch among them.
        kept = sorted({round(n * (len(curve) - 1) / (MOST_POINTS - 1)) for n in range(MOST_POINTS)})
        points = [(3 + (WIDTH - 6) * n / (longest - 1), 3 + (HEIGHT - 6) * (1 - curve[n] / most)) for n in kept]
        lines.append("M" + "L".join(f"{short(x)} {short(y)}" for x, y in points))
    caption = f"Training loss of {len(shown)} fit{'s' if len(shown) > 1 else ''} over {longest} epochs: from "
    caption += f"{shown[0][0]:.2f} to {shown[0][-1]:.2f} nats in the first fit, scale from 0 to {most:.2f}."
    line = f'<path class="curve" d="{"".join(lines)}"/>'
    return Figure(_svg(line, "Training loss over epochs", WIDTH), caption)


def _svg(content: str, description: str, width: int) -> str:
    box = f'viewBox="0 0 {width} {HEIGHT}" preserveAspectRatio="none"'
    head = f'<svg class="strip" {box} role="img" aria-label={attribute(description)}'
    return f"{head}>{content}</svg>"
