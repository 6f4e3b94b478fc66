"""Pages of samples beside a board: videos that the two best rows of a table decide differently, confused classes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from reports.anchors import slug
from reports.board_rows import BoardRow, Group
from reports.entries import Entry
from reports.layout import dataset_title, protocol_title
from reports.sample_videos import KINDS, samples_of
from results.measurement import Measurement

FrameReader = Callable[[Measurement, Sequence[str]], Mapping[str, NDArray[np.uint8]]]
"""Gives the frames (T, H, W, 3) of videos of a measurement's evaluation list, by path."""
SAMPLES = "samples"
"""Subfolder of a board with the pages."""
FRAMES, SIDE = 6, 112
"""Frames of a video on a page, and their side in pixels."""
MOST_PAGES = 12


@dataclass(frozen=True)
class SamplePage:
    """A page of samples: file name, title, names of the two rows, and why frames are missing (empty if none is)."""

    file: str
    title: str
    a: str
    b: str
    problem: str


def write_samples(groups: Sequence[Group], folder: Path, frames: FrameReader) -> list[SamplePage]:
    """Write `index.html`, a page for the two best rows of each of the largest tables, and the frames.

    Args:
        groups: Tables of a board.
        folder: The folder `samples` of the board.
        frames: Decodes videos. If the videos of a dataset are not on this machine, its pages have no frames.

    Returns:
        The pages.
    """
    # Rows are sorted: ranked rows first, then by value. Tables of a single repeat have no ranks, and still differences.
    tables = [(group, [row for row in group.rows if row.row]) for group in groups]
    tables = [(group, rows) for group, rows in tables if len(rows) > 1]
    tables.sort(key=lambda item: -len(item[1]))
    pages = []
    for group, rows in tables[:MOST_PAGES]:
        pair = _same_list(rows[0], rows[1])
        if pair is not None:
            pages.append(_page(group, rows[0], rows[1], pair, folder, frames))
    text = _environment().get_template("samples_index.html.jinja").render(pages=pages)
    write_bytes(folder / "index.html", text.encode("utf-8", "replace"))
    return pages


def _same_list(a: BoardRow, b: BoardRow) -> tuple[Entry, Entry] | None:
    """The first records of two rows that measure the same list."""
    by_list = {entry.measurement.evaluation.list.sha256: entry for entry in (b.row.entries if b.row else ())}
    for entry in a.row.entries if a.row else ():
        if (other := by_list.get(entry.measurement.evaluation.list.sha256)) is not None:
            return entry, other
    return None


def _page(
    group: Group, a: BoardRow, b: BoardRow, pair: tuple[Entry, Entry], folder: Path, frames: FrameReader
) -> SamplePage:  # fmt: skip
    found, m = samples_of(*pair), pair[0].measurement
    strips: dict[str, str] = {}
    problem = ""
    try:
        shown = frames(m, found.shown())
        strips = {video: _strip(m, video, array, folder) for video, array in shown.items()}
        if missing := len(found.shown()) - len(strips):
            problem = f"{missing} of {len(found.shown())} videos are missing or cannot be decoded"
    except UserError as error:
        problem = error.message
    listed = m.evaluation.list
    page = SamplePage(
        f"{slug(group.anchor)}.html",
        f"{protocol_title(group.protocol)} on {dataset_title(group.dataset)}, {listed.name}",
        a.name, b.name, problem,
    )  # fmt: skip
    text = _environment().get_template("samples.html.jinja").render(
        page=page, samples=found, kinds=KINDS, strips=strips, board=f"../index.html#{group.anchor}",
        labels=sorted({video.label for video in found.different}), views=m.evaluation.views,
        single=m.evaluation.views == m.evaluation.views.single,
    )  # fmt: skip
    write_bytes(folder / page.file, text.encode("utf-8", "replace"))
    return page


def _strip(m: Measurement, video: str, frames: NDArray[np.uint8], folder: Path) -> str:
    """Write evenly spaced frames side by side as a JPEG; returns its path in the folder."""
    indices = np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).round().astype(int)
    strip = Image.new("RGB", (len(indices) * SIDE, SIDE))
    for position, index in enumerate(indices.tolist()):
        picture = Image.fromarray(frames[index]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        strip.paste(picture, (position * SIDE, 0))
    content = io.BytesIO()
    strip.save(content, "JPEG", quality=80)
    # A hash names the file, because the name of a video can hold any character. Two pages share equal frames.
    identity = f"{m.evaluation.list.dataset}\n{video}\n{m.evaluation.views}\n{m.model.image_size}"
    path = f"frames/{hashlib.sha256(identity.encode('utf-8', 'surrogatepass')).hexdigest()[:20]}.jpg"
    write_bytes(folder / path, content.getvalue())
    return path


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
