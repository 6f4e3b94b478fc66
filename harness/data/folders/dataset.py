"""A folder of class folders, or a table of paths and class names, as a dataset usable in every protocol.

Rules, all deterministic:
    Classes are the folder names as they are (or the table's class names), sorted; the id is the position.
    Sub-folders `train` and `val` (or `validation`, `test`) of class folders, or a table's column `split`, decide.
    Where only one side is stated, the dataset has only that list: `train` can be fitted on as the source of zero-shot
    transfer, `val` can be its target.
    Otherwise 30 % of each class's clips (at least one, rounded) become `val`: the groups of all clips are shuffled
    once with the seed, and each class takes whole groups in that order until it has its share. A clip's group is the
    `gNN` of a UCF-like name (`..._g07_c02`), the other half of a name that begins or ends with its class
    (`daria_walk`, `walk_012`), or else the clip alone. So an actor or a source video is never on both sides.
    Base and novel classes, and the 16-shot lists, follow the published rules on these lists. Where the smallest base
    class has fewer than 16 training clips, its size replaces 16 and shows in the list's name. `few_shot_K` is defined
    for every K that each class can give.
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
from harness.data.files.fingerprints import ContentIndex
from harness.data.folders.read_clips import Clip, read_clips
from harness.data.lists import rules
from harness.data.lists.dataset import Dataset
from harness.spec import LabelSet, VideoList, ZeroShotTest

VAL_SHARE = 0.3
SPLIT_SEED = 1
_UCF_GROUP = re.compile(r"_(g\d{2})_c\d{2}$")


class FolderDataset(Dataset):
    """A custom dataset; nothing is read before the first list is asked for.

    Args:
        path: A folder of class folders, a folder with `train/` or `val/` or both, or a .csv, .tsv or .txt table.
        name: Defaults to the folder's (or the table's) name.
        source: Dataset that zero-shot transfer to this one fits on.
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
        self._content = ContentIndex(path, cache)

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
                f"{self.path} holds one class, {only!r}; a dataset needs at least two.",
                "Give the folder that contains the class folders, one folder a class.",
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
                continue  # the dataset states the other side alone
            counts = rules.class_counts(rows, len(ids))
            empty = [self._classes[i] for i, count in enumerate(counts) if not count]
            if empty:
                raise UserError(
                    f"{self.path}: {_names(empty)} without any {side} clip.",
                    "Every class needs at least one clip in train and one in val.",
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
        """`train`, `val`, the base-to-novel lists, and `few_shot_K` for each K that the smallest class can give.

        A dataset that states one side alone has that list alone.
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
            UserError: The folder is no dataset, or has no such list.
        """
        if not all(self._sides) and name not in self.list_names():
            side, other = ("training", "val (or test)") if self._sides[0] else ("evaluation", "train")
            raise UserError(
                f"{self.path} states {side} clips only, so there is no list {name!r}.",
                f"Add the folder or the rows of {other}, or state no split: 30 % of each class then become val.",
            )
        if name not in self.list_names():
            raise unknown_name(f"list of {self.name}", name, self.list_names())
        shown = name
        if name in ("train", "val"):
            rows = self._sides[0] if name == "train" else self._sides[1]
        elif name.startswith("few_shot_"):
            rows = rules.own_draw(self._sides[0], len(self._classes), int(name.removeprefix("few_shot_")), self.seed)
        else:
            rows = self._b2n[name]
            if name.startswith("base_s") and self.base_shots != rules.BASE_SHOTS:
                shown = f"{name}_{self.base_shots}shots"
        if self.seed != SPLIT_SEED:
            shown += f"_seed{self.seed}"
        return VideoList(shown, rows, "own")

    def labels(self, name: str) -> LabelSet:
        """The label set `all`, `base` or `novel`, names as the folders spell them.

        Raises:
            UserError: The folder is no dataset, or has no such label set.
        """
        if name == "all":
            return LabelSet(self._classes)
        if name in ("base", "novel"):
            chosen = self._split.base if name == "base" else self._split.novel
            return LabelSet(tuple(self._classes[i] for i in chosen))
        raise unknown_name(f"label set of {self.name}", name, ("all", "base", "novel"))

    def content(self, video_list: VideoList) -> str:
        """The fingerprint of a list's videos: folders of one name with other videos are other data.

        Raises:
            UserError: A video cannot be read.
        """
        return self._content.of(self._files, video_list.paths)

    def cluster(self, path: str) -> str:
        """The group of a clip: a person or a source across classes, `gNN` within its class, else the clip alone."""
        return self._clusters.get(path, "")

    @cached_property
    def _clusters(self) -> dict[str, str]:
        return {clip.path: _cluster_of(clip) for clip in self._clips}

    def locate(self, path: str) -> Path | None:
        """The file of a row, or None if it is not a row of this dataset or has gone."""
        file = self._files.get(path)
        return file if file is not None and file.is_file() else None


def choose_val(clips: Sequence[Clip], seed: int) -> set[str]:
    """The paths of the evaluation clips: about 30 % of every class, whole groups, by the rule above.

    Raises:
        UserError: A class has a single clip, or all its clips belong to one group.
    """
    by_class: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        by_class[clip.label][group_of(clip)].append(clip.path)
    single = sorted(name for name, groups in by_class.items() if sum(map(len, groups.values())) < 2)
    if single:
        raise UserError(
            f"{_names(single)} with a single clip; each class needs at least two, one to train and one to evaluate.",
            "Add clips, remove the class, or give train/ and val/ folders.",
        )
    one_group = sorted(name for name, groups in by_class.items() if len(groups) < 2)
    if one_group:
        raise UserError(
            f"{_names(one_group)} whose clips all come from one source group; they cannot be split without a leak.",
            "Add clips of another group, or give train/ and val/ folders.",
        )
    order = sorted({group for groups in by_class.values() for group in groups})
    random.Random(seed).shuffle(order)
    chosen: set[str] = set()
    for name in sorted(by_class):
        chosen.update(_share(by_class[name], order))
    return chosen


def _share(groups: dict[str, list[str]], order: Iterable[str]) -> Iterable[str]:
    """Paths of whole groups, in the given order, until the class has its share; one group is always left to train."""
    wanted = max(1, round(VAL_SHARE * sum(map(len, groups.values()))))
    taken: list[str] = []
    present = [group for group in order if group in groups]
    for group in present[:-1]:
        if len(taken) >= wanted:
            break
        taken += groups[group]
    return taken


def group_of(clip: Clip) -> str:
    """The source group of a clip by its name: `gNN`, the actor or number beside the class name, or the clip itself."""
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
    within_class = group == stem or _UCF_GROUP.search(stem)
    return f"{clip.label}/{group}" if within_class else group


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{'class' if len(names) == 1 else 'classes'} {shown}{more}"
