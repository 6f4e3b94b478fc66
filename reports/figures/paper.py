"""Figures as PDF and PNG files in the widths of papers, drawn by matplotlib from their SVG elements."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet
from matplotlib.patches import Circle, PathPatch, Rectangle
from matplotlib.path import Path as Outline

from reports.figures.svg import TEXT, Figure
from reports.plot import paper_style, write_plot

LEAST_POINTS = 7.0
"""Smallest font size in a file, in points."""


@dataclass(frozen=True)
class Paper:
    """A width of figures in a paper.

    Args:
        inches: Width in inches.
        points: Font size of labels in points.
    """

    inches: float
    points: float

    @property
    def pixels(self) -> float:
        """Width of a `Drawing` whose labels have this font size."""
        return self.inches * 72 / self.points * TEXT


PAPERS = {"column": Paper(3.4, 7.0), "page": Paper(6.9, 8.0)}
"""Widths by name: one column and both columns of a page with two columns."""


def write_figure(figure: Figure, file: Path, paper: Paper) -> list[Path]:
    """Write a figure as PDF and as PNG.

    Args:
        figure: A figure whose drawing is at most `paper.pixels` wide.
        file: Path of the files without a suffix.
        paper: Width and font size.

    Returns:
        The two files.
    """
    root = ET.fromstring(figure.svg)
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    # A drawing of classes may need more than the width; it is then scaled down.
    scale = min(paper.points / TEXT, paper.inches * 72 / width)
    with paper_style():
        sheet = Sheet(figsize=(width * scale / 72, height * scale / 72))
        axes = sheet.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        for element in root:
            _draw(axes, element, scale)
        # A suffix is appended: names of datasets may contain dots.
        files = [file.with_name(f"{file.name}.{kind}") for kind in ("pdf", "png")]
        for path in files:
            write_plot(sheet, path, figure.caption)
    return files


def _draw(axes: Axes, element: ET.Element, scale: float, anchor: str = "") -> None:
    """Draw one element of a `Drawing`; texts are in groups that name their anchor."""
    kind = element.tag.rsplit("}", 1)[-1]
    number = {name: float(value) for name, value in element.items() if re.fullmatch(r"-?[\d.]+", value)}
    if kind == "g":
        for member in element:
            _draw(axes, member, scale, element.attrib["text-anchor"])
    elif kind == "text":
        _write(axes, element, number, scale, anchor)
    elif element.get("class") == "dots":
        # Backends may leave out lines without a length.
        for x, y in re.findall(r"M(\S+) (\S+)h0", element.attrib["d"]):
            dot = Circle((float(x), float(y)), number["stroke-width"] / 2, clip_on=False)
            dot.set(color=element.attrib["stroke"], alpha=number.get("stroke-opacity"), linewidth=0)
            axes.add_patch(dot)
    elif kind == "circle":
        circle = Circle((number["cx"], number["cy"]), number["r"], clip_on=False)
        axes.add_patch(_painted(circle, element, number, scale))
    elif kind == "rect":
        corner = number["x"], number["y"]
        rectangle = Rectangle(corner, number["width"], number["height"], clip_on=False)
        axes.add_patch(_painted(rectangle, element, number, scale))
    elif kind == "path":
        axes.add_patch(_painted(PathPatch(_outline(element.attrib["d"]), clip_on=False), element, number, scale))


def _write(axes: Axes, element: ET.Element, number: dict[str, float], scale: float, anchor: str) -> None:
    side = {"start": "left", "middle": "center", "end": "right"}[anchor]
    turn = re.match(r"rotate\((-?[\d.]+)", element.get("transform", ""))
    # SVG turns clockwise, matplotlib counterclockwise.
    axes.text(
        number["x"], number["y"], element.text or "", ha=side, va="baseline", rotation_mode="anchor",
        rotation=-float(turn[1]) if turn else 0.0, fontsize=max(number.get("font-size", TEXT) * scale, LEAST_POINTS),
    )  # fmt: skip


_Patch = Circle | Rectangle | PathPatch


def _painted(patch: _Patch, element: ET.Element, number: dict[str, float], scale: float) -> _Patch:
    """A patch with the fill or the stroke of its element."""
    fill, stroke = (_colour(element.get(name, "none")) for name in ("fill", "stroke"))
    patch.set_facecolor(fill)
    patch.set_edgecolor(stroke)
    patch.set_alpha(number.get("fill-opacity", number.get("stroke-opacity")))
    patch.set_linewidth(number.get("stroke-width", 0.0) * scale)
    patch.set_fill(fill != "none")
    if dash := element.get("stroke-dasharray"):
        patch.set_linestyle((0, tuple(float(length) * scale for length in dash.split())))
    return patch


def _colour(colour: str) -> str:
    return "black" if colour == "currentColor" else colour


def _outline(text: str) -> Outline:
    """The lines of a path of the commands M, L and Z."""
    points: list[tuple[float, float]] = []
    codes: list[int] = []
    for command, pair in re.findall(r"([MLZ])([^MLZ]*)", text):
        codes.append(int({"M": Outline.MOVETO, "L": Outline.LINETO, "Z": Outline.CLOSEPOLY}[command]))
        x, y = map(float, pair.split()) if pair else points[-1]
        points.append((x, y))
    return Outline(points, codes)
