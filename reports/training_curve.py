"""Training curves of fits: loss over epochs as a figure, and as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.errors import UserError

FORMATS = (".png", ".svg", ".pdf")
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
        path: File to write; its suffix is one of `FORMATS`.

    Raises:
        UserError: The suffix is another one.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"--out is {path}, expected a file that ends in {', '.join(FORMATS)}.", "Example: --out curve.png"
        )
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        axes.plot([row.epoch for row in curve.epochs], [row.loss for row in curve.epochs], marker=".", label=curve.name)
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss (nats)")
    axes.legend(fontsize=7)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix.lower().removeprefix("."), dpi=150)
    write_bytes(path, content.getvalue())
