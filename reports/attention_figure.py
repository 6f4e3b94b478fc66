"""Attention of the class token on a clip as a figure: frames, vanilla CLIP, fits, and the change by each fit."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from reports.labels import shorten
from reports.plot import paper_style, write_plot

WIDTH = 6.9
"""Width of the figure in inches: both columns of a page."""
MOST_FRAMES = 8
"""Most frames of a figure; of more frames every n-th is shown."""
_TILE, _HEAD, _GAP, _BAR = 1.5, 0.2, 0.04, 0.72
_PERCENTILE = 99.0
"""The colour scales end at this percentile: single patches have many times the attention of all others."""


@dataclass(frozen=True)
class MethodAttention:
    """The attention of a method.

    Args:
        title: Title of the method.
        maps: (T, h, w) shares of the class token's attention; they sum to 1 in each frame.
        prediction: The predicted class with its probability, e.g. `jump (83 %)`; empty if unknown.
    """

    title: str
    maps: NDArray[np.float32]
    prediction: str = ""

    @property
    def spread(self) -> float:
        """The part of the patches that the attention is spread over, from 0 to 1, mean over frames.

        It is exp(entropy) / patches: 1 for equal shares, 1 / patches if one patch has all the attention.
        """
        shares = self.maps.reshape(len(self.maps), -1).astype(np.float64)
        entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1)
        return float((np.exp(entropy) / shares.shape[1]).mean())

    def moved(self, other: MethodAttention) -> float:
        """The part of the other method's attention that is on other patches here, from 0 to 1, mean over frames."""
        # Half, because a share that moves is missing on one patch and is added on another.
        return float(np.abs(self.maps - other.maps).sum(axis=(1, 2)).mean() / 2)

    @property
    def times_uniform(self) -> NDArray[np.float32]:
        """The maps in multiples of equal shares: 1 is the attention that every patch would get."""
        return self.maps * np.float32(self.maps.shape[1] * self.maps.shape[2])


@dataclass(frozen=True)
class ClipAttention:
    """A clip and the attention of methods on its frames.

    Args:
        frames: (T, H, W, 3) uint8 RGB.
        times: T labels of the frames, e.g. `0.40 s`.
        methods: The methods; the first is the one that all others are compared with.
    """

    frames: NDArray[np.uint8]
    times: tuple[str, ...]
    methods: tuple[MethodAttention, ...]

    @property
    def caption(self) -> str:
        """The finding, and the meaning of the colours."""
        first = self.methods[0]
        texts = [f"{first.title} spreads its attention over {first.spread:.0%} of the patches"]
        for method in self.methods[1:]:
            texts.append(f"{method.title} moves {method.moved(first):.0%} of it and spreads over {method.spread:.0%}")
        shown = f" {len(self.columns)} of {len(self.frames)} frames." if len(self.columns) < len(self.frames) else ""
        return (
            f"{'; '.join(texts)} (means over {len(self.frames)} frames). Attention of the class token in the last "
            f"block, mean over heads; 1 is the attention of a patch if all have the same. All methods share a "
            f"scale.{shown}"
        ).replace("%", " %")

    @property
    def columns(self) -> list[int]:
        """The frames that are shown, from 0."""
        shown = min(len(self.frames), MOST_FRAMES)
        return [int((n + 0.5) * len(self.frames) / shown) for n in range(shown)]


def draw_attention(clip: ClipAttention, path: Path) -> None:
    """Draw rows of frames with the attention of each method, and its difference from the first method.

    Args:
        clip: At least one method.
        path: File to write: .png, .pdf or .svg, 6.9 inches wide.
    """
    rows = 2 + 2 * (len(clip.methods) - 1)
    tile = min(_TILE, (WIDTH - _BAR) / len(clip.columns) - _GAP)
    lines = textwrap.wrap(clip.caption, 134)
    height = rows * (tile + _HEAD) + 0.14 * len(lines) + 0.12
    with paper_style():
        sheet = _Sheet(Figure(figsize=(WIDTH, height)), tile, clip)
        sheet.frames()
        top = _percentile([method.times_uniform for method in clip.methods])
        for method in clip.methods:
            sheet.overlays(method, top)
            if method is not clip.methods[0]:
                sheet.differences(method)
        sheet.figure.text(0.0, 0.04 / height, "\n".join(lines), fontsize=7, va="bottom")
        write_plot(sheet.figure, path, clip.caption)


def _percentile(maps: Sequence[NDArray[np.float32]]) -> float:
    """The end of a colour scale of maps."""
    # Not 0, which the difference of two equal methods has: a colour scale needs two ends.
    return max(float(np.percentile(np.abs(np.stack(maps)), _PERCENTILE)), 1e-6)


class _Sheet:
    """A figure that is filled row by row, from the top."""

    def __init__(self, figure: Figure, tile: float, clip: ClipAttention) -> None:
        self.figure, self.tile, self.clip = figure, tile, clip
        self._used = 0.0

    def frames(self) -> None:
        """A row of frames with their times."""
        for axes, column in zip(self._row("Frames"), self.clip.columns, strict=True):
            axes.imshow(self.clip.frames[column])
            axes.set_title(self.clip.times[column], fontsize=7, pad=2, loc="right")

    def overlays(self, method: MethodAttention, top: float) -> None:
        """A row of frames under the attention of a method; the scale ends at `top`."""
        words = f"{shorten(method.title, 40)}: spread over {method.spread:.0%} of the patches".replace("%", " %")
        if method.prediction:
            words += f", predicts {shorten(method.prediction, 40)}"
        rows = self._row(words)
        for axes, column in zip(rows, self.clip.columns, strict=True):
            frame = self.clip.frames[column]
            axes.imshow(frame.mean(axis=2), cmap="gray", vmin=0, vmax=255)
            seen = axes.imshow(
                method.times_uniform[column], cmap="inferno", vmin=0, vmax=top, alpha=0.65, interpolation="nearest",
                extent=(-0.5, frame.shape[1] - 0.5, frame.shape[0] - 0.5, -0.5),
            )  # fmt: skip
        self._bar(seen, "attention\n(1 = uniform)", "max")

    def differences(self, method: MethodAttention) -> None:
        """A row with the difference between a method and the first method."""
        first = self.clip.methods[0]
        change = method.times_uniform - first.times_uniform
        top = _percentile([change])
        words = f"{shorten(method.title, 40)} minus {shorten(first.title, 40)}: {method.moved(first):.0%} moved"
        for axes, column in zip(self._row(words.replace("%", " %")), self.clip.columns, strict=True):
            seen = axes.imshow(change[column], cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest")
        self._bar(seen, "difference", "both")

    def _row(self, title: str) -> list[Axes]:
        """Axes without ticks below a title."""
        width, height = self.figure.get_size_inches()
        self._used += self.tile + _HEAD
        bottom = height - self._used
        self.figure.text(0.0, (bottom + self.tile + 0.05) / height, title, fontsize=8, va="bottom")
        rows = []
        for column in range(len(self.clip.columns)):
            left = column * (self.tile + _GAP)
            axes = self.figure.add_axes((left / width, bottom / height, self.tile / width, self.tile / height))
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            rows.append(axes)
        return rows

    def _bar(self, seen: AxesImage, title: str, extend: str) -> None:
        """The colour scale of the last row, right of it."""
        width, height = self.figure.get_size_inches()
        left = len(self.clip.columns) * (self.tile + _GAP) + 0.04
        place = left / width, (height - self._used) / height, 0.07 / width, self.tile / height
        bar = self.figure.colorbar(seen, cax=self.figure.add_axes(place), extend=extend)
        bar.ax.tick_params(labelsize=7, length=2, pad=1)
        bar.ax.locator_params(nbins=4)
        bar.set_label(title, fontsize=7, labelpad=1)
        bar.outline.set_visible(False)
        if bar.solids is not None:
            bar.solids.set(alpha=1.0)  # the maps are transparent, for the frames below them
