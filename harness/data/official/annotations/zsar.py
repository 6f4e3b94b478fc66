"""The K-600 zero-shot splits of ER-ZSAR (ICCV-21): class indices and labelled test clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.base.errors import UserError
from harness.data.lists.rules import Row, Rows
from harness.data.official.annotations.annotation_folder import AnnotationFolder, bad_line, read_lines
from harness.data.official.cards import Card


def has_zsar(folder: AnnotationFolder) -> bool:
    """Whether any of the three files is there."""
    return any(map(folder.find, ("classes620_label_defn.json", "tst_class_idxs.json", "tst_video_metas.jsonl")))


def read_zsar(folder: AnnotationFolder, card: Card) -> dict[str, Rows]:
    """The lists `zs_split1..3`: labelled test clips of each split's 160 classes, without the clips left out upstream.

    Rows are grouped by class id, in file order within a class. The folder of a path is always `test`, K-600's own
    partition; the published folders follow no known rule, so these lists reach acceptance level 3.

    Raises:
        UserError: A file is missing, is not JSON, or its test classes are not the published ones.
    """
    definitions = folder.need("classes620_label_defn.json", page=card.annotations)
    indices = folder.need("tst_class_idxs.json", page=card.annotations)
    metas = folder.need("tst_video_metas.jsonl", page=card.annotations)
    table = _json(definitions)
    if not isinstance(table, list) or not all(isinstance(entry, dict) and "word" in entry for entry in table):
        raise UserError(f"{definitions}: expected a list of objects with the key word.")
    words = [str(entry["word"]) for entry in table]
    clips: list[tuple[str, str]] = []
    for number, line in enumerate(read_lines(metas), 1):
        try:
            entry = json.loads(line)
            clips.append((Path(entry["videoname"]).stem, words[entry["label"]]))
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            raise bad_line(metas, number, line[:80], "an object with videoname and a label below 620") from None
    lists: dict[str, Rows] = {}
    splits = _json(indices)
    if not isinstance(splits, list) or not all(_are_indices(chosen, len(words)) for chosen in splits[:3]):
        raise UserError(f"{indices}: expected lists of class indices below {len(words)}.")
    for split, chosen in enumerate(splits[:3], 1):
        name = f"zs_split{split}"
        names = card.labels(name).names
        if sorted(words[i] for i in chosen) != sorted(names):
            raise UserError(f"{indices}: the classes of split {split} are not the published ones.")
        ids = {word: i for i, word in enumerate(names)}
        rows: list[Row] = [
            (f"test/{clip}.mp4", ids[word])
            for clip, word in clips
            if word in ids and clip not in card.left_out.get(name, frozenset())
        ]
        lists[name] = tuple(sorted(rows, key=lambda row: row[1]))
    return lists


def _are_indices(chosen: Any, classes: int) -> bool:
    return isinstance(chosen, list) and all(type(i) is int and 0 <= i < classes for i in chosen)


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from None
