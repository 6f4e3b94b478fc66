"""Training curves of fits: loss over epochs as a figure, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BAR = 40
"""Width of the longest bar in characters."""


@dataclass(frozen=True)
class EpochRow:
    """One epoch of a fit.

    Args:
        epoch: 1-based epoch.
        loss: Mean training loss of its iterations in nats.
        lr: Learning rate of the first parameter group at its last iteration.
        seconds: Wall time since the begin of the fit.
    """

    epoch: int
    loss: float
    lr: float
    seconds: float


@dataclass(frozen=True)
class TrainingCurve:
    """The curve of one fit.

    Args:
        name: Name of the fit.
        epochs: Its epochs, in order.
    """

    name: str
    epochs: tuple[EpochRow, ...]


def curve_text(curve: TrainingCurve) -> str:
    """A curve as text: one line per epoch, with a bar from zero to the loss."""
    most = max((row.loss for row in curve.epochs), default=0.0)
    lines = [curve.name, "EPOCH      LOSS        RATE   SECONDS"]
    for row in curve.epochs:
        bar = "#" * round(BAR * row.loss / most) if most > 0 else ""
        lines.append(f"{row.epoch:5d}  {row.loss:8.4f}  {row.lr:10.3g}  {row.seconds:8.1f}  {bar}".rstrip())
    return "\n".join(lines)


def draw_curves(curves: Sequence[TrainingCurve], path: Path) -> None:
    """Draw the mean loss of each epoch over epochs; one line for each fit.

    Args:
        curves: The curves.
        path: File to write: .png, .svg or .pdf, 6.9 inches wide.

    Raises:
        UserError: The suffix is another one.
    """
    from matplotlib.figure import Figure

    from reports.plot import check_format, paper_style, write_plot

    check_format(path)
    with paper_style():
        figure = Figure(figsize=(6.9, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for curve in curves:
            axes.plot(
                [row.epoch for row in curve.epochs], [row.loss for row in curve.epochs], marker=".", label=curve.name
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel("training loss (nats)")
        axes.legend()
        write_plot(figure, path)
