"""List files of other projects: recognised by their clips and labels, whatever their names, folders and separators."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from harness.base.errors import UserError
from harness.data.files.video_names import is_skipped, is_video
from harness.data.lists.class_names import read_class_names
from harness.data.lists.grammar import Row, base_name
from harness.data.official.cards import OFFICIAL, Card, ListCard, load_card, published_lists

SUFFIXES = (".csv", ".tsv", ".txt")
_LINE = re.compile(r"(?P<path>.*\S)\s*[ ,;\t]\s*(?P<label>[0-9]+)")
_ANNOTATIONS = re.compile(r"(?:.*_test_split[0-9]|(?:train|test)list[0-9]+|classInd)\.txt")
"""Official annotations of HMDB-51 and UCF-101, whose numbers are not class ids from 0."""
_MOST_BYTES = 64 * 2**20
_WORDS = {"hmdb51": "hmdb", "ucf101": "ucf", "k400": "400", "k600": "600", "ssv2": "ssv2"}
"""Part of the names of files of class names, by dataset."""


@dataclass(frozen=True)
class Recognised:
    """A list file that holds the clips and labels of a published list.

    Args:
        source: The file, relative to the folder of its project.
        card: The dataset.
        entry: The published list.
        rows: Its rows in the order of the file, with paths in the form of the dataset's lists.
    """

    source: str
    card: Card
    entry: ListCard
    rows: tuple[Row, ...]

    @cached_property
    def clips(self) -> frozenset[str]:
        """Base names of its clips."""
        return frozenset(base_name(path) for path, _ in self.rows)


@dataclass(frozen=True)
class OtherList:
    """A list file that is not a published list.

    Args:
        file: The file, relative to the folder of its project.
        rows: Number of clips.
        classes: Largest id plus 1.
        dataset: The official dataset in whose form the clips are named; empty if there is none.
        subset_of: A published list that holds all its clips; empty if none is known here.
        labels: A file of class names beside it with as many names; empty if there is none.
    """

    file: str
    rows: int
    classes: int
    dataset: str = ""
    subset_of: str = ""
    labels: str = ""

    def facts(self) -> str:
        """Size and dataset of the list in words."""
        facts = [f"{self.rows:,} clips", f"{self.classes} classes"]
        if self.dataset:
            # Clips of all versions of Kinetics are named alike.
            title = "Kinetics" if self.dataset == "k400" else load_card(self.dataset).title
            facts.append(f"clips of {title}")
        if self.subset_of:
            facts.append(f"all in {self.subset_of}")
        return ", ".join(facts)

    def text(self, folder: Path) -> str:
        """The list on one line, with the arguments that use it as a table.

        Args:
            folder: Folder of its project.
        """
        name = Path(self.file).stem
        labels = folder / self.labels if self.labels else "FILE"
        return (
            f"{self.file}: {self.facts()}. As a table: --dataset {folder / self.file} --data {name}=DIR "
            f"--data-labels {name}={labels}"
        )


def list_files(folder: Path) -> Iterator[Path]:
    """All files of a folder that may be lists, without hidden folders and official annotations."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() in SUFFIXES and not any(map(is_skipped, parts)) and path.is_file():
            yield path


def read_rows(file: Path) -> tuple[Row, ...] | None:
    """The rows of a list `path label` with a blank, comma, semicolon or tab between them; None for any other file."""
    if _ANNOTATIONS.fullmatch(file.name) or file.stat().st_size > _MOST_BYTES:
        return None
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError):
        return None
    rows: list[Row] = []
    for line in filter(None, lines):
        match = _LINE.fullmatch(line)
        if match is None or not (is_video(path := match["path"].strip(' "')) or "/" in path):
            return None
        rows.append((path, int(match["label"])))
    return tuple(rows) or None


def recognise(rows: Sequence[Row], source: str) -> Recognised | None:
    """The published list with the same clips and labels; None if there is none."""
    lines = "".join(sorted(f"{base_name(path)} {label}\n" for path, label in rows))
    found = _by_clips().get(hashlib.sha256(lines.encode()).hexdigest())
    if found is None:
        return None
    card, entry = found
    return Recognised(source, card, entry, tuple((_path_of(path, card, entry), label) for path, label in rows))


@cache
def _by_clips() -> dict[str, tuple[Card, ListCard]]:
    """The published lists by the digest of their clips and labels."""
    cards = [load_card(name) for name in OFFICIAL]
    entries = [(card, entry) for card in cards for entry in card.lists.values() if entry.file in published_lists()]
    return {published_lists()[entry.file].set_sha256: (card, entry) for card, entry in entries}


def _path_of(path: str, card: Card, entry: ListCard) -> str:
    """A path in the form of the dataset's lists: without class folders, with the side where lists have it."""
    name = path.rpartition("/")[2]
    if not card.folders:
        return name
    sides = [part for part in path.split("/")[:-1] if part in card.folders]
    return f"{sides[-1] if sides else 'val' if 'val' in entry.name else 'train'}/{name}"


def other_list(file: Path, rows: Sequence[Row], folder: Path, known: Sequence[Recognised]) -> OtherList:
    """A description of a list that is not published.

    Args:
        file: The list.
        rows: Its rows.
        folder: Folder of its project.
        known: Published lists of which its clips may be a part.
    """
    classes = max(label for _, label in rows) + 1
    dataset = next((card.name for card in map(load_card, OFFICIAL) if _has_form(rows, card)), "")
    if dataset == "k400" and classes > len(load_card("k400").names):
        dataset = "k600"  # clips of all Kinetics are named alike
    clips = {base_name(path) for path, _ in rows}
    wholes = [other for other in known if clips <= other.clips]
    whole = min(wholes, key=lambda k: len(k.rows)).entry.file if wholes else ""
    labels = _class_file(file, classes, folder, _WORDS.get(dataset, ""))
    return OtherList(
        file.relative_to(folder).as_posix(), len(rows), classes, dataset, whole,
        labels.relative_to(folder).as_posix() if labels else "",
    )  # fmt: skip


def _has_form(rows: Sequence[Row], card: Card) -> bool:
    """Whether the first clips are named like those of a dataset."""
    sides = [f"{side}/" for side in card.folders] or [""]
    return all(any(card.form.match(side + path.rpartition("/")[2]) for side in sides) for path, _ in rows[:20])


def _class_file(file: Path, classes: int, folder: Path, word: str) -> Path | None:
    """A file with `classes` class names: in the folder of a list, else one in the project whose name has the word."""
    beside = [path for path in file.parent.glob("*") if path != file and _class_count(path) == classes]
    if not beside and word:
        beside = [path for path in folder.rglob("*") if word in path.stem.lower() and _class_count(path) == classes]

    def rank(path: Path) -> tuple[bool, float, str]:
        # Sentences of a language model are other class texts than names.
        is_rewritten = "rephrase" in path.stem or "llm" in path.stem
        return not is_rewritten, difflib.SequenceMatcher(None, path.stem, file.stem).ratio(), str(path)

    return max(beside, key=rank, default=None)


@cache
def _class_count(file: Path) -> int:
    """The number of class names of a file; 0 for any other file."""
    if file.suffix.lower() not in (*SUFFIXES, ".json") or not file.is_file() or file.stat().st_size > 2**20:
        return 0
    try:
        return len(read_class_names(file)) if read_rows(file) is None else 0
    except UserError:
        return 0
