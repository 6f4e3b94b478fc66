"""Base and novel classes that the user gives, instead of those that the published rule derives from the counts.

The files `base_classes.txt` and `novel_classes.txt` lie in the dataset's folder, beside the class folders. For a table
`clips.csv` they are `clips.base_classes.txt` and `clips.novel_classes.txt` beside the table. Each line is a class name;
blank lines do not count. Of a single file, the remaining classes are the other half. Classes in neither file are
evaluated in the column `joint` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import UserError, unknown_name
from harness.base.text_files import composed, read_text
from harness.data.lists.rules import ClassSplit

HALVES = ("base", "novel")


def given_split(dataset: Path, classes: Sequence[str]) -> ClassSplit | None:
    """The base and novel classes of the user's files, in the order of the class ids; None without a file.

    Args:
        dataset: The dataset's folder or table.
        classes: All class names by id.

    Raises:
        UserError: A file cannot be read, or names an unknown class, a class twice or a class of the other file.
    """
    ids = {name: i for i, name in enumerate(classes)}
    given: dict[str, set[int]] = {}
    for half in HALVES:
        file = classes_file(dataset, half)
        if file.exists():
            given[half] = _read(file, ids)
    if not given:
        return None
    everything = set(ids.values())
    base = given["base"] if "base" in given else everything - given["novel"]
    novel = given["novel"] if "novel" in given else everything - given["base"]
    if both := sorted(base & novel):
        raise UserError(
            f"{classes_file(dataset, 'novel')}: {classes[both[0]]!r} is also in {classes_file(dataset, 'base').name}, "
            "expected each class in one of the two files.",
            "Remove it from one of the files.",
        )
    return ClassSplit(tuple(sorted(base)), tuple(sorted(novel)))


def classes_file(dataset: Path, half: str) -> Path:
    """The file of the `base` or the `novel` classes of a folder or a table."""
    name = f"{half}_classes.txt"
    return dataset.with_name(f"{dataset.stem}.{name}") if dataset.is_file() else dataset / name


def _read(file: Path, ids: dict[str, int]) -> set[int]:
    lines = read_text(file, "The file", "Expected UTF-8 text with one class name per line.").splitlines()
    chosen: set[int] = set()
    for number, line in enumerate(lines, 1):
        name = composed(line.strip())
        if not name:
            continue
        if name not in ids:
            unknown = unknown_name("class", name, ids)
            raise UserError(f"{file}, line {number}: {unknown.message}", unknown.hint)
        if ids[name] in chosen:
            raise UserError(
                f"{file}, line {number}: {name!r} is a duplicate, expected each class once.", "Remove the line."
            )
        chosen.add(ids[name])
    return chosen
