"""Colours and marker shapes of rows in figures."""

from __future__ import annotations

COLOURS = ("#2d96d2", "#d27800", "#69965a", "#d21ea5", "#961eff", "#d20f2d", "#8778ff", "#877878")
"""Colours of the first rows.

Found by a random search over colours with a contrast of at least 3:1 on the grounds of the light and the dark page. Any
two colours have a CIE 1976 difference of at least 15 for readers with normal vision, protanopia, deuteranopia and
tritanopia (matrices of Machado, Oliveira and Fernandes, 2009, severity 1).
"""

SHAPES = ("circle", "square", "triangle", "diamond", "down", "plus", "cross", "ring")
"""Marker shapes of the first rows: a figure can be read without its colours."""

REST = "#808080"
"""Colour of the rows after the first ones, at 3:1 on both grounds."""

LABELLED = 20
"""Number of rows that have a label in a figure; later rows have only a tooltip."""


def style_of(number: int) -> tuple[str, str]:
    """(colour, shape) of the row with a 0-based number; rows after the palette are grey dots."""
    return (COLOURS[number], SHAPES[number]) if number < len(COLOURS) else (REST, "dot")
