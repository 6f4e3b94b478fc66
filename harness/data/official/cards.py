"""Cards of the official datasets and fingerprints of the published files, decoded from `harness/data/assets/`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

import msgspec

from harness.base.errors import unknown_name
from harness.data.lists.clusters import Card as Clusters
from harness.data.lists.clusters import NamedClusters
from harness.data.lists.grammar import PathForm, format_labels
from harness.data.lists.rules import ClassSplit
from harness.spec import LabelSet, ZeroShotTest, lists

LABEL_VARIANTS = ("published", "corrected", "split")
OFFICIAL = lists.OFFICIAL


@dataclass(frozen=True)
class ListCard:
    """A list of an official dataset: its name, its file in the published layout, and the label set of its ids."""

    name: str
    file: str
    labels: str


@dataclass(frozen=True)
class LabelFile:
    """Name of a published label file, and whether every class name in it is quoted."""

    file: str
    quoted: bool = False


@dataclass(frozen=True)
class Card:
    """Description of an official dataset, known before any of its files is read.

    Args:
        name: Name of the dataset, one of `OFFICIAL`.
        title: Display name.
        page: Official download page.
        annotations: The official annotation files, in words.
        layouts: Accepted layouts of the videos, in words.
        form: Spelling of the paths in its lists.
        folders: First parts of its paths, empty where lists are flat.
        source: Dataset of the published zero-shot transfer to this one, or None.
        zero_shot_tests: The lists averaged in that score.
        lists: Lists by name.
        aliases: Further names of lists: `val` is `val1` on HMDB-51 and UCF-101.
        names: Published class names in id order.
        corrected: Class id to true name, where the published name is wrong.
        subsets: Ids into the set `all` for each derived label set, in id order of that set.
        label_files: Published file of each label set.
        left_out: Clips (base names without extension) that the official annotations have and a published list lacks.
        cluster: The clusters of the videos, `none` if they are independent, None if their sources are unknown.
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
    label_files: Mapping[str, LabelFile]
    left_out: Mapping[str, frozenset[str]]
    cluster: Clusters

    @cached_property
    def clusters(self) -> NamedClusters:
        """The clusters of the videos by their names."""
        return NamedClusters(self.cluster, self.names)

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
        """A label set by name. Its variant is `published` if the requested variant changes none of its names.

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
        entry = self.label_files[name]
        eol = "\r\n" if published_labels()[entry.file].eol == "crlf" else "\n"
        return format_labels(self.labels(name).names, eol, entry.quoted)


def split_words(name: str) -> str:
    """A CamelCase name with a blank before each inner capital (`YoYo` is `Yo Yo`); any other name unchanged.

    Source: TC-CLIP, whose numbers on UCF-101 are on such names.
    """
    if " " in name or not name.isalpha():
        return name
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


@dataclass(frozen=True)
class Fingerprint:
    r"""Pinned hashes of a published list; of two K-400 lists only the git blob id is known.

    Args:
        labels: Its label file.
        git_blob: sha1 of `blob <size>\0<bytes>`, git's id of the file.
        rows: Number of rows, 0 where unknown.
        eol: `lf` or `crlf`.
        final_newline: Whether the last row ends in a line end.
        sha256: Of the bytes.
        content_sha256: Of the rows with LF line ends.
        set_sha256: Of the sorted lines `<base name without extension> <label>`.
        order_sha256: Of the same lines in the order of the list.
        counts: Rows of each class.
        class_digests: The first six hex digits of the same digest within each class, joined in id order.
    """

    labels: str
    git_blob: str
    rows: int = 0
    eol: str = "lf"
    final_newline: bool = True
    sha256: str = ""
    content_sha256: str = ""
    set_sha256: str = ""
    order_sha256: str = ""
    counts: tuple[int, ...] = ()
    class_digests: str = ""

    def class_digest(self, label: int) -> str:
        """Six hex digits of the digest of one class."""
        return self.class_digests[6 * label : 6 * label + 6]


@dataclass(frozen=True)
class LabelFingerprint:
    """Pinned hashes of a published label file."""

    classes: int
    eol: str
    sha256: str
    git_blob: str


@dataclass(frozen=True)
class _ListEntry:
    """A list in the file of a card."""

    file: str
    labels: str


@dataclass(frozen=True)
class _TestEntry:
    """A zero-shot test in the file of a card; fields as in `ZeroShotTest`."""

    list: str
    labels: str
    kind: str
    index: int


@dataclass(frozen=True)
class _CardFile:
    """The file of a card, `assets/<name>.json`; fields as in `Card`, `path` names one of the forms of `PathForm`."""

    name: str
    title: str
    page: str
    annotations: str
    layouts: tuple[str, ...]
    path: str
    folders: tuple[str, ...]
    source: str | None
    zero_shot_tests: tuple[_TestEntry, ...]
    lists: Mapping[str, _ListEntry]
    aliases: Mapping[str, str]
    labels: tuple[str, ...]
    corrected: Mapping[int, str]
    subsets: Mapping[str, tuple[int, ...]]
    label_files: Mapping[str, LabelFile]
    left_out: Mapping[str, frozenset[str]] | None = None
    cluster: Clusters = None


@dataclass(frozen=True)
class _FingerprintFile:
    """The file `assets/fingerprints.json`; `full_lists` are not files of the authors, but generated and pinned here."""

    lists: Mapping[str, Fingerprint]
    full_lists: Mapping[str, Fingerprint]
    label_files: Mapping[str, LabelFingerprint]


def _asset(name: str) -> bytes:
    return resources.files("harness.data").joinpath("assets", name).read_bytes()


@cache
def load_card(name: str) -> Card:
    """The card of an official dataset.

    Raises:
        UserError: There is no such official dataset.
    """
    if name not in OFFICIAL:
        raise unknown_name("dataset", name, OFFICIAL)
    raw = msgspec.json.decode(_asset(f"{name}.json"), type=_CardFile)
    return Card(
        name=raw.name,
        title=raw.title,
        page=raw.page,
        annotations=raw.annotations,
        layouts=raw.layouts,
        form=PathForm(raw.path, raw.folders, raw.labels),
        folders=raw.folders,
        source=raw.source,
        zero_shot_tests=tuple(ZeroShotTest(t.list, t.labels, t.kind, t.index) for t in raw.zero_shot_tests),
        lists={key: ListCard(key, entry.file, entry.labels) for key, entry in raw.lists.items()},
        aliases=raw.aliases,
        names=raw.labels,
        corrected=raw.corrected,
        subsets=raw.subsets,
        label_files=raw.label_files,
        left_out=raw.left_out or {},
        cluster=raw.cluster,
    )


@cache
def _fingerprints() -> _FingerprintFile:
    return msgspec.json.decode(_asset("fingerprints.json"), type=_FingerprintFile)


def published_lists() -> Mapping[str, Fingerprint]:
    """The 49 published lists by relative path (`ucf_splits/val1.txt`)."""
    return _fingerprints().lists


@cache
def pinned_lists() -> Mapping[str, Fingerprint]:
    """The published lists, and the lists of all clips of a dataset, which follow from its annotations alone."""
    return {**_fingerprints().lists, **_fingerprints().full_lists}


def published_labels() -> Mapping[str, LabelFingerprint]:
    """The 16 published label files by name."""
    return _fingerprints().label_files
