"""`data import-lists`: copy list and label files of the authors or of another project, verified by fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from harness.data.lists.grammar import Row, parse_labels, parse_list
from harness.data.official.acceptance import MEANING, compare, published_bytes
from harness.data.official.cards import OFFICIAL, Card, ListCard, load_card, published_labels, published_lists
from harness.data.official.foreign_lists import OtherList, Recognised, list_files, other_list, read_rows, recognise

_SHOWN = 10


class OtherListJson(TypedDict):
    """JSON form of an `OtherList`."""

    file: str
    rows: int
    classes: int
    dataset: str
    subset_of: str
    labels: str


class ImportJson(TypedDict):
    """JSON form of an `ImportReport`."""

    lists: list[str]
    labels: list[str]
    missing: list[str]
    missing_labels: list[str]
    levels: dict[str, int]
    sources: dict[str, str]
    others: list[OtherListJson]
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
        levels: Acceptance level of each list.
        sources: File of each list that has another name in the folder.
        others: Lists in the folder that are not published lists.
        folder: The folder.
    """

    lists: tuple[str, ...]
    labels: tuple[str, ...]
    missing: tuple[str, ...]
    missing_labels: tuple[str, ...]
    out: Path
    levels: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    others: tuple[OtherList, ...] = ()
    folder: Path = Path()

    def text(self) -> str:
        """The report in a few lines."""
        lines = [f"{len(self.lists)} lists and {len(self.labels)} label files verified and copied to {self.out}"]
        lines += [f"from another file: {file} is {source}" for file, source in self.sources.items()]
        lines += [f"level {level} ({MEANING[level]}): {file}" for file, level in self.levels.items() if level > 2]
        lines += [f"missing: {file} (git blob {published_lists()[file].git_blob})" for file in self.missing]
        if len(self.missing_labels) > 3:
            lines.append(f"missing label files: {len(self.missing_labels)}; the package holds their class names")
        else:
            lines += [f"missing label file: {file}" for file in self.missing_labels]
        if self.others:
            lines.append(f"{len(self.others)} other lists, not published and not copied:")
            lines += [f"  {other.text(self.folder)}" for other in self.others[:_SHOWN]]
            if len(self.others) > _SHOWN:
                lines.append(f"  and {len(self.others) - _SHOWN} more, all in --json")
        return "\n".join(lines)

    def as_dict(self) -> ImportJson:
        """JSON-ready form."""
        return {
            "lists": list(self.lists),
            "labels": list(self.labels),
            "missing": list(self.missing),
            "missing_labels": list(self.missing_labels),
            "levels": dict(self.levels),
            "sources": dict(self.sources),
            "others": [
                {
                    "file": other.file, "rows": other.rows, "classes": other.classes, "dataset": other.dataset,
                    "subset_of": other.subset_of, "labels": other.labels,
                }
                for other in self.others
            ],
            "out": str(self.out),
        }  # fmt: skip


@dataclass(frozen=True)
class _Accepted:
    """A published list in a folder, ready to be written.

    Args:
        data: The bytes to write.
        level: Acceptance level.
        source: Its file, relative to the folder; empty where it is the published name.
    """

    data: bytes
    level: int
    source: str = ""


def import_lists(folder: Path, out: Path) -> ImportReport:
    """Verify and copy the published lists and label files of the authors' repository or of another project.

    Files in the published layout are found by name; each must hold the published clips and labels. In a folder of
    another layout, lists are found by their clips and labels, whatever their names and separators. Nothing is copied
    if a file is refused. A list of level 3 never replaces a list of level 1 or 2 in `out`.

    Args:
        folder: The checkout, its `datasets_splits`, any folder in the published relative layout, or another folder
            with lists, or a single list file.
        out: Folder in which the harness looks for lists: the setting `lists`.

    Raises:
        UserError: The folder holds no list, or a damaged one; the message names file, line and rule.
    """
    # All files are verified before the first is written: a refused folder leaves `out` unchanged.
    roots = [root for root in (folder / "datasets_splits", folder) if root.is_dir()]
    accepted: dict[str, _Accepted] = {}
    rows_of: list[Recognised] = []
    seen: set[Path] = set()
    for card in map(load_card, OFFICIAL):
        for entry in card.lists.values():
            file = _first(roots, entry.file)
            if entry.file in published_lists() and file is not None:
                seen.add(file)
                rows, accepted[entry.file] = _verified_list(card, entry, file)
                rows_of.append(Recognised(entry.file, card, entry, rows))
    labels: dict[str, bytes] = {}
    for card in map(load_card, OFFICIAL):
        for name, label_file in card.label_files.items():
            file = _first([folder / "labels", folder.parent / "labels", folder], label_file.file)
            if file is not None:
                labels[label_file.file] = _verified_labels(card, name, file)
    others = _by_content(folder, seen, accepted, rows_of)
    if not accepted and not others:
        raise UserError(
            f"{folder} holds none of the {len(published_lists())} published lists, e.g. ucf_splits/val1.txt, and no "
            "other list of clips and class ids.",
            "Give a checkout of github.com/muzairkhattak/ViFi-CLIP, its folder datasets_splits, or a checkout of a "
            "project that uses its lists.",
        )
    for relative, chosen in accepted.items():
        if chosen.level < 3 or not _is_better(out / relative, relative):
            write_bytes(out / relative, chosen.data)
    for name, data in labels.items():
        write_bytes(out / "labels" / name, data)
    return ImportReport(
        lists=tuple(sorted(accepted)),
        labels=tuple(sorted(labels)),
        missing=tuple(sorted(set(published_lists()) - set(accepted))),
        missing_labels=tuple(sorted(set(published_labels()) - set(labels))),
        out=out,
        levels={file: accepted[file].level for file in sorted(accepted)},
        sources={file: accepted[file].source for file in sorted(accepted) if accepted[file].source},
        others=others,
        folder=folder,
    )


def _by_content(
    folder: Path, seen: set[Path], accepted: dict[str, _Accepted], known: list[Recognised]
) -> tuple[OtherList, ...]:
    """Find the lists of other names in a folder; add those that are published, and return the others.

    Args:
        folder: The folder.
        seen: Files that were found by their published names.
        accepted: Published lists by published name; a list of a better level replaces one of a worse level.
        known: Published lists with their rows.
    """
    others: list[tuple[Path, tuple[Row, ...]]] = []
    for file in [folder] if folder.is_file() else list_files(folder):
        rows = read_rows(file) if file not in seen else None
        if rows is None:
            continue
        source = file.name if file == folder else file.relative_to(folder).as_posix()
        found = recognise(rows, source)
        if found is None:
            others.append((file, rows))
            continue
        known.append(found)
        pinned = published_lists()[found.entry.file]
        data = published_bytes(found.rows, pinned)
        # `recognise` compared clips and labels, which is level 3.
        level = compare(found.rows, data, pinned).level or 3
        if found.entry.file not in accepted or level < accepted[found.entry.file].level:
            accepted[found.entry.file] = _Accepted(data, level, source)
    return tuple(other_list(file, rows, folder, known) for file, rows in others)


def _is_better(file: Path, relative: str) -> bool:
    """Whether a file that exists is the published list of level 1 or 2."""
    if not file.is_file():
        return False
    data = file.read_bytes()
    # Git may check text files out with CRLF; the published hash is that of LF line ends.
    return hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest() == published_lists()[relative].content_sha256


def _first(roots: Sequence[Path], relative: str) -> Path | None:
    return next((root / relative for root in roots if (root / relative).is_file()), None)


def _verified_list(card: Card, entry: ListCard, file: Path) -> tuple[tuple[Row, ...], _Accepted]:
    """The rows and bytes of a list file, which has the clips and labels of the published file."""
    data = file.read_bytes()
    rows = parse_list(data, file, len(card.labels(entry.labels)), card.form)
    pinned = published_lists()[entry.file]
    acceptance = compare(rows, data, pinned)
    if acceptance.level is not None and acceptance.is_published:
        return rows, _Accepted(data, acceptance.level)
    hint = (
        "Rule: an imported list holds the clips and labels of the published one. Restore the file from the authors' "
        f"repository, or use another project's list as a table: --dataset {file} --data {file.stem}=DIR "
        f"--data-labels {file.stem}=FILE."
    )
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
