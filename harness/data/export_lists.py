"""`data export-lists`: the lists of a dataset as text files with one line `path label`, and its class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.errors import EXIT_FAILED, UserError
from harness.data.lists.dataset import Dataset
from harness.data.official.cards import OFFICIAL, load_card


@dataclass(frozen=True)
class ExportedList:
    """A list that was written.

    Args:
        name: Name of the list in its dataset.
        file: The file.
        videos: Number of lines.
        labels: Label set of the ids.
        origin: `published`, `generated` or `own`.
    """

    name: str
    file: str
    videos: int
    labels: str
    origin: str


@dataclass(frozen=True)
class ExportReport:
    """Files that were written, and lists that do not exist on this machine with the reason.

    Args:
        lists: Written lists.
        labels: Files of the label sets.
        absent: (list, reason) of the lists that were left out.
        out: Folder of the files.
    """

    lists: tuple[ExportedList, ...]
    labels: tuple[str, ...]
    absent: tuple[tuple[str, str], ...]
    out: str

    def text(self) -> str:
        """The report in a few lines."""
        lines = [f"{item.file}: {item.videos} videos, ids of {item.labels}, {item.origin}" for item in self.lists]
        lines += [f"{file}: class names" for file in self.labels]
        return "\n".join([*lines, *(f"left out: {name}: {reason}" for name, reason in self.absent)])


def export_lists(dataset: Dataset, out: Path, names: Sequence[str] = ()) -> ExportReport:
    """Write lists as `DATASET_LIST.txt`, one line `path label` per video, and label sets as `DATASET_LABELS.csv`.

    Paths are those of the list, relative to the folder of the dataset; labels are class ids from 0. A protocol reads
    such a file as a list of the user, and `data import-lists` the official lists in their published layout.

    Args:
        dataset: The dataset.
        out: Folder of the files.
        names: Lists to write; all lists that exist on this machine if empty.

    Raises:
        UserError: A named list does not exist, no list exists, or a path holds a line break. Nothing is written.
    """
    files: dict[str, bytes] = {}
    exported, absent = [], []
    for name in names or dataset.list_names():
        try:
            listed = dataset.list(name)
        except UserError as error:
            if names:
                raise
            absent.append((name, error.message))
            continue
        if broken := next((path for path in listed.paths if len(path.splitlines()) != 1), None):
            message = f"The path {broken!r} of the list {name} has a line break."
            raise UserError(message, "Rename the file.", EXIT_FAILED)
        labels = label_set_of(dataset, name)
        file = f"{dataset.name}_{listed.name}.txt"
        files[file] = "".join(f"{path} {label}\n" for path, label in listed.rows).encode()
        exported.append(ExportedList(name, file, len(listed), labels, listed.origin))
    if not exported:
        raise UserError(f"{dataset.name} has no list on this machine: {absent[0][1] if absent else 'none is defined'}")
    label_files = {}
    for labels in dict.fromkeys(item.labels for item in exported):
        lines = [f"{i},{_quoted(name)}\n" for i, name in enumerate(dataset.labels(labels).names)]
        label_files[f"{dataset.name}_{labels}.csv"] = "".join(["id,name\n", *lines]).encode()
    # Collected before the first is written, so that an error leaves no part of them.
    for name, content in {**files, **label_files}.items():
        write_bytes(out / name, content)
    return ExportReport(tuple(exported), tuple(label_files), tuple(absent), str(out))


def label_set_of(dataset: Dataset, name: str) -> str:
    """Name of the label set whose ids a list has."""
    if dataset.name in OFFICIAL:
        return load_card(dataset.name).find_list(name).labels
    return name.partition("_")[0] if name.startswith(("base_", "novel_")) else "all"


def _quoted(name: str) -> str:
    """A class name as a CSV cell."""
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\r\n') else name
