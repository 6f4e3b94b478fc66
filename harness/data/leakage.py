"""The audit before every fit: clips on both sides of a training and an evaluation list, and class names seen before.

Clips on both sides are refused. Seen class names are reported, so that a strict score without them can stand beside the
score; they are judged by name only and never filtered silently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from harness.base.errors import UserError
from harness.data.lists.grammar import base_name
from harness.data.official.cards import OFFICIAL, load_card, split_words
from harness.spec import LabelSet, VideoList

# The evaluation class is the training class, a part of it, or contains it: a model trained on it has seen the action.
STRICT_RELATIONS = ("exact", "same", "narrower", "broader")
RELATIONS = (*STRICT_RELATIONS, "near", "related")
_GROUPED = ("ucf101", "mini_source", "mini_target")
_GROUP = re.compile(r"v_(.+_g\d{2})_c\d{2}")
_KINETICS = re.compile(r"([A-Za-z0-9_-]{11})(?:_\d{6}_\d{6})?")
_SHOWN = 3


@dataclass(frozen=True)
class SeenClass:
    """An evaluation class with a counterpart among the training classes.

    Args:
        id, name: Of the evaluation class, in its label set.
        relation: `exact` (the same words), `same`, `narrower` or `broader` (the evaluation class is a part of, or
            contains, the training class), `near` (a near-duplicate inside one dataset) or `related`.
        counterparts: Names of the training classes.
    """

    id: int
    name: str
    relation: str
    counterparts: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """What an evaluation shares with the training it follows. Shared clips are an error and never an `Audit`.

    Args:
        train, test: `dataset/list` of both sides.
        same_classes: Both sides have the same label set, as in supervised training; nothing is then "seen".
        classes: Number of evaluation classes.
        seen: Evaluation classes with a counterpart in training, by id; the nearest relation of each.
        source: How the names were compared.
    """

    train: str
    test: str
    same_classes: bool
    classes: int
    seen: tuple[SeenClass, ...] = ()
    source: str = "names, normalised"

    def seen_ids(self, relations: Iterable[str] = STRICT_RELATIONS) -> tuple[int, ...]:
        """Ids of the evaluation classes that a strict score leaves out."""
        chosen = set(relations)
        return tuple(entry.id for entry in self.seen if entry.relation in chosen)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form for the record."""
        return {
            "train": self.train,
            "test": self.test,
            "same_classes": self.same_classes,
            "classes": self.classes,
            "source": self.source,
            "strict_relations": list(STRICT_RELATIONS),
            "seen_ids": list(self.seen_ids()),
            "seen": [
                {"id": s.id, "name": s.name, "relation": s.relation, "counterparts": list(s.counterparts)}
                for s in self.seen
            ],
        }


def audit(
    train: VideoList | None,
    train_labels: LabelSet | None,
    test: VideoList,
    test_labels: LabelSet,
    train_dataset: str = "",
    test_dataset: str = "",
) -> Audit:
    """The audit of one evaluation list against the training list of its fit.

    Args:
        train: The training list; None for an untrained method, with which nothing is shared.
        train_labels: Its label set.
        test: The evaluation list.
        test_labels: Its label set.
        train_dataset: Name of the dataset trained on.
        test_dataset: Name of the dataset evaluated on.

    Raises:
        UserError: A video, a UCF-101 source group or a YouTube id is in both lists (exit code 1).
    """
    test_name = f"{test_dataset}/{test.name}"
    if train is None or train_labels is None:
        return Audit("", test_name, False, len(test_labels), source="no training")
    train_name = f"{train_dataset}/{train.name}"
    _refuse_shared(train, test, train_dataset, test_dataset, train_name, test_name)
    if train_dataset == test_dataset and train_labels == test_labels:
        return Audit(train_name, test_name, True, len(test_labels))
    seen = seen_classes(train_labels, test_labels, train_dataset, test_dataset)
    curated = train_dataset == test_dataset or (train_dataset == "k400" and test_dataset in _relations()["k400"])
    source = "names, normalised, and curated relations" if curated else "names, normalised"
    return Audit(train_name, test_name, False, len(test_labels), seen, source)


def _refuse_shared(
    train: VideoList, test: VideoList, train_dataset: str, test_dataset: str, train_name: str, test_name: str
) -> None:
    kinds = {
        "video": (_clip_keys(train, train_dataset), _clip_keys(test, test_dataset)),
        "source group": (_group_keys(train, train_dataset), _group_keys(test, test_dataset)),
        "YouTube id": (_youtube_keys(train, train_dataset), _youtube_keys(test, test_dataset)),
    }
    for kind, (left, right) in kinds.items():
        shared = sorted(left & right)
        if shared:
            some = ", ".join(shared[:_SHOWN]) + (" ..." if len(shared) > _SHOWN else "")
            plural = kind if len(shared) == 1 else f"{kind}s"
            raise UserError(
                f"{len(shared)} {plural} of the evaluation list {test_name} stand in the training list {train_name}: "
                f"{some}.",
                "Evaluate on a list that holds none of the training clips (few-shot: val1 only).",
                exit_code=1,
            )


def _clip_keys(rows: VideoList, dataset: str) -> set[str]:
    """Base names, case aside; of a custom dataset whole paths, since its folders may repeat a file's name."""
    if dataset in (*OFFICIAL, "mini_source", "mini_target"):
        return {base_name(path).casefold() for path in rows.paths}
    return {f"{dataset}:{path}" for path in rows.paths}


def _group_keys(rows: VideoList, dataset: str) -> set[str]:
    """`<dataset>:<Class>_gNN` where file names carry a source group: clips of a group are cut from one video."""
    if dataset not in _GROUPED:
        return set()
    matches = (_GROUP.match(base_name(path)) for path in rows.paths)
    return {f"{dataset}:{match[1]}".casefold() for match in matches if match}


def _youtube_keys(rows: VideoList, dataset: str) -> set[str]:
    if dataset not in ("k400", "k600"):
        return set()
    matches = (_KINETICS.fullmatch(base_name(path)) for path in rows.paths)
    return {match[1] for match in matches if match}


def normalise(name: str) -> str:
    """A class name as compared: letters and digits only, case aside (`ApplyLipstick` is `apply lipstick`)."""
    return "".join(c for c in name.casefold() if c.isalnum())


def seen_classes(
    train_labels: LabelSet, test_labels: LabelSet, train_dataset: str, test_dataset: str
) -> tuple[SeenClass, ...]:
    """The evaluation classes with a counterpart in training, in id order, each with its nearest relation.

    For HMDB-51 the true class of an id decides, not its published name, which is swapped in two pairs.
    """
    train_true = _true_names(train_labels, train_dataset)
    by_key = {normalise(name): name for name in train_true}
    seen: list[SeenClass] = []
    for label, (name, true) in enumerate(zip(test_labels.names, _true_names(test_labels, test_dataset), strict=True)):
        candidates = _curated(true, set(train_true), train_dataset, test_dataset)
        if exact := by_key.get(normalise(true)):
            candidates["exact"] = [exact]
        for relation in RELATIONS:
            if relation in candidates:
                seen.append(SeenClass(label, name, relation, tuple(candidates[relation])))
                break
    return tuple(seen)


def _curated(true: str, train: set[str], train_dataset: str, test_dataset: str) -> dict[str, list[str]]:
    """Relations of one evaluation class to training classes that are really trained on."""
    found: dict[str, list[str]] = {}
    if train_dataset == "k400":
        for relation, names in _relations()["k400"].get(test_dataset, {}).get(true, {}).items():
            if present := [name for name in names if name in train]:
                found[relation] = present
    if train_dataset == test_dataset:
        pairs = _relations()["near"].get(test_dataset, [])
        near = [b if a == true else a for a, b in pairs if true in (a, b)]
        if present := [name for name in near if name in train]:
            found["near"] = present
    return found


def _true_names(labels: LabelSet, dataset: str) -> tuple[str, ...]:
    """The names of the classes whose clips the ids really hold."""
    if labels.variant == "corrected" or dataset not in OFFICIAL:
        return labels.names
    card = load_card(dataset)
    if labels.variant == "split":
        whole = {split_words(name): name for name in card.names}
        return tuple(whole.get(name, name) for name in labels.names)
    wrong = {card.names[label]: true for label, true in card.corrected.items()}
    return tuple(wrong.get(name, name) for name in labels.names)


@cache
def _relations() -> Mapping[str, Any]:
    text = resources.files("harness.data").joinpath("assets", "overlap.json").read_text(encoding="utf-8")
    content: Mapping[str, Any] = json.loads(text)
    return content
