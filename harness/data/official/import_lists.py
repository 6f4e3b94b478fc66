"""`data import-lists`: copy the authors' list and label files, each verified against its pinned fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from harness.data.lists.grammar import Row, parse_labels, parse_list
from harness.data.official.acceptance import compare
from harness.data.official.cards import OFFICIAL, Card, ListCard, load_card, published_labels, published_lists


class ImportJson(TypedDict):
    """JSON form of an `ImportReport`."""

    lists: list[str]
    labels: list[str]
    missing: list[str]
    missing_labels: list[str]
    out: str


@dataclass(frozen=True)
class ImportReport:
    """Names of the published files that were verified and copied, and of those that were missing.

    Args:
        lists: Verified lists by their published relative names.
        labels: Verified label files by name.
        missing: Published lists that are not in the folder.
        missing_labels: Published label files that are not in the folder; nothing needs them, because class names are
            part of the package.
        out: Folder to which the files were copied.
    """

    lists: tuple[str, ...]
    labels: tuple[str, ...]
    missing: tuple[str, ...]
    missing_labels: tuple[str, ...]
    out: Path

    def text(self) -> str:
        """The report in a few lines."""
        lines = [f"{len(self.lists)} lists and {len(self.labels)} label files verified and copied to {self.out}"]
        lines += [f"missing: {file} (git blob {published_lists()[file].git_blob})" for file in self.missing]
        lines += [f"missing label file: {file}" for file in self.missing_labels]
        return "\n".join(lines)

    def as_dict(self) -> ImportJson:
        """JSON-ready form."""
        return {
            "lists": list(self.lists),
            "labels": list(self.labels),
            "missing": list(self.missing),
            "missing_labels": list(self.missing_labels),
            "out": str(self.out),
        }


def import_lists(folder: Path, out: Path) -> ImportReport:
    """Verify and copy the published lists and label files of a checkout of the authors' repository.

    Nothing is copied unless every file in the folder equals its published file, line ends aside.

    Args:
        folder: The checkout, its `datasets_splits`, or any folder in the published relative layout.
        out: Folder in which the harness looks for lists: the setting `lists`.

    Raises:
        UserError: The folder holds no published file, or a damaged one; the message names file, line and rule.
    """
    # All files are verified before the first is written: a refused folder leaves `out` unchanged.
    roots = [root for root in (folder / "datasets_splits", folder) if root.is_dir()]
    accepted: dict[str, bytes] = {}
    for card in map(load_card, OFFICIAL):
        for entry in card.lists.values():
            file = _first(roots, entry.file)
            if entry.file in published_lists() and file is not None:
                accepted[entry.file] = _verified_list(card, entry, file)
    labels: dict[str, bytes] = {}
    for card in map(load_card, OFFICIAL):
        for name, label_file in card.label_files.items():
            file = _first([folder / "labels", folder.parent / "labels", folder], label_file.file)
            if file is not None:
                labels[label_file.file] = _verified_labels(card, name, file)
    if not accepted:
        raise UserError(
            f"{folder} holds none of the {len(published_lists())} published lists, e.g. ucf_splits/val1.txt.",
            "Give a checkout of github.com/muzairkhattak/ViFi-CLIP, or its folder datasets_splits.",
        )
    for relative, data in accepted.items():
        write_bytes(out / relative, data)
    for name, data in labels.items():
        write_bytes(out / "labels" / name, data)
    return ImportReport(
        lists=tuple(sorted(accepted)),
        labels=tuple(sorted(labels)),
        missing=tuple(sorted(set(published_lists()) - set(accepted))),
        missing_labels=tuple(sorted(set(published_labels()) - set(labels))),
        out=out,
    )


def _first(roots: Sequence[Path], relative: str) -> Path | None:
    return next((root / relative for root in roots if (root / relative).is_file()), None)


def _verified_list(card: Card, entry: ListCard, file: Path) -> bytes:
    """The bytes of a list file, which equals the published file, line ends aside."""
    data = file.read_bytes()
    rows = parse_list(data, file, len(card.labels(entry.labels)), card.form)
    pinned = published_lists()[entry.file]
    acceptance = compare(rows, data, pinned)
    if acceptance.level in (1, 2):
        return data
    hint = "Rule: an imported list equals the published one. Restore the file from the authors' repository."
    if not pinned.sha256:
        raise UserError(f"{file}, lines 1 to {len(rows)}: its git blob id is not {pinned.git_blob}.", hint)
    if acceptance.changed_classes:
        line = _first_line(rows, acceptance.changed_classes)
        raise UserError(f"{file}, line {line}: {acceptance.note}; the first row of such a class is on this line.", hint)
    difference = acceptance.note or "other content"
    raise UserError(f"{file}, lines 1 to {len(rows)}: {difference}, expected sha256 {pinned.sha256}.", hint)


def _first_line(rows: Sequence[Row], classes: Sequence[int]) -> int:
    chosen = set(classes)
    return next((number for number, (_, label) in enumerate(rows, 1) if label in chosen), 1)


def _verified_labels(card: Card, name: str, file: Path) -> bytes:
    """The bytes of a label file, which equals the published file, line ends and quoting aside."""
    data = file.read_bytes()
    pinned = published_labels()[card.label_files[name].file]
    if hashlib.sha256(data).hexdigest() == pinned.sha256:
        return data
    expected = card.labels(name).names
    names = parse_labels(data, file).names
    for i, (a, b) in enumerate(zip(names, expected, strict=False)):
        if a != b:
            raise UserError(
                f"{file}, line {i + 2}: class {i} is {a!r}, expected the published name {b!r}.",
                "Rule: an imported label file equals the published one. Restore the file; the label-set variant "
                "'corrected' has the corrected names.",
            )
    if len(names) != len(expected):
        raise UserError(
            f"{file}, line {len(names) + 1}: the file ends after {len(names)} classes, expected {len(expected)}.",
            "Rule: an imported label file equals the published one.",
        )
    return data
