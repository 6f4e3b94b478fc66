"""Class names of a custom dataset whose table or folders give ids: from a file of class names."""

from __future__ import annotations

from pathlib import Path

from harness.base.errors import UserError, unknown_name
from harness.base.text_files import composed
from harness.data.folders.clip import GivenFiles
from harness.data.lists.class_names import FORMS, read_class_names
from harness.spec import LabelSet

_SUFFIXES = (".csv", ".txt", ".json", ".tsv")


def labels_of(dataset: Path, given: GivenFiles) -> LabelSet | None:
    """The classes of the given file, or of the file beside the dataset; None without one.

    A table `clips.csv` has its names in `clips.labels.csv` (or .txt, .json, .tsv) beside it, a folder in `labels.csv`.

    Raises:
        UserError: The file is not one of class names.
    """
    file = given.labels or labels_file(dataset)
    return read_class_names(file) if file is not None else None


def labels_file(dataset: Path) -> Path | None:
    """The file of class names beside a table or in a folder, if there is one."""
    folder, stem = (dataset, "labels") if dataset.is_dir() else (dataset.parent, f"{dataset.stem}.labels")
    return next((file for suffix in _SUFFIXES if (file := folder / f"{stem}{suffix}").is_file()), None)


def named(cells: list[tuple[str, str]], dataset: Path, labels: LabelSet | None) -> list[str]:
    """The class name of each cell of a table, or of each folder.

    Args:
        cells: Position in the dataset, for messages, and name or id of a class.
        dataset: The folder or the table.
        labels: Classes by id, if the user gives them.

    Raises:
        UserError: The cells are ids without names, or a class is not in `labels`.
    """
    are_ids = bool(cells) and all(cell.isdecimal() for _, cell in cells)
    if not are_ids:
        if labels is None:
            return [cell for _, cell in cells]
        for where, cell in cells:
            if composed(cell) not in labels.names:
                unknown = unknown_name("class", cell, labels.names)
                raise UserError(f"{where}: {unknown.message}", unknown.hint)
        return [composed(cell) for _, cell in cells]
    ids = [int(cell) for _, cell in cells]
    name = dataset.stem if dataset.is_file() else dataset.resolve().name
    if labels is None:
        beside = f"{name}.labels.csv beside the table" if dataset.is_file() else "labels.csv in the folder"
        raise UserError(
            f"{dataset}: the classes are numbers ({', '.join(map(str, sorted(set(ids))[:5]))}, ...), expected class "
            "names, of which the class texts are made.",
            f"Give the names of the ids: --data-labels {name}=FILE, or the file {beside}. {FORMS}",
        )
    outside = next((i for i, label in enumerate(ids) if label >= len(labels)), None)
    if outside is not None:
        from_one = " The ids seem to count from 1: subtract 1." if min(ids) == 1 and max(ids) == len(labels) else ""
        raise UserError(
            f"{cells[outside][0]}: the class id is {ids[outside]}, expected 0 to {len(labels) - 1}, because the file "
            f"of class names has {len(labels)} names.{from_one}",
            f"Correct the ids, or give another file with --data-labels {name}=FILE.",
        )
    return [labels.names[label] for label in ids]
