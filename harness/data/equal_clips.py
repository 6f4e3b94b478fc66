"""Clips of custom datasets with equal bytes: in a training and an evaluation list, or under two classes.

Official videos are known by their names. A user's folder may hold one clip under several names, and a copied tree holds
each clip on both sides of the split: the score would then be that of training clips.
"""

from __future__ import annotations

import filecmp
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.base.errors import EXIT_FAILED, UserError
from harness.data.files.frame_folder import clip_files, clip_state
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


@dataclass
class ByteComparison:
    """Comparison of whole files, which a fingerprint of both ends cannot replace.

    Args:
        limit: Bytes of all files that are compared; None for no limit. Pairs beyond it count as different.
        left_out: Pairs of list paths beyond the limit.
    """

    limit: int | None = None
    left_out: set[Pair] = field(default_factory=set)
    _outcomes: dict[tuple[Path, Path], bool] = field(default_factory=dict)

    def same(self, first: ListedClips, a: str, second: ListedClips, b: str) -> bool:
        """Return whether the files of two list paths were compared and are equal."""
        files = first.dataset.locate(a), second.dataset.locate(b)
        if files[0] is None or files[1] is None:
            return False
        key = files[0], files[1]
        try:
            if key not in self._outcomes and not self._is_affordable(clip_state(files[0])[0]):
                self.left_out.add((a, b))
                return False
            if key not in self._outcomes:  # several cells have the same lists
                self._outcomes[key] = _equal_bytes(*key)
        except OSError:  # the videos are read again, with an error that names the file, when they are decoded
            return False
        return self._outcomes[key]

    def _is_affordable(self, size: int) -> bool:
        """Whether two files of a size are within the limit, which they then use up."""
        if self.limit is None:
            return True
        if 2 * size > self.limit:
            return False
        self.limit -= 2 * size
        return True


def _equal_bytes(first: Path, second: Path) -> bool:
    """Whether two clips have equal bytes; the names of frames do not count."""
    files = clip_files(first), clip_files(second)
    is_folder = first.is_dir(), second.is_dir()
    if is_folder[0] != is_folder[1] or len(files[0]) != len(files[1]):
        return False
    return all(filecmp.cmp(a, b, shallow=False) for a, b in zip(*files, strict=True))


def refuse_equal_clips(train: ListedClips | None, test: ListedClips, compared: ByteComparison | None = None) -> None:
    """Refuse clips with equal bytes in both lists, or under two classes of one list.

    Args:
        train: The training list, None for an untrained method.
        test: The evaluation list.
        compared: Limits the bytes that are compared, without a limit by default.

    Raises:
        UserError: There are such clips (exit code 1); the message names the first three pairs.
    """
    compared = compared or ByteComparison()
    if train is not None and (pairs := equal_clips(train, test, compared)):
        number, verb = ("1 clip", "has") if len(pairs) == 1 else (f"{len(pairs)} clips", "have")
        raise UserError(
            f"{number} of the evaluation list {test.name} {verb} the same bytes as clips of the training list "
            f"{train.name}: {_named(pairs)}.",
            "Remove the copies from one of the two lists.",
            EXIT_FAILED,
        )
    for side in filter(None, (train, test)):
        if pairs := clips_of_two_classes(side, compared):
            number = "1 pair of clips" if len(pairs) == 1 else f"{len(pairs)} pairs of clips"
            raise UserError(
                f"{number} of the list {side.name} with the same bytes under two classes: {_named(pairs)}.",
                "Remove each of these clips from all classes but one.",
                EXIT_FAILED,
            )


def equal_clips(train: ListedClips, test: ListedClips, compared: ByteComparison) -> list[Pair]:
    """(training path, evaluation path) of clips with equal bytes, one pair for each evaluation clip."""
    by_content: dict[str, list[str]] = defaultdict(list)
    for path, content in train.dataset.fingerprints(train.rows).items():
        by_content[content].append(path)
    pairs = []
    for path, content in test.dataset.fingerprints(test.rows).items():
        copies = (copy for copy in by_content.get(content, ()) if compared.same(train, copy, test, path))
        if copy := next(copies, None):
            pairs.append((copy, path))
    return pairs


def clips_of_two_classes(side: ListedClips, compared: ByteComparison) -> list[Pair]:
    """Paths of two clips with equal bytes and different classes, one pair for each further class."""
    label_of = dict(side.rows.rows)
    by_content: dict[str, list[str]] = defaultdict(list)
    pairs = []
    for path, content in side.dataset.fingerprints(side.rows).items():
        copies = (c for c in by_content[content] if label_of[c] != label_of[path])
        if copy := next((c for c in copies if compared.same(side, c, side, path)), None):
            pairs.append((copy, path))
        by_content[content].append(path)
    return pairs


def _named(pairs: Sequence[Pair]) -> str:
    return "; ".join(f"{a} and {b}" for a, b in pairs[:_SHOWN]) + ("; ..." if len(pairs) > _SHOWN else "")
