"""Contact sheets: for each clip a row of frames below a caption with its predicted classes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from harness.base.atomic import write_bytes

FRAMES = 6
"""Frames of a clip on a sheet."""
MOST_CLIPS = 200
"""Most clips of a sheet: decoders of JPEG refuse pictures of more than 65,535 lines."""
SIDE, GAP, CAPTION = 128, 4, 20
"""Side of a frame, distance and height of a caption in pixels."""


@dataclass(frozen=True)
class SheetRow:
    """A clip on a contact sheet.

    Args:
        caption: The text above the frames.
        frames: (N, H, W, 3) uint8 RGB; None for a clip that was not decoded.
    """

    caption: str
    frames: NDArray[np.uint8] | None


def draw_sheet(rows: Sequence[SheetRow], path: Path) -> None:
    """Draw a contact sheet and write it.

    Args:
        rows: The clips, at most `MOST_CLIPS`.
        path: File to write: .png, .jpg or .jpeg.
    """
    # A font of matplotlib, which is the same on every machine and has the letters of many alphabets.
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 12)
    heights = [CAPTION + (SIDE if row.frames is not None else 0) + GAP for row in rows]
    width = FRAMES * (SIDE + GAP) + GAP
    sheet = Image.new("RGB", (width, sum(heights) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        draw.text((GAP, top), _fitting(row.caption, font, width - 2 * GAP), fill="black", font=font)
        for i, frame in enumerate(() if row.frames is None else row.frames):
            picture = Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            sheet.paste(picture, (GAP + i * (SIDE + GAP), top + CAPTION))
        top += height
    content = io.BytesIO()
    sheet.save(content, "PNG" if path.suffix.lower() == ".png" else "JPEG")
    write_bytes(path, content.getvalue())


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The beginning of a text that fits into a width, on one line."""
    line = " ".join(text.split())
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(f"{line}\N{HORIZONTAL ELLIPSIS}") > width:
        line = line[:-1]
    return f"{line}\N{HORIZONTAL ELLIPSIS}"
