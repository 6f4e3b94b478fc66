"""Reader of the Something-Something V2 annotations, in the newer and the older naming.

Files: `labels.json`, `train.json` and `validation.json`, or the same names with the prefix `something-something-v2-`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError
from harness.data.lists.rules import Row, Rows
from harness.data.official.annotations.annotation_folder import RESTORE, AnnotationFolder, check_names, read_json
from harness.data.official.cards import Card

_OLD = "something-something-v2-"
_DIGITS = 6  # class ids of more digits are damage; int() of a very long number would be slow


@dataclass(frozen=True)
class _Item:
    """A video of `train.json` or `validation.json`; the file has further fields."""

    id: str | int
    template: str


def read_ssv2(folder: AnnotationFolder, card: Card) -> dict[str, Rows]:
    """The lists `train` and `val` of the files in the folder, in JSON order, with paths `<id>.webm`.

    Raises:
        UserError: A file is not in the official format, or there is no list.
    """
    labels = folder.find("labels.json", f"{_OLD}labels.json")
    if labels is not None:
        _check_labels(labels, card)
    ids = {name: i for i, name in enumerate(card.names)}
    lists: dict[str, Rows] = {}
    for name, stem in (("train", "train"), ("val", "validation")):
        file = folder.find(f"{stem}.json", f"{_OLD}{stem}.json")
        if file is not None:
            lists[name] = _read_items(file, ids)
    if not lists:
        raise UserError(
            f"{folder.folder} holds neither train.json nor validation.json (nor {_OLD}train.json ...).",
            f"They can be downloaded after registration: {card.page}",
        )
    return lists


def _check_labels(file: Path, card: Card) -> None:
    """Compare the class names of the label file with those of the card."""
    table = read_json(file, dict[str, str], "an object of class names and ids")
    for name, label in table.items():
        if not (label.isascii() and label.isdigit()) or len(label) > _DIGITS:
            raise UserError(f"{file}: the id of {name!r} is {label!r:.80}, expected digits.", RESTORE)
    by_id = sorted(table.items(), key=lambda item: int(item[1]))
    check_names([_class_name(template) for template, _ in by_id], card.names, file, card.title)


def _class_name(template: str) -> str:
    """A template without the brackets around its placeholders: `Pushing [something]` is class `Pushing something`."""
    return template.replace("[", "").replace("]", "")


def _read_items(file: Path, ids: dict[str, int]) -> Rows:
    rows: list[Row] = []
    seen: set[str] = set()
    for number, item in enumerate(read_json(file, list[_Item], "a list of objects with id and template"), 1):
        video, name = str(item.id), _class_name(item.template)
        if not video.isdigit() or video in seen:
            raise UserError(f"{file}, item {number}: id {video!r}, expected digits, and each id once.", RESTORE)
        if name not in ids:
            message = f"{file}, item {number}: template {item.template!r} is not one of the {len(ids)} classes."
            raise UserError(message, RESTORE)
        seen.add(video)
        rows.append((f"{video}.webm", ids[name]))
    return tuple(rows)
