"""Custom datasets: a folder of class folders, or a table of paths and class names, for every protocol.

All rules are deterministic:
    Clips: video files, and folders of extracted frames (`walk/clip_07/img_00001.jpg`, see `files.frame_folder`).
    Classes: the unchanged folder names (or the table's class names), sorted; the id is the index.
    Stated split: sub-folders `train` and `val` (or `validation`, `test`) of class folders, or the table's column
    `split`. If only `train/` (or only `val/`) exists, only that list exists: `train` can be the source of zero-shot
    transfer, `val` its target.
    Own split, where none is stated: about 30 % of the clips of each class (at least one) become `val`. The groups of
    all clips are shuffled once with the seed and taken whole, until each class has its share. The group of a clip is
    the `gNN` of a UCF-like name (`..._g07_c02`), the rest of a name that begins or ends with its class
    (`daria_walk`, `walk_012`), or else the clip alone. An actor or a source video is therefore never in both lists,
    in whichever classes it occurs.
    Class names of ids: a table or class folders with numbers as classes take them from a file of class names
        (`class_ids`). All classes of this file are in the label set `all`, in its order, also those without a clip.
    Groups of a table: its column `group`, if it has one, replaces the groups by names.
    Base and novel classes are those of the files `base_classes.txt` and `novel_classes.txt` (see `given_classes`), and
    the lists then end in `_given`; without the files they follow the published rule. Each half needs two classes.
    The 16-shot lists follow the published rules. If the smallest base class has fewer than 16 training clips, its size
    replaces 16 and shows in the list's name. Of training subsets with the same clips, only the first is a list.
    `few_shot_K` exists for every K up to the size of the smallest class.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from harness.base.errors import UserError, unknown_name
from harness.base.text_files import composed
from harness.data.files.fingerprints import FingerprintIndex
from harness.data.files.frame_folder import is_frame_folder
from harness.data.folders.clip import NOTHING_GIVEN, Clip, ClipSource, GivenFiles
from harness.data.folders.given_classes import classes_file, given_split
from harness.data.folders.read_clips import read_source
from harness.data.folders.split import choose_val, cluster_of, named_classes, people_of
from harness.data.folders.tables import GROUP_COLUMN
from harness.data.lists import rules
from harness.data.lists.clusters import Card as Clusters
from harness.data.lists.clusters import ClusterCard
from harness.data.lists.dataset import Dataset
from harness.spec import LabelSet, VideoList, ZeroShotTest
from harness.spec.labels import require_distinct_texts

SPLIT_SEED = 1


class FolderDataset(Dataset):
    """A custom dataset. Files are read on first use of a list or a label set.

    Args:
        path: A folder of class folders, a folder with `train/` or `val/` or both, or a .csv, .tsv or .txt table.
        name: Name of the dataset; the default is the name of the folder or of the table.
        source: Dataset whose training list is fitted for zero-shot transfer to this one.
        seed: Seed of the train/val split and of the few-shot draws; a seed other than 1 shows in the lists' names.
        given: Video root and class names of a table, and the folder that keeps indexes and fingerprints.
    """

    kind = "custom"

    def __init__(
        self,
        path: Path,
        name: str | None = None,
        source: str = "k400",
        seed: int = SPLIT_SEED,
        given: GivenFiles = NOTHING_GIVEN,
    ) -> None:
        self.path = path
        self.name = name or (path.stem if path.is_file() else path.resolve().name)
        self.title = self.name
        self.source = self.parent_source = source
        self.seed = seed
        self.zero_shot_tests = (ZeroShotTest("val", "all", "single", 1),)
        self._given_files = given
        self._fingerprints = FingerprintIndex(path, given.cache)

    @property
    def root_id(self) -> str:
        """Eight hex digits of the hash of the folder's or the table's absolute path."""
        return hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:8]

    @cached_property
    def _read(self) -> ClipSource:
        source = read_source(self.path, self._given_files)
        names = {clip.label for clip in source.clips}
        if source.labels is None:
            require_distinct_texts(sorted(names), str(self.path))
            # After the check: a folder may hold one name in two Unicode forms, and both are named then.
            source = replace(source, clips=tuple(replace(c, label=composed(c.label)) for c in source.clips))
        if len(source.labels or names) < 2:
            only = next(iter(names), "")
            raise UserError(
                f"{self.path} holds one class, {only!r}, expected at least two.",
                self._where_classes_are(only),
            )
        return source

    def _where_classes_are(self, only: str) -> str:
        """The hint for a folder of one class: the classes may be one level deeper."""
        inside = self.path / only
        deeper = sum(child.is_dir() for child in inside.iterdir()) if inside.is_dir() else 0
        if deeper > 1:
            return f"The classes may be the {deeper} folders in {inside}: give this folder."
        return "Give the folder that contains the class folders, one folder for each class."

    @property
    def _clips(self) -> tuple[Clip, ...]:
        return self._read.clips

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about folders and columns that were not read.

        Raises:
            UserError: The path is not a dataset.
        """
        return self._read.notes

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        if self._read.labels is not None:
            return self._read.labels.names
        return tuple(sorted({clip.label for clip in self._clips}))

    @cached_property
    def _present(self) -> tuple[int, ...]:
        """Ids of the classes that have a clip."""
        labels = {clip.label for clip in self._clips}
        return tuple(i for i, name in enumerate(self._classes) if name in labels)

    @cached_property
    def _files(self) -> dict[str, Path]:
        return {clip.path: clip.file for clip in self._clips}

    @cached_property
    def _sides(self) -> tuple[rules.Rows, rules.Rows]:
        """Training and evaluation rows, each class by class in the order of sorted paths."""
        ids = {name: i for i, name in enumerate(self._classes)}
        clips = sorted(self._clips, key=lambda clip: (ids[clip.label], clip.path))
        if any(clip.split for clip in clips):
            val = {clip.path for clip in clips if clip.split == "val"}
        else:
            val = choose_val(clips, self.seed)
        train_rows = tuple((c.path, ids[c.label]) for c in clips if c.path not in val)
        val_rows = tuple((c.path, ids[c.label]) for c in clips if c.path in val)
        for side, rows in (("training", train_rows), ("evaluation", val_rows)):
            if not rows:
                continue  # the dataset states only the other side
            counts = rules.class_counts(rows, len(ids))
            empty = [self._classes[i] for i in self._present if not counts[i]]
            if empty:
                raise UserError(
                    f"{self.path} holds no {side} clip of {named_classes(empty)}, expected at least one of each.",
                    "Add clips: every class needs at least one in train and one in val.",
                )
        return train_rows, val_rows

    @cached_property
    def _given(self) -> rules.ClassSplit | None:
        return given_split(self.path, self._classes)

    @cached_property
    def _split(self) -> rules.ClassSplit:
        if self._given is not None:
            return self._given
        # Classes without a clip are in neither half: they are candidates in the column `joint` only.
        counts = rules.class_counts(self._sides[0], len(self._classes))
        halves = rules.base_novel_split([counts[i] for i in self._present])
        base, novel = (tuple(self._present[i] for i in half) for half in (halves.base, halves.novel))
        return rules.ClassSplit(base, novel)

    def why_absent(self, name: str) -> str:
        """The reason why a base-to-novel list does not exist.

        A half of one class is refused, because every method classifies it perfectly.
        """
        halves = {"base": len(self._split.base), "novel": len(self._split.novel)}
        if name.startswith(tuple(halves)) and min(halves.values()) < 2:
            files = " and ".join(classes_file(self.path, half).name for half in halves)
            return (
                f"{self.name} has {halves['base']} base and {halves['novel']} novel classes of {len(self._classes)}, "
                f"expected at least two of each: add classes, or name the classes in {files}."
            )
        if name in (f"base_s{seed}" for seed in rules.BASE_SEEDS) and name not in self._b2n:
            return f"{self.name}: {name} holds the same clips as another training subset, which is fitted once."
        return ""

    @cached_property
    def base_shots(self) -> int:
        """Clips per class in `base_s1..base_s3`: 16, or the size of the smallest base class."""
        counts = rules.class_counts(self._sides[0], len(self._classes))
        return min(rules.BASE_SHOTS, *(counts[label] for label in self._split.base))

    @cached_property
    def _b2n(self) -> dict[str, rules.Rows]:
        lists = rules.derived_b2n(*self._sides, self._split, self.base_shots)
        distinct: set[frozenset[rules.Row]] = set()
        for name in [name for name in lists if name.startswith("base_s")]:
            # Where every base class has exactly `base_shots` clips, all draws hold the same clips in another order:
            # three fits of one set would be counted as three repeats, with a spread that says nothing about subsets.
            clips = frozenset(lists[name])
            if clips in distinct:
                del lists[name]
            distinct.add(clips)
        return lists

    def list_names(self) -> tuple[str, ...]:
        """`train`, `val`, the base-to-novel lists, and `few_shot_K` for each K up to the size of the smallest class.

        A dataset that states only one side of the split has only that list.
        """
        if not all(self._sides):
            return ("train",) if self._sides[0] else ("val",)
        counts = rules.class_counts(self._sides[0], len(self._classes))
        smallest = min(counts[i] for i in self._present)
        few_shot = tuple(f"few_shot_{shots}" for shots in rules.FEW_SHOTS if shots <= smallest)
        if self.why_absent("base_train"):
            return ("train", "val", *few_shot)
        base = tuple(name for name in self._b2n if name.startswith("base_s"))
        return ("train", "val", "base_train", *base, "base_val", "novel_val", *few_shot)

    def list(self, name: str) -> VideoList:
        """The rows of a list; the origin is always `own`.

        Raises:
            UserError: The folder is not a dataset, or has no such list.
        """
        if not all(self._sides) and name not in self.list_names():
            side, other = ("training", "val (or test)") if self._sides[0] else ("evaluation", "train")
            raise UserError(
                f"{self.path} states {side} clips only, so the list {name!r} does not exist.",
                f"Add the folder or the rows of {other}, or state no split: 30 % of each class then become val.",
            )
        if name not in self.list_names():
            if reason := self.why_absent(name):
                raise UserError(reason)
            raise unknown_name(f"list of {self.name}", name, self.list_names())
        name_with_settings = name
        if name in ("train", "val"):
            rows = self._sides[0] if name == "train" else self._sides[1]
        elif name.startswith("few_shot_"):
            rows = rules.own_draw(self._sides[0], len(self._classes), int(name.removeprefix("few_shot_")), self.seed)
        else:
            rows = self._b2n[name]
            if name.startswith("base_s") and self.base_shots != rules.BASE_SHOTS:
                name_with_settings = f"{name}_{self.base_shots}shots"
            if self._given is not None:
                name_with_settings += "_given"
        if self.seed != SPLIT_SEED:
            name_with_settings += f"_seed{self.seed}"
        return VideoList(name_with_settings, rows, "own")

    def labels(self, name: str) -> LabelSet:
        """The label set `all`, `base` or `novel`, with the unchanged names of the folders.

        Raises:
            UserError: The folder is not a dataset, or has no such label set.
        """
        if name == "all":
            return LabelSet(self._classes)
        if name in ("base", "novel"):
            chosen = self._split.base if name == "base" else self._split.novel
            return LabelSet(tuple(self._classes[i] for i in chosen))
        raise unknown_name(f"label set of {self.name}", name, ("all", "base", "novel"))

    def content(self, video_list: VideoList) -> str:
        """Fingerprint of the videos of a list: two folders of one name with different videos are different data.

        Raises:
            UserError: A video cannot be read.
        """
        return self._fingerprints.list_fingerprint(self._files, video_list.paths)

    def fingerprints(self, video_list: VideoList) -> Mapping[str, str]:
        """Fingerprint of each video of a list by path, without empty files: these are damaged, and not copies.

        Raises:
            UserError: A video cannot be read.
        """
        return self._fingerprints.of(self._files, video_list.paths)

    def cluster(self, path: str) -> str:
        """The group of a clip: as the table states it; else person or source across classes, or `gNN` within its class.

        A clip whose name states none of them is a cluster by itself.
        """
        return self._clusters.get(path, "")

    def person(self, path: str) -> str:
        """The person or source video that the name of a clip identifies, empty if the name only counts clips."""
        return self._people.get(path, "")

    @cached_property
    def _people(self) -> dict[str, str]:
        return people_of(self._clips)

    @property
    def cluster_card(self) -> Clusters:
        """The clusters of the clips: the table's column `group`, or names."""
        if self._clips[0].group:
            return ClusterCard("source", column=GROUP_COLUMN)
        return ClusterCard("group, person or source in the name of a clip, else the clip alone")

    @cached_property
    def _clusters(self) -> dict[str, str]:
        return {clip.path: cluster_of(clip) for clip in self._clips}

    def locate(self, path: str) -> Path | None:
        """The file of a list path, or None if this dataset has no such path or the file no longer exists."""
        file = self._files.get(path)
        return file if file is not None and (file.is_file() or is_frame_folder(file)) else None
