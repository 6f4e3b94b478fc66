"""Common style of the figures that matplotlib draws: PDF, PNG and SVG files for papers and terminals."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from harness.base.atomic import write_bytes
from harness.base.errors import UserError

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
FORMATS = (".png", ".svg", ".pdf")
DPI = 300
_FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Noto Sans")
"""The font of matplotlib, and fonts for other scripts where they are installed."""

# The stubs of matplotlib 3.10 and 3.11 state different types for the names of settings.
_STYLE: dict[Any, Any] = {
    # Type 42 embeds TrueType fonts; publishers refuse the default, Type 3. An SVG keeps its text as text.
    "pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "figure",
    # Names are not formulas: matplotlib would read `$` as the begin of one.
    "text.parse_math": False,
    "font.size": 8.0, "axes.titlesize": 8.0, "axes.labelsize": 8.0, "xtick.labelsize": 7.0, "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "legend.frameon": False, "axes.titlelocation": "left",
    "font.family": "sans-serif", "lines.scale_dashes": False,
}  # fmt: skip


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw with fonts of 7 and 8 points; the global style of matplotlib is restored at the end."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    fonts = [name for name in _FONTS if name in installed]
    with matplotlib.rc_context({**_STYLE, "font.sans-serif": fonts}):
        yield


def write_plot(figure: Figure, path: Path, caption: str = "") -> None:
    """Write a figure; equal figures give equal files.

    Args:
        figure: A figure, drawn within `paper_style`.
        path: File to write; its suffix is one of `FORMATS`.
        caption: Finding of the figure, which the file holds as its description.

    Raises:
        UserError: The suffix is another one.
    """
    check_format(path)
    kind = path.suffix.lower().removeprefix(".")
    # The times and versions that matplotlib would write change with every run.
    left_out = {"pdf": ("CreationDate", "Producer", "Creator"), "png": ("Software",), "svg": ("Date", "Creator")}[kind]
    facts: dict[str, str | None] = dict.fromkeys(left_out)
    if caption:
        facts["Subject" if kind == "pdf" else "Description"] = caption
    content = io.BytesIO()
    with warnings.catch_warnings():
        # A character that no installed font has is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(content, format=kind, dpi=DPI, metadata=facts)
    write_bytes(path, content.getvalue())


def check_format(path: Path, formats: Sequence[str] = FORMATS) -> None:
    """Check that the suffix of a figure's file is one of `formats`.

    Raises:
        UserError: It is another one.
    """
    if path.suffix.lower() not in formats:
        example = path.with_suffix(".png").name if path.name else "figure.png"
        raise UserError(
            f"--out is {path}, expected a file that ends in {', '.join(formats)}.", f"Example: --out {example}"
        )
