"""Losses of probes: each method under each view transform, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reports.figures.axes import Box, Scale, number_text
from reports.figures.palette import COLOURS, style_of
from reports.figures.svg import FAINT, TEXT, Drawing, Figure, Pen, fitted_names, text_width
from reports.labels import named, shorten
from reports.probes import TITLE, ProbeLoss, ProbeRow, parts_of

HEIGHT = 360.0
_SLOT = 40.0
"""Width of a part in pixels."""
_LEFT, _TOP, _BOTTOM = 52.0, 14.0, 262.0
_NAME = 30
"""Longest name of a row, in characters."""


def probe_losses(probes: Sequence[ProbeRow], title: str, most: float = math.inf) -> Figure | None:
    """Loss in percent points of each part, with 95 % intervals as bars.

    Args:
        probes: Rows of one dataset; rows after the eighth are left out.
        title: Title of the dataset, for screen readers.
        most: Largest width of the figure in pixels.

    Returns:
        The figure; None without a loss.
    """
    shown = probes[: len(COLOURS)]
    losses = [(probe, loss) for probe in shown for loss in probe.losses.values() if loss.loss is not None]
    if not losses:
        return None
    parts = parts_of(shown)
    names = [shorten(named(probe.row.title, probe.label), _NAME) for probe in shown]
    beside = min(max(map(text_width, names)), 0.4 * most)
    slot = min(_SLOT, (most - _LEFT - 30 - beside) / len(parts))
    right = _LEFT + slot * len(parts)
    box = Box(_LEFT, _TOP, right, _BOTTOM)
    drawing = Drawing(right + 30 + beside, HEIGHT)
    written = fitted_names(names, beside)
    y = _scale([loss for _, loss in losses], box)
    _axes(drawing, box, y, parts)
    for number, probe in enumerate(shown):
        colour, shape = style_of(number)
        shift = 0.7 * slot * ((number + 0.5) / len(shown) - 0.5)
        for position, part in enumerate(parts):
            loss = probe.losses.get(part)
            if loss is None or loss.loss is None:
                continue
            x = box.left + (position + 0.5) * slot + shift
            if loss.interval:
                drawing.line([(x, y(end)) for end in loss.interval], Pen(colour, 2.0, 0.4))
            drawing.marker((x, y(loss.loss)), shape, Pen(colour), f"{names[number]}, {part}: {loss.text}")
        height = box.top + 10 + number * (TEXT + 7)
        drawing.marker((box.right + 14, height), shape, Pen(colour))
        drawing.text((box.right + 24, height + 4), written[number])
    text = _finding([(name, probe) for name, probe in zip(names, shown, strict=True)])
    return Figure(drawing.svg(f"{TITLE}: {title}"), text)


def _scale(losses: Sequence[ProbeLoss], box: Box) -> Scale:
    ends = [0.0, *(end for loss in losses for end in (loss.loss or 0.0, *(loss.interval or ())))]
    margin = max(0.06 * (max(ends) - min(ends)), 1.0)
    return Scale(min(ends) - margin, max(ends) + margin, box.bottom, box.top)


def _axes(drawing: Drawing, box: Box, y: Scale, parts: Sequence[str]) -> None:
    for value in y.ticks():
        drawing.line([(box.left, y(value)), (box.right, y(value))], FAINT)
        drawing.text((box.left - 6, y(value) + 4), number_text(value), "end")
    drawing.line([(box.left, y(0.0)), (box.right, y(0.0))], Pen(opacity=0.6))
    for position, part in enumerate(parts):
        at = box.left + (position + 0.5) * (box.right - box.left) / len(parts)
        drawing.text((at + 4, box.bottom + 14), part.replace("_", " "), "end", turn=-50)
    drawing.text((12, (box.top + box.bottom) / 2), "Loss against clean (points)", "middle", turn=-90)


def _finding(probes: Sequence[tuple[str, ProbeRow]]) -> str:
    """The largest loss of each row."""
    texts = []
    for name, probe in probes:
        known = [loss for loss in probe.losses.values() if loss.loss is not None]
        if known:
            worst = max(known, key=lambda loss: loss.loss or 0.0)
            most = f"most with {worst.part.replace('_', ' ')} ({worst.text.split(' ')[0]} points)"
            texts.append(f"{name} loses {most if (worst.loss or 0.0) > 0 else 'nothing'}")
    return f"{'; '.join(texts)}. Bars are 95 % intervals of the paired difference."
