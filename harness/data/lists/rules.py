"""Published rules that derive lists from a training and an evaluation list, as pure functions.

Rows are (path, label id) in list order. The rules reproduce the lists of the ViFi-CLIP repository byte for byte on
HMDB-51, UCF-101 and SSv2. Lists that they do not reproduce (see docs/datasets.md) are pinned by sha256.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.base.errors import UserError

Row = tuple[str, int]
Rows = tuple[Row, ...]

BASE_SHOTS = 16
BASE_SEEDS = (1, 2, 3)
FEW_SHOTS = (2, 4, 8, 16)


@dataclass(frozen=True)
class ClassSplit:
    """Class ids of the base and the novel half; the index of a class is its id within the half."""

    base: tuple[int, ...]
    novel: tuple[int, ...]


def full_list(*lists: Iterable[Row]) -> Rows:
    """Every clip of some lists once, sorted by class id and path.

    Raises:
        UserError: A path has two labels.
    """
    labels: dict[str, int] = {}
    for path, label in (row for rows in lists for row in rows):
        if labels.setdefault(path, label) != label:
            raise UserError(f"{path} has the label ids {labels[path]} and {label}, expected one.")
    return tuple(sorted(labels.items(), key=lambda row: (row[1], row[0])))


def class_counts(rows: Iterable[Row], classes: int) -> tuple[int, ...]:
    """The number of rows of each class id, as a tuple of `classes` integers.

    Raises:
        UserError: A label id is not below `classes`.
    """
    counts = [0] * classes
    for path, label in rows:
        if not 0 <= label < classes:
            raise UserError(f"{path} has label id {label}, expected 0 to {classes - 1}.")
        counts[label] += 1
    return tuple(counts)


def base_novel_split(counts: Sequence[int]) -> ClassSplit:
    """The base and novel classes of a dataset, from the number of training clips of each class.

    Class ids are sorted by count, ascending and stable. The first half (rounded down) is novel and the rest is base:
    base holds the more frequent classes, and one class more where the number of classes is odd.
    """
    order = sorted(range(len(counts)), key=lambda label: counts[label])
    half = len(order) // 2
    return ClassSplit(base=tuple(order[half:]), novel=tuple(order[:half]))


def restrict(rows: Iterable[Row], classes: Sequence[int]) -> Rows:
    """The rows of the given classes in list order, with each label replaced by its index in `classes`."""
    index = {label: i for i, label in enumerate(classes)}
    return tuple((path, index[label]) for path, label in rows if label in index)


def rows_by_class(rows: Iterable[Row], classes: int) -> tuple[Rows, ...]:
    """The rows of each class id in list order, as a tuple of `classes` tuples."""
    groups: list[list[Row]] = [[] for _ in range(classes)]
    for row in rows:
        groups[row[1]].append(row)
    return tuple(tuple(group) for group in groups)


def base_draw(base_train: Iterable[Row], classes: int, seed: int, shots: int = BASE_SHOTS) -> Rows:
    """The published `fs_base_s{seed}_train` draw: `shots` rows of every base class, classes in ascending id.

    The generator is seeded again for every class, so classes of equal size give equal row indices: the draws of one
    list are not independent across classes. The published lists were drawn in this way.

    Raises:
        UserError: A class has fewer rows than `shots`.
    """
    drawn: list[Row] = []
    for label, rows in enumerate(rows_by_class(base_train, classes)):
        if len(rows) < shots:
            raise UserError(f"Base class {label} has {len(rows)} training clips, expected at least {shots}.")
        # Random(seed) gives the stream of the published random.seed(seed) without changing global state.
        drawn += random.Random(seed).sample(rows, shots)
    return tuple(drawn)


def own_draw(train: Iterable[Row], classes: int, shots: int, seed: int) -> Rows:
    """An own few-shot draw: up to `shots` rows of every class, classes in ascending id.

    Each class has its own generator, seeded by (seed, class id), and the draws are nested: the rows of K = 2 are the
    first two of K = 4. A class with fewer rows gives all its rows. The rule of the published few-shot lists is unknown,
    so this draw differs from them; its lists have the origin `own`.
    """
    drawn: list[Row] = []
    for label, rows in enumerate(rows_by_class(train, classes)):
        order = list(rows)
        random.Random(f"own draw, seed {seed}, class {label}").shuffle(order)
        drawn += order[:shots]
    return tuple(drawn)


def derived_b2n(
    train: Rows, val: Rows, split: ClassSplit, shots: int = BASE_SHOTS, seeds: Sequence[int] = BASE_SEEDS
) -> dict[str, Rows]:
    """The base-to-novel lists by name: `base_train`, `base_val`, `novel_val`, and `base_s{seed}` for each seed."""
    base_train = restrict(train, split.base)
    lists = {
        "base_train": base_train,
        "base_val": restrict(val, split.base),
        "novel_val": restrict(val, split.novel),
    }
    for seed in seeds:
        lists[f"base_s{seed}"] = base_draw(base_train, len(split.base), seed, shots)
    return lists
