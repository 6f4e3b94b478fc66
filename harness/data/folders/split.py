"""The drawn train/val split of a custom dataset: whole groups of clips, chosen once for all classes.

A group is a person or a source video. A person in several classes is on one side in all of them: a method that has
seen the person in training would otherwise recognise the person, and not the action.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import UserError
from harness.data.folders.clip import Clip

VAL_SHARE = 0.3
_UCF_GROUP = re.compile(r"_(g\d{2})_c\d{2}$")
_ORDERS = 500
"""Orders of groups that are tried. Groups that tie classes together may leave an order without a valid split."""

_Group = tuple[str, str]  # class (empty for a group of all classes) and name
_Counts = dict[str, Counter[_Group]]  # clips of each class by group


def choose_val(clips: Sequence[Clip], seed: int) -> set[str]:
    """The paths of the evaluation clips: about 30 % of every class, in whole groups (see `harness.data.folders`).

    Raises:
        UserError: A class has a single clip, all its clips belong to one group, or no choice of whole groups leaves
            each class with a clip on both sides.
    """
    group_of_path = _groups(clips)
    counts: _Counts = defaultdict(Counter)
    for clip in clips:
        counts[clip.label][group_of_path[clip.path]] += 1
    _require_two(counts)
    # Sorted first: the split must not depend on the order in which the file system lists the clips. The order is one
    # of names, so that numbered clips of classes of equal size are on the same side in all classes.
    names = sorted({name for _, name in group_of_path.values()})
    for attempt in range(_ORDERS):
        random.Random(seed if attempt == 0 else f"{seed}, order {attempt}").shuffle(names)
        rank = {name: i for i, name in enumerate(names)}
        order = sorted(set(group_of_path.values()), key=lambda group: (rank[group[1]], group[0]))
        chosen = _choose(counts, order)
        if chosen is not None:
            return {path for path, group in group_of_path.items() if group in chosen}
        names.sort()
    raise UserError(
        "The people or source videos of the clips tie the classes together: no choice of whole groups gives every "
        "class a training clip and an evaluation clip.",
        "State the split with train/ and val/ folders, or add clips of other people.",
    )


def _choose(counts: _Counts, order: Sequence[_Group]) -> set[_Group] | None:
    """Whole groups in the given order until every class has its share; None if a class is left without one side."""
    wanted = {name: max(1, round(VAL_SHARE * groups.total())) for name, groups in counts.items()}
    taken: Counter[str] = Counter()
    left = {name: len(groups) for name, groups in counts.items()}
    classes_of: dict[_Group, list[str]] = defaultdict(list)
    for name, groups in counts.items():
        for group in groups:
            classes_of[group].append(name)
    chosen: set[_Group] = set()
    for group in order:
        members = classes_of[group]
        is_needed = any(taken[name] < wanted[name] for name in members)
        if is_needed and all(left[name] > 1 for name in members):  # the last group of a class stays in training
            chosen.add(group)
            for name in members:
                taken[name] += counts[name][group]
                left[name] -= 1
    return chosen if all(taken[name] for name in counts) else None


def _groups(clips: Sequence[Clip]) -> dict[str, _Group]:
    """The group of each clip path.

    A name that identifies a person or a source (`daria_walk`, `g07`) is one group in all classes. So is a whole file
    name without digits that several classes contain (`walk/daria.avi`, `run/daria.avi`). A numbered name (`clip_03`)
    says nothing about other classes: such a clip is a group of its own.
    """
    classes_of: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        classes_of[group_of(clip)].add(clip.label)
    groups: dict[str, _Group] = {}
    for clip in clips:
        group = group_of(clip)
        # A group that a table states is one of its own; a number in a name counts within a class.
        within_class = not clip.group and (_is_number(clip, group) or len(classes_of[group]) < 2)
        groups[clip.path] = (clip.label, group) if within_class else ("", group)
    return groups


def _is_number(clip: Clip, group: str) -> bool:
    """Whether the group of a clip only counts clips, as in `walk_012` and `clip_03`."""
    is_whole_name = group == Path(clip.path).stem
    return not any(c.isalpha() for c in group) or (is_whole_name and any(c.isdigit() for c in group))


def people_of(clips: Sequence[Clip]) -> dict[str, str]:
    """The person or source video of each clip path whose name identifies one: `daria`, or `walk/g07` within a class.

    The groups are those that a drawn split keeps on one side, without numbered clips.
    """
    groups = _groups(clips)
    return {
        clip.path: "/".join(filter(None, groups[clip.path]))
        for clip in clips
        if clip.group or not _is_number(clip, groups[clip.path][1])
    }


def _require_two(counts: _Counts) -> None:
    """Refuse classes that cannot have both sides."""
    single = sorted(name for name, groups in counts.items() if groups.total() < 2)
    if single:
        raise UserError(
            f"Found a single clip in {named_classes(single)}, expected at least two in each: one to train and one to "
            "evaluate.",
            "Add clips, remove the class, or give train/ and val/ folders.",
        )
    one_group = sorted(name for name, groups in counts.items() if len(groups) < 2)
    if one_group:
        raise UserError(
            f"Found a single source group in {named_classes(one_group)}, expected at least two groups in each: "
            "a split of one group is a leak.",
            "Add clips of another group, or give train/ and val/ folders.",
        )


def group_of(clip: Clip) -> str:
    """The source group of a clip: as the table states it, or by its name.

    A name states `gNN`, or a rest beside the class name; otherwise the whole name is the group.
    """
    if clip.group:
        return clip.group
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


def cluster_of(clip: Clip) -> str:
    """The group of a clip, unique in the dataset, for statistics over dependent clips."""
    group, stem = group_of(clip), Path(clip.path).stem
    if clip.group:
        return group
    # `g07` of two classes are two sources, while `daria` is one person in all classes.
    within_class = group == stem or _UCF_GROUP.search(stem)
    return f"{clip.label}/{group}" if within_class else group


def named_classes(names: Sequence[str]) -> str:
    """The first five class names, quoted, after the word `class` or `classes`."""
    shown = ", ".join(repr(name) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{'class' if len(names) == 1 else 'classes'} {shown}{more}"
