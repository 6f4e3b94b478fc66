"""`data prepare`: write every list that the annotations give, in the published layout, with its acceptance level."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from harness.data.files.inventory import Inventory
from harness.data.lists.grammar import format_list, parse_list
from harness.data.official.acceptance import MEANING, Acceptance, compare, published_bytes
from harness.data.official.annotations.annotation_folder import AnnotationFolder
from harness.data.official.cards import Card, ListCard, load_card, pinned_lists
from harness.data.official.generate import Generated, generate


class PreparedListJson(TypedDict):
    """JSON form of a `PreparedList`."""

    name: str
    file: str
    rows: int
    status: str
    level: int | None
    note: str


class PrepareJson(TypedDict):
    """JSON form of a `PrepareReport`."""

    dataset: str
    out: str
    expected: int
    found: int | None
    lists: list[PreparedListJson]


@dataclass(frozen=True)
class PreparedList:
    """The outcome of `prepare` for one list.

    Args:
        name: Name of the list in the dataset.
        file: Its file in the published layout.
        rows: Number of rows, 0 where the list could not be generated.
        status: `written`, `kept` (the folder already held the verified published file) or `absent`.
        acceptance: Comparison with the published list; None where no list of that name was published.
        note: The reason of an absent list, or the differences from the published one.
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

    def as_dict(self) -> PreparedListJson:
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
    """All lists of a dataset after `prepare`.

    Args:
        dataset: Name of the dataset.
        out: Folder to which the lists were written.
        lists: One entry for each list of the dataset.
        expected: Number of distinct clips in the written lists.
        found: Number of these clips below the videos folder; None without a videos folder.
    """

    dataset: str
    out: Path
    lists: tuple[PreparedList, ...]
    expected: int
    found: int | None

    def table(self) -> str:
        """A Markdown table of list, file, rows, level and note."""
        lines = ["| list | file | rows | level | note |", "| --- | --- | --- | --- | --- |"]
        for row in self.lists:
            rows = f"{row.rows:,}" if row.rows else "-"
            lines.append(f"| {row.name} | `{row.file}` | {rows} | {row.level_text} | {row.note} |")
        return "\n".join(lines)

    def as_dict(self) -> PrepareJson:
        """JSON-ready form."""
        return {
            "dataset": self.dataset,
            "out": str(self.out),
            "expected": self.expected,
            "found": self.found,
            "lists": [row.as_dict() for row in self.lists],
        }


def levels_text() -> str:
    """Meaning of the four acceptance levels, one level per line."""
    return "\n".join(f"{level}: {meaning}" for level, meaning in MEANING.items())


def prepare(
    name: str, annotations: Path, out: Path, videos: Path | None = None, cache: Path | None = None
) -> PrepareReport:
    """Generate the lists of an official dataset, write them and compare them with the published ones.

    Files get the published relative names (`base2novel_splits/ucf_splits/fs_base_s1_train.txt`), the label files go to
    `labels/`. A file that already equals the published one byte for byte is never replaced.

    Args:
        name: `k400`, `k600`, `hmdb51`, `ucf101` or `ssv2`.
        annotations: Folder with the official annotation files, sub-folders included.
        out: Folder to which the lists are written.
        videos: Root of the videos. Optional; restricts the Kinetics training lists to the videos on disk.
        cache: Folder that keeps the index of `videos`.

    Raises:
        UserError: The dataset is unknown, or its annotations are missing or damaged.
    """
    card = load_card(name)
    folder = AnnotationFolder(annotations)
    inventory = Inventory.open(videos, cache) if videos is not None else None
    on_disk = None if inventory is None else lambda path: inventory.find(path).file is not None
    generated = generate(card, folder, on_disk)
    lists = tuple(_write(card, entry, generated, out) for entry in card.lists.values())
    for labels, entry in card.label_files.items():
        write_bytes(out / "labels" / entry.file, card.label_bytes(labels))
    paths = {path for rows in generated.lists.values() for path, _ in rows}
    present = None if inventory is None else sum(inventory.find(path).file is not None for path in paths)
    return PrepareReport(name, out, lists, len(paths), present)


def _write(card: Card, entry: ListCard, generated: Generated, out: Path) -> PreparedList:
    target = out / entry.file
    rows = generated.lists.get(entry.name)
    pinned = pinned_lists().get(entry.file)
    if pinned is not None and target.is_file():
        classes = len(card.labels(entry.labels))
        try:
            data = target.read_bytes()
            present = parse_list(data, target, classes, card.form)
            acceptance = compare(present, data, pinned)
        except UserError:  # a damaged file is replaced like any other that is not the published one
            present, acceptance = (), Acceptance(None)
        if acceptance.level == 1:
            return PreparedList(entry.name, entry.file, len(present), "kept", acceptance, "published file, verified")
    if rows is None:
        return PreparedList(entry.name, entry.file, 0, "absent", None, generated.reasons[entry.name])
    if pinned is None:
        write_bytes(target, format_list(rows))
        return PreparedList(entry.name, entry.file, len(rows), "written", None, "")
    data = published_bytes(rows, pinned)
    write_bytes(target, data)
    acceptance = compare(rows, data, pinned)
    return PreparedList(entry.name, entry.file, len(rows), "written", acceptance, acceptance.note)
