"""The pages of a board: one, or for a long board one for each protocol beside the first page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reports.anchors import slug
from reports.board_rows import Group

INDEX = "index.html"
MOST_ROWS = 1000
"""Number of measured rows up to which a board is one page."""


@dataclass(frozen=True)
class Page:
    """A page of the board.

    Args:
        file: Its file name.
        groups: The tables on the page.
        first: Whether it is the first page, with the overview, methods, datasets and the paper's tables.
        files: For ids on other pages, the file that has them.
    """

    file: str
    groups: tuple[Group, ...]
    first: bool
    files: Mapping[str, str] = field(default_factory=dict)

    def to(self, anchor: str) -> str:
        """The address of an id: a fragment, after the name of the file if the id is on another page."""
        file = self.files.get(anchor, INDEX)
        return f"#{anchor}" if file == self.file else f"{file}#{anchor}"


def pages_of(groups: Sequence[Group]) -> list[Page]:
    """The pages of a board, the first page first; its other pages have the tables of one protocol each."""
    if sum(not group.published and len(group.rows) for group in groups) <= MOST_ROWS:
        return [Page(INDEX, tuple(groups), True)]
    files: dict[str, str] = {}
    for group in groups:
        file = f"{slug('p', group.protocol)}.html"
        ids = [slug("s", group.protocol), slug("s", group.protocol, group.dataset), group.anchor]
        files |= dict.fromkeys((*ids, *(row.anchor for row in group.rows)), file)
    protocols = dict.fromkeys(group.protocol for group in groups)
    pages = [
        Page(f"{slug('p', protocol)}.html", tuple(g for g in groups if g.protocol == protocol), False, files)
        for protocol in protocols
    ]
    return [Page(INDEX, (), True, files), *pages]
