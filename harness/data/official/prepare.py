"""`data prepare`: write every derivable list of a dataset in the published layout, and say how near each is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from harness.data.files.inventory import Inventory
from harness.data.lists.grammar import format_list, parse_list
from harness.data.lists.rules import Rows
from harness.data.official.acceptance import MEANING, Acceptance, compare, published_bytes
from harness.data.official.annotations.annotation_folder import AnnotationFolder
from harness.data.official.cards import Card, ListCard, load_card, published_lists
from harness.data.official.generate import generate


@dataclass(frozen=True)
class PreparedList:
    """What became of one list.

    Args:
        name, file: Its name in the dataset and in the published layout.
        rows: Its rows, 0 where it could not be generated.
        status: `written`, `kept` (a verified published file was there already) or `absent`.
        acceptance: How near it is to the published list; None where nothing of that name was published.
        note: Why it is absent, or what differs.
    """

    name: str
    file: str
    rows: int
    status: str
    acceptance: Acceptance | None
    note: str

    @property
    def level_text(self) -> str:
        """The acceptance level as printed in tables."""
        if self.status == "absent":
            return "-"
        if self.acceptance is None:
            return "not published"
        return str(self.acceptance.level) if self.acceptance.level else "unverified"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        level = self.acceptance.level if self.acceptance else None
        return {
            "name": self.name,
            "file": self.file,
            "rows": self.rows,
            "status": self.status,
            "level": level,
            "note": self.note,
        }


@dataclass(frozen=True)
class PrepareReport:
    """All lists of a dataset after `prepare`, with where they were written and how many of their clips are on disk.

    Args:
        found, expected: Distinct clips of the written lists that lie under the videos folder; None without one.
    """

    dataset: str
    out: Path
    lists: tuple[PreparedList, ...]
    expected: int
    found: int | None

    def table(self) -> str:
        """A Markdown table of list, rows and level, followed by what the levels mean."""
        lines = ["| list | file | rows | level | note |", "| --- | --- | --- | --- | --- |"]
        for row in self.lists:
            rows = f"{row.rows:,}" if row.rows else "-"
            lines.append(f"| {row.name} | `{row.file}` | {rows} | {row.level_text} | {row.note} |")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "dataset": self.dataset,
            "out": str(self.out),
            "expected": self.expected,
            "found": self.found,
            "lists": [row.as_dict() for row in self.lists],
        }


def levels_text() -> str:
    """What the four acceptance levels mean, one a line."""
    return "\n".join(f"{level}: {meaning}" for level, meaning in MEANING.items())


def prepare(
    name: str, annotations: Path, out: Path, videos: Path | None = None, cache: Path | None = None
) -> PrepareReport:
    """Generate the lists of an official dataset, write them and compare them with the published ones.

    Files get the published relative names (`base2novel_splits/ucf_splits/fs_base_s1_train.txt`), the label files go to
    `labels/`. A file already there that equals the published one is never replaced by a lesser one.

    Args:
        name: `k400`, `k600`, `hmdb51`, `ucf101` or `ssv2`.
        annotations: Folder with the official annotation files, sub-folders included.
        out: Folder to write to.
        videos: Root of the videos. Optional; restricts the Kinetics training lists to what is there.
        cache: Folder that keeps the index of `videos`.

    Raises:
        UserError: Unknown dataset, missing or damaged annotations.
    """
    card = load_card(name)
    folder = AnnotationFolder(annotations)
    inventory = Inventory.open(videos, cache) if videos is not None else None
    made = generate(card, folder, None if inventory is None else lambda path: inventory.find(path).file is not None)
    lists = tuple(_write(card, entry, made.lists.get(key), out, made.reasons) for key, entry in card.lists.items())
    for labels, (file, _) in card.label_files.items():
        write_bytes(out / "labels" / file, card.label_bytes(labels))
    paths = {path for rows in made.lists.values() for path, _ in rows}
    found = None if inventory is None else sum(inventory.find(path).file is not None for path in paths)
    return PrepareReport(name, out, lists, len(paths), found)


def _write(card: Card, entry: ListCard, rows: Rows | None, out: Path, reasons: dict[str, str]) -> PreparedList:
    target = out / entry.file
    pinned = published_lists().get(entry.file)
    if pinned is not None and target.is_file():
        classes = len(card.labels(entry.labels))
        try:
            data = target.read_bytes()
            there = parse_list(data, target, classes, card.form)
            acceptance = compare(there, data, pinned)
        except UserError:
            there, acceptance = (), Acceptance(None)
        if acceptance.level == 1:
            return PreparedList(entry.name, entry.file, len(there), "kept", acceptance, "published file, verified")
    if rows is None:
        return PreparedList(entry.name, entry.file, 0, "absent", None, reasons[entry.name])
    if pinned is None:
        write_bytes(target, format_list(rows))
        return PreparedList(entry.name, entry.file, len(rows), "written", None, "")
    data = published_bytes(rows, pinned)
    write_bytes(target, data)
    acceptance = compare(rows, data, pinned)
    return PreparedList(entry.name, entry.file, len(rows), "written", acceptance, acceptance.note)
