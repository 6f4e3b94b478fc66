"""Reader of the K-600 zero-shot splits of ER-ZSAR (ICCV 2021): class indices and labelled test clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.base.errors import UserError
from harness.data.lists.rules import Row, Rows
from harness.data.official.annotations.annotation_folder import (
    RESTORE,
    AnnotationFolder,
    bad_line,
    read_json,
    read_lines,
)
from harness.data.official.cards import Card


@dataclass(frozen=True)
class _Definition:
    """A class of `classes620_label_defn.json`; the file has further fields."""

    word: str


@dataclass(frozen=True)
class _Clip:
    """A line of `tst_video_metas.jsonl`: file name, and index into the 620 classes; the file has further fields."""

    videoname: str
    label: int


def has_zsar(folder: AnnotationFolder) -> bool:
    """Return whether the folder holds one of the three files."""
    return any(map(folder.find, ("classes620_label_defn.json", "tst_class_idxs.json", "tst_video_metas.jsonl")))


def read_zsar(folder: AnnotationFolder, card: Card) -> dict[str, Rows]:
    """The lists `zs_split1..3`: the labelled test clips of the 160 classes of each split.

    Clips that the published list lacks are left out. Rows are grouped by class id, in file order within a class. The
    folder of a path is always `test`, K-600's own partition. The folders of the published lists follow no known rule,
    so these lists reach acceptance level 3.

    Raises:
        UserError: A file is missing, is not JSON, or its test classes are not the published ones.
    """
    definitions = folder.need("classes620_label_defn.json", page=card.annotations)
    indices = folder.need("tst_class_idxs.json", page=card.annotations)
    metas = folder.need("tst_video_metas.jsonl", page=card.annotations)
    words = [entry.word for entry in read_json(definitions, list[_Definition], "a list of objects with the key word")]
    clips = _read_clips(metas, words)
    splits = read_json(indices, list[list[int]], f"lists of class indices below {len(words)}")[:3]
    if not all(0 <= index < len(words) for split in splits for index in split):
        raise UserError(f"{indices}: expected lists of class indices below {len(words)}.", RESTORE)
    lists: dict[str, Rows] = {}
    for split, class_indices in enumerate(splits, 1):
        name = f"zs_split{split}"
        names = card.labels(name).names
        if sorted(words[i] for i in class_indices) != sorted(names):
            raise UserError(f"{indices}: the classes of split {split} are not the published classes.", RESTORE)
        ids = {word: i for i, word in enumerate(names)}
        left_out = card.left_out.get(name, frozenset())
        rows: list[Row] = [
            (f"test/{clip}.mp4", ids[word]) for clip, word in clips if word in ids and clip not in left_out
        ]
        lists[name] = tuple(sorted(rows, key=lambda row: row[1]))
    return lists


def _read_clips(metas: Path, words: list[str]) -> list[tuple[str, str]]:
    """Base name and class of each test clip, in file order."""
    clips: list[tuple[str, str]] = []
    for number, line in enumerate(read_lines(metas), 1):
        try:
            entry = msgspec.json.decode(line, type=_Clip)
            clips.append((Path(entry.videoname).stem, words[entry.label]))
        except (ValueError, IndexError, RecursionError):
            raise bad_line(metas, number, line[:80], "an object with videoname and a label below 620") from None
    return clips
