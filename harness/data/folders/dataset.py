"""Custom datasets: a folder of class folders, or a table of paths and class names, for every protocol.

All rules are deterministic:
    Classes: the unchanged folder names (or the table's class names), sorted; the id is the index.
    Stated split: sub-folders `train` and `val` (or `validation`, `test`) of class folders, or the table's column
    `split`. If only `train/` (or only `val/`) exists, only that list exists: `train` can be the source of zero-shot
    transfer, `val` its target.
    Own split, where none is stated: 30 % of the clips of each class (rounded, at least one) become `val`. The groups
    of all clips are shuffled once with the seed, and each class takes whole groups in that order until it has its
    share. The group of a clip is the `gNN` of a UCF-like name (`..._g07_c02`), the rest of a name that begins or ends
    with its class (`daria_walk`, `walk_012`), or else the clip alone. An actor or a source video is therefore never in
    both lists.
    Base and novel classes and the 16-shot lists follow the published rules on these lists. If the smallest base class
    has fewer than 16 training clips, its size replaces 16 and shows in the list's name.
    `few_shot_K` exists for every K up to the size of the smallest class.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from harness.base.errors import UserError, unknown_name
from harness.data.files.fingerprints import FingerprintIndex
from harness.data.folders.read_clips import Clip, read_clips
from harness.data.lists import rules
from harness.data.lists.dataset import Dataset
from harness.spec import LabelSet, VideoList, ZeroShotTest

VAL_SHARE = 0.3
SPLIT_SEED = 1
_UCF_GROUP = re.compile(r"_(g\d{2})_c\d{2}$")


class FolderDataset(Dataset):
    """A custom dataset. Files are read on first use of a list or a label set.

    Args:
        path: A folder of class folders, a folder with `train/` or `val/` or both, or a .csv, .tsv or .txt table.
        name: Name of the dataset; the default is the name of the folder or of the table.
        source: Dataset whose training list is fitted for zero-shot transfer to this one.
        seed: Seed of the train/val split and of the few-shot draws; a seed other than 1 shows in the lists' names.
        cache: Folder that keeps the fingerprints of the videos.
    """

    kind = "custom"

    def __init__(
        self,
        path: Path,
        name: str | None = None,
        source: str = "mini_source",
        seed: int = SPLIT_SEED,
        cache: Path | None = None,
    ) -> None:
        self.path = path
        self.name = name or (path.stem if path.is_file() else path.resolve().name)
        self.title = self.name
        self.source = source
        self.seed = seed
        self.zero_shot_tests = (ZeroShotTest("val", "all", "single", 1),)
        self._fingerprints = FingerprintIndex(path, cache)

    @property
    def root_id(self) -> str:
        """Eight hex digits of the hash of the folder's or the table's absolute path."""
        return hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:8]

    @cached_property
    def _clips(self) -> tuple[Clip, ...]:
        clips = read_clips(self.path)
        names = {clip.label for clip in clips}
        if len(names) < 2:
            only = next(iter(names), "")
            raise UserError(
                f"{self.path} holds one class, {only!r}, expected at least two.",
                "Give the folder that contains the class folders, one folder for each class.",
            )
        return clips

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        return tuple(sorted({clip.label for clip in self._clips}))

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
            empty = [self._classes[i] for i, count in enumerate(counts) if not count]
            if empty:
                raise UserError(
                    f"{self.path}: {_names(empty)} without any {side} clip, expected at least one.",
                    "Add clips: every class needs at least one in train and one in val.",
                )
        return train_rows, val_rows

    @cached_property
    def _split(self) -> rules.ClassSplit:
        return rules.base_novel_split(rules.class_counts(self._sides[0], len(self._classes)))

    @cached_property
    def base_shots(self) -> int:
        """Clips per class in `base_s1..base_s3`: 16, or the size of the smallest base class."""
        counts = rules.class_counts(self._sides[0], len(self._classes))
        return min(rules.BASE_SHOTS, *(counts[label] for label in self._split.base))

    @cached_property
    def _b2n(self) -> dict[str, rules.Rows]:
        return rules.derived_b2n(*self._sides, self._split, self.base_shots)

    def list_names(self) -> tuple[str, ...]:
        """`train`, `val`, the base-to-novel lists, and `few_shot_K` for each K up to the size of the smallest class.

        A dataset that states only one side of the split has only that list.
        """
        if not all(self._sides):
            return ("train",) if self._sides[0] else ("val",)
        smallest = min(rules.class_counts(self._sides[0], len(self._classes)))
        few_shot = tuple(f"few_shot_{shots}" for shots in rules.FEW_SHOTS if shots <= smallest)
        base = tuple(f"base_s{seed}" for seed in rules.BASE_SEEDS)
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

    def cluster(self, path: str) -> str:
        """The group of a clip: person or source video across classes, `gNN` within its class, else the clip alone."""
        return self._clusters.get(path, "")

    @cached_property
    def _clusters(self) -> dict[str, str]:
        return {clip.path: _cluster_of(clip) for clip in self._clips}

    def locate(self, path: str) -> Path | None:
        """The file of a list path, or None if this dataset has no such path or the file no longer exists."""
        file = self._files.get(path)
        return file if file is not None and file.is_file() else None


def choose_val(clips: Sequence[Clip], seed: int) -> set[str]:
    """The paths of the evaluation clips: about 30 % of every class, in whole groups (see the module's docstring).

    Raises:
        UserError: A class has a single clip, or all its clips belong to one group.
    """
    by_class: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        by_class[clip.label][group_of(clip)].append(clip.path)
    single = sorted(name for name, groups in by_class.items() if sum(map(len, groups.values())) < 2)
    if single:
        raise UserError(
            f"{_names(single)} with a single clip, expected at least two: one to train and one to evaluate.",
            "Add clips, remove the class, or give train/ and val/ folders.",
        )
    one_group = sorted(name for name, groups in by_class.items() if len(groups) < 2)
    if one_group:
        raise UserError(
            f"{_names(one_group)} whose clips all come from one source group, expected at least two groups: a split of "
            "one group is a leak.",
            "Add clips of another group, or give train/ and val/ folders.",
        )
    # One order for all classes: an actor who appears in several classes is on the same side in each of them.
    order = sorted({group for groups in by_class.values() for group in groups})
    random.Random(seed).shuffle(order)
    chosen: set[str] = set()
    for name in sorted(by_class):
        chosen.update(_share(by_class[name], order))
    return chosen


def _share(groups: dict[str, list[str]], order: Iterable[str]) -> Iterable[str]:
    """Paths of whole groups, in the given order, until the class has its share; the last group is never taken."""
    wanted = max(1, round(VAL_SHARE * sum(map(len, groups.values()))))
    taken: list[str] = []
    class_groups = [group for group in order if group in groups]
    for group in class_groups[:-1]:
        if len(taken) >= wanted:
            break
        taken += groups[group]
    return taken


def group_of(clip: Clip) -> str:
    """The source group of a clip by its name: `gNN`, the rest of the name beside the class name, or the whole name."""
    stem = Path(clip.path).stem
    if match := _UCF_GROUP.search(stem):
        return match[1]
    label = clip.label.lower().replace(" ", "_")
    lowered = stem.lower()
    if lowered.endswith(f"_{label}"):
        return lowered.removesuffix(f"_{label}")
    if lowered.startswith(f"{label}_"):
        return lowered.removeprefix(f"{label}_")
    return stem


def _cluster_of(clip: Clip) -> str:
    group, stem = group_of(clip), Path(clip.path).stem
    # `g07` of two classes are two sources, while `daria` is one person in all classes.
    within_class = group == stem or _UCF_GROUP.search(stem)
    return f"{clip.label}/{group}" if within_class else group


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{'class' if len(names) == 1 else 'classes'} {shown}{more}"
