"""`data import-lists FILE`: a list of another project as a published list, or as a table with class names."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from harness.data.files.inventory import Inventory
from harness.data.folders.class_ids import named
from harness.data.folders.tables import SPLIT_NAMES
from harness.data.lists.class_names import FORMS, read_class_names
from harness.data.lists.grammar import Row
from harness.data.official.foreign_lists import OtherList, other_list, read_rows, recognise

TABLES = "tables"
"""Folder below the lists folder that holds imported tables."""


class TableJson(TypedDict):
    """JSON form of an `ImportedTable`."""

    table: str
    rows: int
    classes: int
    dataset: str
    found: int | None
    missing: list[str]


@dataclass(frozen=True)
class ImportedTable:
    """A list of another project that was written as a table of paths and class names.

    Args:
        table: The table.
        source: Description of the list.
        videos: Folder of its videos; None if it was not given.
        missing: Paths of the list without a video below `videos`.
    """

    table: Path
    source: OtherList
    videos: Path | None = None
    missing: tuple[str, ...] = ()

    def text(self) -> str:
        """The list, its videos and the arguments that use it, in three lines."""
        name = self.table.stem
        lines = [f"not a published list: {self.source.facts()}", f"written with class names to {self.table}"]
        if self.videos is not None:
            found = self.source.rows - len(self.missing)
            absent = f"; missing: {', '.join(self.missing[:3])}" if self.missing else ""
            lines.append(f"videos found: {found:,} of {self.source.rows:,} in {self.videos}{absent}")
        return "\n".join([*lines, f"use it with: --dataset {self.table} --data {name}={self.videos or 'DIR'}"])

    def as_dict(self) -> TableJson:
        """JSON-ready form."""
        found = None if self.videos is None else self.source.rows - len(self.missing)
        return {
            "table": str(self.table), "rows": self.source.rows, "classes": self.source.classes,
            "dataset": self.source.dataset, "found": found, "missing": list(self.missing),
        }  # fmt: skip


def is_published(file: Path) -> bool:
    """Whether a file holds the clips and labels of a published list.

    Raises:
        UserError: The file is not a list of clips and class ids.
    """
    return recognise(_rows(file), file.name) is not None


def import_table(file: Path, out: Path, labels: Path | None, videos: Path | None, cache: Path | None) -> ImportedTable:
    """Write a list that is not published as a table of paths and class names.

    Args:
        file: Rows of path and class id, with a blank, comma, semicolon or tab between them.
        out: The lists folder; the table goes to its sub-folder `tables`.
        labels: File of class names by id.
        videos: Folder of the videos; counts those that exist.
        cache: Folder that keeps the index of `videos`.

    Raises:
        UserError: The file is not such a list, an id has no name, or no class names are given.
    """
    rows = _rows(file)
    described = other_list(file, rows, file.parent, ())
    if labels is None:
        near = f" {file.parent / described.labels} has as many names." if described.labels else ""
        hint = f"Give its class names: --labels FILE.{near} {FORMS}"
        raise UserError(f"{file} is not a published list: {described.facts()}.", hint)
    cells = [(f"{file}, row {number}", str(label)) for number, (_, label) in enumerate(rows, 1)]
    names = named(cells, file, read_class_names(labels))
    missing: tuple[str, ...] = ()
    if videos is not None:
        inventory = Inventory.open(videos, cache)
        missing = tuple(path for path, _ in rows if inventory.find(path).file is None)
    # Names like `test` say nothing outside the project's folder.
    name = f"{file.resolve().parent.name}_{file.stem}" if file.stem.lower() in SPLIT_NAMES else file.stem
    table = out / TABLES / f"{name}.csv"
    write_bytes(table, _table(rows, names, SPLIT_NAMES.get(file.stem.lower(), "")))
    return ImportedTable(table, described, videos, missing)


def _rows(file: Path) -> tuple[Row, ...]:
    rows = read_rows(file)
    if rows is None:
        raise UserError(
            f"{file} is not a list of clips and class ids.",
            "Expected UTF-8 rows of a path and an id, with a blank, comma, semicolon or tab between them, or a folder "
            "with such files.",
        )
    return rows


def _table(rows: tuple[Row, ...], names: list[str], side: str) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    split = (side,) if side else ()
    writer.writerow(("path", "class", "split")[: 2 + len(split)])
    writer.writerows((path, name, *split) for (path, _), name in zip(rows, names, strict=True))
    return file.getvalue().encode()
