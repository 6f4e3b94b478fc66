"""Class names and official lists of the embedded datasets. Needs neither rendering nor numpy."""

from __future__ import annotations

from functools import cache

MINI_DATASETS = ("mini_source", "mini_target")
MINI_VERSION = 3  # raise it with any change that alters a list or a pixel: the rendered folder carries it in its name

_TARGET_SHAPES = ("circle", "square", "star", "triangle")
_TARGET_MOTIONS = ("bouncing", "growing", "shaking", "sliding", "spinning", "swinging")
_OTHER_SHAPES = ("crescent", "cross", "heart", "ring")
_OTHER_MOTIONS = ("blinking", "orbiting", "rolling")

# Training clips of split 1: one row for each shape, one column for each motion. The smaller half becomes novel (sorted
# by count, stable): three motions of each shape, two shapes of each motion. Every motion has a different pair of shapes
# in the base half. On a plain chessboard two shapes would share all their base motions, so that the shape would rule
# out half of the motions, and fine-tuning would learn that instead. Ties are intended, above all the tie at 22 across
# the border: "circle growing" is novel and "triangle spinning" base only because the sort is stable.
_TARGET_TRAIN = (
    *(26, 22, 24, 19, 28, 20),
    *(25, 18, 21, 26, 20, 24),
    *(20, 23, 27, 18, 21, 25),
    *(19, 24, 20, 28, 22, 21),
)
_CLIPS_A_GROUP = 4
_TARGET_GROUPS = {"val1": range(1, 6), "train": range(6, 14), "val2": range(6, 11), "val3": range(9, 14)}
_SOURCE_GROUPS = {"val": range(1, 3), "train": range(3, 9)}
_SOURCE_TRAIN = 22


@cache
def mini_class_names(dataset: str) -> tuple[str, ...]:
    """Return the class names of a mini dataset in label-id order, lower case, e.g. "circle spinning".

    Raises:
        ValueError: The dataset is not one of `MINI_DATASETS`.
    """
    if dataset not in MINI_DATASETS:
        raise ValueError(f"Unknown mini dataset {dataset!r}, available are {', '.join(MINI_DATASETS)}.")
    if dataset == "mini_target":
        pairs = [(s, m) for s in _TARGET_SHAPES for m in _TARGET_MOTIONS]
    else:
        pairs = [(s, m) for s in _TARGET_SHAPES for m in _OTHER_MOTIONS]
        pairs += [(s, m) for s in _OTHER_SHAPES for m in _TARGET_MOTIONS]
    return tuple(sorted(f"{shape} {motion}" for shape, motion in pairs))


@cache
def mini_list(dataset: str, name: str) -> tuple[tuple[str, int], ...]:
    """Return the rows (relative path, label id) of one list. Needs no rendered files.

    Args:
        dataset: One of `MINI_DATASETS`.
        name: `train`, `val1`, `val2` or `val3` for mini_target, `train` or `val` for mini_source.

    Raises:
        ValueError: The dataset or the list does not exist.
    """
    groups = _TARGET_GROUPS if dataset == "mini_target" else _SOURCE_GROUPS
    classes = mini_class_names(dataset)
    if name not in groups:
        raise ValueError(f"Unknown list {name!r} of {dataset}, available are {', '.join(groups)}.")
    rows: list[tuple[str, int]] = []
    for label, class_name in enumerate(classes):
        paths = [_path(class_name, group, clip) for group in groups[name] for clip in range(1, _CLIPS_A_GROUP + 1)]
        if name == "train":
            paths = paths[: _TARGET_TRAIN[label] if dataset == "mini_target" else _SOURCE_TRAIN]
        rows += [(path, label) for path in paths]
    return tuple(rows)


def _path(class_name: str, group: int, clip: int) -> str:
    return f"v_{class_name.replace(' ', '_')}_g{group:02d}_c{clip:02d}.avi"
