"""Clips of custom datasets with equal bytes: in a training and an evaluation list, or under two classes.

Official videos are known by their names. A user's folder may hold one clip under several names, and a copied tree holds
each clip on both sides of the split: the score would then be that of training clips.
"""

from __future__ import annotations

import filecmp
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.base.errors import EXIT_FAILED, UserError
from harness.data.lists.dataset import Dataset
from harness.spec import LabelSet, VideoList

_SHOWN = 3
Pair = tuple[str, str]


@dataclass(frozen=True)
class ListedClips:
    """A list of a dataset with its label set."""

    dataset: Dataset
    rows: VideoList
    labels: LabelSet

    @property
    def name(self) -> str:
        """`dataset/list`."""
        return f"{self.dataset.name}/{self.rows.name}"


def refuse_equal_clips(train: ListedClips | None, test: ListedClips) -> None:
    """Refuse clips with equal bytes in both lists, or under two classes of one list.

    Raises:
        UserError: There are such clips (exit code 1); the message names the first three pairs.
    """
    if train is not None and (pairs := equal_clips(train, test)):
        number, verb = ("1 clip", "has") if len(pairs) == 1 else (f"{len(pairs)} clips", "have")
        raise UserError(
            f"{number} of the evaluation list {test.name} {verb} the same bytes as clips of the training list "
            f"{train.name}: {_named(pairs)}.",
            "Remove the copies from one of the two lists.",
            EXIT_FAILED,
        )
    for side in filter(None, (train, test)):
        if pairs := clips_of_two_classes(side):
            number = "1 pair of clips" if len(pairs) == 1 else f"{len(pairs)} pairs of clips"
            raise UserError(
                f"{number} of the list {side.name} with the same bytes under two classes: {_named(pairs)}.",
                "Remove each of these clips from all classes but one.",
                EXIT_FAILED,
            )


def equal_clips(train: ListedClips, test: ListedClips) -> list[Pair]:
    """(training path, evaluation path) of clips with equal bytes, one pair for each evaluation clip."""
    by_content: dict[str, list[str]] = defaultdict(list)
    for path, content in train.dataset.fingerprints(train.rows).items():
        by_content[content].append(path)
    pairs = []
    for path, content in test.dataset.fingerprints(test.rows).items():
        copies = (copy for copy in by_content.get(content, ()) if _same_bytes(train.dataset, copy, test.dataset, path))
        if copy := next(copies, None):
            pairs.append((copy, path))
    return pairs


def clips_of_two_classes(side: ListedClips) -> list[Pair]:
    """Paths of two clips with equal bytes and different classes, one pair for each further class."""
    label_of = dict(side.rows.rows)
    by_content: dict[str, list[str]] = defaultdict(list)
    pairs = []
    for path, content in side.dataset.fingerprints(side.rows).items():
        copies = (c for c in by_content[content] if label_of[c] != label_of[path])
        if copy := next((c for c in copies if _same_bytes(side.dataset, c, side.dataset, path)), None):
            pairs.append((copy, path))
        by_content[content].append(path)
    return pairs


def _same_bytes(first: Dataset, a: str, second: Dataset, b: str) -> bool:
    """Whether two files are equal. A fingerprint covers both ends of a file only, and equality ends a run here."""
    files = first.locate(a), second.locate(b)
    try:
        return files[0] is not None and files[1] is not None and filecmp.cmp(files[0], files[1], shallow=False)
    except OSError:  # the videos are read again, with an error that names the file, when they are decoded
        return False


def _named(pairs: Sequence[Pair]) -> str:
    return "; ".join(f"{a} and {b}" for a, b in pairs[:_SHOWN]) + ("; ..." if len(pairs) > _SHOWN else "")
