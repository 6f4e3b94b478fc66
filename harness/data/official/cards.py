"""Declarative cards of the official datasets and the fingerprints of the published files, read from `assets/`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from harness.base.errors import unknown_name
from harness.data.lists.grammar import PathForm, format_labels
from harness.data.lists.rules import ClassSplit
from harness.spec import LabelSet, ZeroShotTest

LABEL_VARIANTS = ("published", "corrected", "split")
OFFICIAL = ("k400", "k600", "hmdb51", "ucf101", "ssv2")


@dataclass(frozen=True)
class ListCard:
    """Where a list stands in the published layout, and the label set of its ids."""

    name: str
    file: str
    labels: str


@dataclass(frozen=True)
class Card:
    """What is known of an official dataset before any of its files is read.

    Args:
        name, title, page: Identity, display name, official download page.
        annotations: The official annotation files, in words.
        layouts: Accepted layouts of the videos, in words.
        form: How paths in its lists are spelt.
        folders: First parts of its paths, empty where lists are flat.
        source: Dataset of the published zero-shot transfer to this one, or None.
        zero_shot_tests: The lists averaged in that score.
        lists: By name. `aliases` are further names: `val` is `val1` on HMDB-51 and UCF-101.
        label_sets: Published label sets by name.
        corrected: Class id to true name, where the published name is wrong.
        subsets: Ids into the set `all` for each derived label set, in id order of that set.
        label_files: Published file of each label set, and whether it quotes every name.
        left_out: Clips (base names without extension) that the official annotations have and a published list lacks.
    """

    name: str
    title: str
    page: str
    annotations: str
    layouts: tuple[str, ...]
    form: PathForm
    folders: tuple[str, ...]
    source: str | None
    zero_shot_tests: tuple[ZeroShotTest, ...]
    lists: Mapping[str, ListCard]
    aliases: Mapping[str, str]
    names: tuple[str, ...]
    corrected: Mapping[int, str]
    subsets: Mapping[str, tuple[int, ...]]
    label_files: Mapping[str, tuple[str, bool]]
    left_out: Mapping[str, frozenset[str]]

    @property
    def split(self) -> ClassSplit:
        """The published base and novel class ids (pinned: on K-400 the border depends on a few clips)."""
        return ClassSplit(self.subsets["base"], self.subsets["novel"])

    def find_list(self, name: str) -> ListCard:
        """The card of a list by name or alias.

        Raises:
            UserError: The dataset defines no such list.
        """
        name = self.aliases.get(name, name)
        if name not in self.lists:
            raise unknown_name(f"list of {self.name}", name, [*self.lists, *self.aliases])
        return self.lists[name]

    def labels(self, name: str, variant: str = "published") -> LabelSet:
        """A label set by name; a variant that changes no name of it is `published`.

        Args:
            name: `all`, or one of the derived sets.
            variant: `corrected` puts true names in place of wrong ones (HMDB-51), `split` puts blanks between words
                that are run together (UCF-101: `ApplyEyeMakeup` is `Apply Eye Makeup`).

        Raises:
            UserError: The dataset has no such label set.
        """
        if name != "all" and name not in self.subsets:
            raise unknown_name(f"label set of {self.name}", name, ["all", *self.subsets])
        ids = range(len(self.names)) if name == "all" else self.subsets[name]
        published = tuple(self.names[label] for label in ids)
        names = published
        if variant == "corrected":
            names = tuple(self.corrected.get(label, self.names[label]) for label in ids)
        elif variant == "split":
            names = tuple(map(split_words, published))
        return LabelSet(names, variant if names != published else "published")

    def label_bytes(self, name: str) -> bytes:
        """The published label file of a label set, byte for byte."""
        file, quoted = self.label_files[name]
        eol = "\r\n" if published_labels()[file].eol == "crlf" else "\n"
        return format_labels(self.labels(name).names, eol, quoted)


def split_words(name: str) -> str:
    """A CamelCase name with a blank before each inner capital: `YoYo` is `Yo Yo`; any other name as it is.

    Source: TC-CLIP, whose numbers on UCF-101 are on such names.
    """
    if " " in name or not name.isalpha():
        return name
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


@dataclass(frozen=True)
class Fingerprint:
    r"""What is pinned of a published list; of two K-400 lists only the git blob id is known.

    Args:
        labels: Its label file.
        git_blob: sha1 of `blob <size>\0<bytes>`, git's id of the file.
        rows, eol, final_newline: Shape of the file; rows is 0 where unknown.
        sha256: Of the bytes.
        content_sha256: Of the rows with LF line ends.
        set_sha256: Of the sorted lines `<base name without extension> <label>`.
        counts: Rows of each class.
        class_digests: The same digest within each class, six hex digits each.
    """

    labels: str
    git_blob: str
    rows: int = 0
    eol: str = "lf"
    final_newline: bool = True
    sha256: str = ""
    content_sha256: str = ""
    set_sha256: str = ""
    counts: tuple[int, ...] = ()
    class_digests: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelFingerprint:
    """What is pinned of a published label file."""

    classes: int
    eol: str
    sha256: str
    git_blob: str


def _asset(name: str) -> Any:
    return json.loads(resources.files("harness.data").joinpath("assets", name).read_text(encoding="utf-8"))


@cache
def load_card(name: str) -> Card:
    """The card of an official dataset.

    Raises:
        UserError: There is no such official dataset.
    """
    if name not in OFFICIAL:
        raise unknown_name("dataset", name, OFFICIAL)
    raw = _asset(f"{name}.json")
    return Card(
        name=raw["name"],
        title=raw["title"],
        page=raw["page"],
        annotations=raw["annotations"],
        layouts=tuple(raw["layouts"]),
        form=PathForm(raw["path"], raw["folders"], raw["labels"]),
        folders=tuple(raw["folders"]),
        source=raw["source"],
        zero_shot_tests=tuple(
            ZeroShotTest(t["list"], t["labels"], t["kind"], t["index"]) for t in raw["zero_shot_tests"]
        ),
        lists={key: ListCard(key, value["file"], value["labels"]) for key, value in raw["lists"].items()},
        aliases=raw["aliases"],
        names=tuple(raw["labels"]),
        corrected={int(key): value for key, value in raw["corrected"].items()},
        subsets={key: tuple(value) for key, value in raw["subsets"].items()},
        label_files={key: (value["file"], value.get("quoted", False)) for key, value in raw["label_files"].items()},
        left_out={key: frozenset(value) for key, value in raw.get("left_out", {}).items()},
    )


@cache
def published_lists() -> Mapping[str, Fingerprint]:
    """The 49 published lists by relative path (`ucf_splits/val1.txt`)."""
    prints: dict[str, Fingerprint] = {}
    for file, raw in _asset("fingerprints.json")["lists"].items():
        digests = raw.pop("class_digests", "")
        prints[file] = Fingerprint(
            **{**raw, "counts": tuple(raw.get("counts", ()))},
            class_digests=tuple(digests[i : i + 6] for i in range(0, len(digests), 6)),
        )
    return prints


@cache
def published_labels() -> Mapping[str, LabelFingerprint]:
    """The 16 published label files by name."""
    return {file: LabelFingerprint(**raw) for file, raw in _asset("fingerprints.json")["label_files"].items()}
