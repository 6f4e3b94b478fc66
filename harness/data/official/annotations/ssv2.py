"""Something-Something V2's `labels.json`, `train.json` and `validation.json`, in the newer and the older naming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.base.errors import UserError
from harness.data.lists.rules import Row, Rows
from harness.data.official.annotations.annotation_folder import AnnotationFolder, check_names
from harness.data.official.cards import Card

_OLD = "something-something-v2-"


def read_ssv2(folder: AnnotationFolder, card: Card) -> dict[str, Rows]:
    """The lists that the files at hand give: `train` and `val` in JSON order, paths `<id>.webm`.

    Raises:
        UserError: A file is not in the official format, or neither list is there.
    """
    labels = folder.find("labels.json", f"{_OLD}labels.json")
    if labels is not None:
        table = _json(labels, dict)
        for name, label in table.items():
            if not isinstance(label, str) or not (label.isascii() and label.isdigit()) or len(label) > 6:
                raise UserError(f"{labels}: the id of {name!r} is {label!r:.80}, expected digits.")
        by_id = sorted(table.items(), key=lambda item: int(item[1]))
        check_names([_class_name(template) for template, _ in by_id], card.names, labels, card.title)
    ids = {name: i for i, name in enumerate(card.names)}
    lists: dict[str, Rows] = {}
    for name, stem in (("train", "train"), ("val", "validation")):
        file = folder.find(f"{stem}.json", f"{_OLD}{stem}.json")
        if file is not None:
            lists[name] = _read_items(file, ids)
    if not lists:
        raise UserError(
            f"{folder.folder} holds neither train.json nor validation.json (nor {_OLD}train.json ...).",
            f"They are handed out after registration: {card.page}",
        )
    return lists


def _class_name(template: str) -> str:
    """A template without the brackets round its placeholders: `Pushing [something]` is class `Pushing something`."""
    return template.replace("[", "").replace("]", "")


def _read_items(file: Path, ids: dict[str, int]) -> Rows:
    rows: list[Row] = []
    seen: set[str] = set()
    for number, item in enumerate(_json(file, list), 1):
        if not isinstance(item, dict) or "id" not in item or "template" not in item:
            raise UserError(f"{file}, item {number}: {str(item)[:80]!r}, expected an object with id and template.")
        video, name = str(item["id"]), _class_name(str(item["template"]))
        if not video.isdigit() or video in seen:
            raise UserError(f"{file}, item {number}: id {video!r}, expected digits, and each id once.")
        if name not in ids:
            raise UserError(f"{file}, item {number}: template {item['template']!r} is none of the {len(ids)} classes.")
        seen.add(video)
        rows.append((f"{video}.webm", ids[name]))
    return tuple(rows)


def _json(file: Path, kind: type) -> Any:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(content, kind):
        raise UserError(f"{file} holds a JSON {type(content).__name__}, expected a {kind.__name__}.")
    return content
