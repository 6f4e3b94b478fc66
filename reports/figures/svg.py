"""A writer of SVG elements: text is escaped and follows the colours of the page."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from reports.labels import shorten

Point = tuple[float, float]

TEXT = 11.0
"""Font size of labels in pixels."""
WIDTH, HEIGHT = 560.0, 340.0
"""Size in pixels of figures with two axes on the board."""


@dataclass(frozen=True)
class Figure:
    """A figure of the board.

    Args:
        svg: The `<svg>` element.
        caption: The finding of the figure in a sentence, as plain text.
    """

    svg: str
    caption: str


@dataclass(frozen=True)
class Pen:
    """The style of a line or a shape.

    Args:
        colour: A CSS colour; `currentColor` is the colour of the page's text.
        width: Width of a line in pixels.
        opacity: From 0 to 1.
        dash: Lengths of strokes and gaps in pixels, e.g. `4 3`; empty for a solid line.
    """

    colour: str = "currentColor"
    width: float = 1.0
    opacity: float = 1.0
    dash: str = ""

    @property
    def stroke(self) -> str:
        """The attributes of a line."""
        dash = f' stroke-dasharray="{self.dash}"' if self.dash else ""
        opacity = f' stroke-opacity="{short(self.opacity)}"' if self.opacity < 1 else ""
        return f'fill="none" stroke="{self.colour}" stroke-width="{short(self.width)}"{opacity}{dash}'

    @property
    def fill(self) -> str:
        """The attributes of a filled shape."""
        return f'fill="{self.colour}"' + (f' fill-opacity="{short(self.opacity)}"' if self.opacity < 1 else "")


INK = Pen()
FAINT = Pen(opacity=0.18)


class Drawing:
    """Elements of a figure, in the order in which they are drawn; texts are above all other elements.

    Args:
        width: Width in pixels.
        height: Height in pixels.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._parts: list[str] = []
        # Texts of one anchor are in one group, which names the anchor once.
        self._texts: dict[str, list[str]] = {}
        self._paths: dict[str, int] = {}

    def line(self, points: Sequence[Point], pen: Pen = INK) -> None:
        """Add a line through points. Lines of one pen are one element, in the position of the first of them."""
        path = "M" + "L".join(f"{short(x)} {short(y)}" for x, y in points)
        position = self._paths.setdefault(pen.stroke, len(self._parts))
        if position == len(self._parts):
            self._parts.append(f'<path {pen.stroke} d="{path}"/>')
        else:
            # Without `"/>`, the end of the element so far.
            self._parts[position] = f'{self._parts[position][:-3]}{path}"/>'

    def rectangle(self, x: float, y: float, width: float, height: float, pen: Pen = INK) -> None:
        """Add a filled rectangle with its left upper corner at (x, y)."""
        size = f'width="{short(width)}" height="{short(height)}"'
        self._parts.append(f'<rect x="{short(x)}" y="{short(y)}" {size} {pen.fill}/>')

    def marker(self, point: Point, shape: str, pen: Pen = INK, tooltip: str = "") -> None:
        """Add a marker.

        Args:
            point: Its centre.
            shape: A shape of `reports.figures.palette.SHAPES`, or `dot` for a small circle.
            pen: Colour and opacity.
            tooltip: Text of the tooltip; empty for a marker without one.
        """
        title = f"<title>{clean(tooltip)}</title>" if tooltip else ""
        element, attributes = _shape(point, shape, pen)
        end = f">{title}</{element}>" if title else "/>"
        self._parts.append(f'<{element} class="mark" {attributes}{end}')

    def dots(self, points: Sequence[Point], pen: Pen = INK) -> None:
        """Add small circles of one pen, without tooltips, as one element."""
        if points:
            path = "".join(f"M{short(x)} {short(y)}h0" for x, y in points)
            stroke = Pen(pen.colour, 4.0, pen.opacity).stroke
            self._parts.append(f'<path class="dots" {stroke} stroke-linecap="round" d="{path}"/>')

    def text(self, point: Point, text: str, anchor: str = "start", size: float = TEXT, turn: float = 0.0) -> None:
        """Add a text.

        Args:
            point: Its left, middle or right end on the base line.
            text: The text; control characters are dropped.
            anchor: `start`, `middle` or `end`.
            size: Font size in pixels.
            turn: Rotation in degrees around `point`, clockwise.
        """
        x, y = short(point[0]), short(point[1])
        attributes = f' font-size="{short(size)}"' if size != TEXT else ""
        attributes += f' transform="rotate({short(turn)} {x} {y})"' if turn else ""
        self._texts.setdefault(anchor, []).append(f'<text x="{x}" y="{y}"{attributes}>{clean(text)}</text>')

    def svg(self, description: str) -> str:
        """The `<svg>` element.

        Args:
            description: Text for screen readers.
        """
        size = f'width="{short(self.width)}" height="{short(self.height)}"'
        box = f'viewBox="0 0 {short(self.width)} {short(self.height)}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} role="img" aria-label={attribute(description)}'
        font = f'font-family="system-ui, sans-serif" font-size="{short(TEXT)}" fill="currentColor"'
        texts = [f'<g text-anchor="{anchor}">{"".join(members)}</g>' for anchor, members in self._texts.items()]
        return f"{head} {font}>{''.join(self._parts)}{''.join(texts)}</svg>"


def _shape(point: Point, shape: str, pen: Pen) -> tuple[str, str]:
    """(element name, attributes) of a marker."""
    x, y = point
    if shape in ("circle", "dot", "ring"):
        paint = pen.fill if shape != "ring" else Pen(pen.colour, 2.0, pen.opacity).stroke
        return "circle", f'cx="{short(x)}" cy="{short(y)}" r="{"2" if shape == "dot" else "4"}" {paint}'
    if shape in ("plus", "cross"):
        near, far = (0.0, 5.0) if shape == "plus" else (3.6, 3.6)
        path = (
            f"M{short(x - far)} {short(y - near)}L{short(x + far)} {short(y + near)}"
            f"M{short(x + near)} {short(y - far)}L{short(x - near)} {short(y + far)}"
        )
        return "path", f'd="{path}" {Pen(pen.colour, 2.4, pen.opacity).stroke}'
    corners = {
        "square": ((-4, -4), (4, -4), (4, 4), (-4, 4)), "triangle": ((0, -5), (4.8, 4), (-4.8, 4)),
        "diamond": ((0, -5.4), (5.4, 0), (0, 5.4), (-5.4, 0)), "down": ((0, 5), (4.8, -4), (-4.8, -4)),
    }[shape]  # fmt: skip
    path = "M" + "L".join(f"{short(x + dx)} {short(y + dy)}" for dx, dy in corners) + "Z"
    return "path", f'd="{path}" {pen.fill}'


def text_width(text: str, size: float = TEXT) -> float:
    """An upper estimate of the width of a text in pixels; wide characters, such as Chinese ones, count as two."""
    units = sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
    return 0.56 * size * units


def fitted(text: str, width: float) -> str:
    """A text, shortened if it is wider than `width` pixels."""
    if text_width(text) <= 1.1 * width:  # `text_width` is an upper estimate
        return text
    return shorten(text, max(int(1.1 * width / text_width("x")), 4))


def fitted_names(names: Sequence[str], width: float) -> list[str]:
    """Names, shortened as by `fitted` and still different: shortened names that are equal end in their numbers."""
    short_names = [fitted(name, width) for name in names]
    double = {name for name in short_names if short_names.count(name) > 1}
    return [
        f"{fitted(name, width - text_width(f' #{i}'))} #{i}" if short_name in double else short_name
        for i, (name, short_name) in enumerate(zip(names, short_names, strict=True), 1)
    ]


def short(number: float) -> str:
    """A number with at most one decimal, or two below 1: half the size of a page's figures is digits."""
    text = f"{number:.2f}" if abs(number) < 1 else f"{number:.1f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def clean(text: str) -> str:
    """Escaped text without the characters that XML does not allow."""
    return escape("".join(char for char in text if char.isprintable()))


def attribute(text: str) -> str:
    """A quoted and escaped value of an attribute."""
    return quoteattr("".join(char for char in text if char.isprintable()))
