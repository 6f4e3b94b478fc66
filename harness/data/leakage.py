"""Leakage check before every fit: videos in both the training and the evaluation list, and classes seen in training.

Shared videos are an error. Seen classes are reported, so that a strict score without them can be printed beside the
score. They are judged by name only, and no evaluation video is left out because of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import msgspec

from harness.base.errors import UserError
from harness.data.lists.grammar import base_name
from harness.data.official.cards import OFFICIAL, load_card, split_words
from harness.spec import LabelSet, VideoList
from results.record import AuditFacts, Seen

# The evaluation class is the training class, a part of it, or contains it: a model trained on it has seen the action.
STRICT_RELATIONS = ("exact", "same", "narrower", "broader")
RELATIONS = (*STRICT_RELATIONS, "near", "related")
_EQUAL = ("exact", "same")
_REVERSED = {"narrower": "broader", "broader": "narrower"}
_GROUPED = ("ucf101", "mini_source", "mini_target")
"""Datasets whose file names state the video from which a clip was cut."""
_GROUP = re.compile(r"v_(.+_g\d{2})_c\d{2}")
_KINETICS = re.compile(r"([A-Za-z0-9_-]{11})(?:_\d{6}_\d{6})?")
_SHOWN = 3
NO_TRAINING = "no training"
"""Source of the audit of an untrained method."""
UNKNOWN_TRAINING = "a checkpoint, whose training data are not known here"
"""Source of the audit of weights that were read from a file."""


@dataclass(frozen=True)
class SeenClass:
    """An evaluation class with a counterpart among the training classes.

    Args:
        id: Id of the evaluation class in its label set.
        name: Name of the evaluation class in its label set.
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
    """Result of the leakage check of one evaluation list against one training list without shared videos.

    Args:
        train: `dataset/list` of the training list, empty for an untrained method.
        test: `dataset/list` of the evaluation list.
        same_classes: Whether both lists have the same label set, as in supervised training; `seen` is then empty.
        classes: Number of evaluation classes.
        seen: Evaluation classes with a counterpart in training, in id order, each with its nearest relation.
        source: The comparison of the names in words.
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

    def facts(self) -> AuditFacts:
        """The check as it is written into a record."""
        return AuditFacts(
            train=self.train,
            test=self.test,
            same_classes=self.same_classes,
            classes=self.classes,
            source=self.source,
            strict_relations=STRICT_RELATIONS,
            seen_ids=self.seen_ids(),
            seen=tuple(Seen(entry.id, entry.name, entry.relation, entry.counterparts) for entry in self.seen),
        )


@dataclass(frozen=True)
class LabelledList:
    """Name of a list, its dataset, and the label set under which it is read."""

    dataset: str
    name: str
    labels: LabelSet


def audit_classes(train: LabelledList | None, test: LabelledList) -> Audit:
    """The part of the leakage check that needs no videos: compare the classes of two lists.

    Args:
        train: The training list; None for an untrained method, which has seen nothing.
        test: The evaluation list.
    """
    test_name = f"{test.dataset}/{test.name}"
    if train is None:
        return Audit("", test_name, False, len(test.labels), source=NO_TRAINING)
    train_name = f"{train.dataset}/{train.name}"
    if train.dataset == test.dataset and train.labels == test.labels:
        return Audit(train_name, test_name, True, len(test.labels))
    seen = seen_classes(train.labels, test.labels, train.dataset, test.dataset)
    curated = train.dataset == test.dataset or {train.dataset, test.dataset} <= {"k400", *_relations().k400}
    source = "names, normalised, and curated relations" if curated else "names, normalised"
    return Audit(train_name, test_name, False, len(test.labels), seen, source)


def audit(
    train: VideoList | None,
    train_labels: LabelSet | None,
    test: VideoList,
    test_labels: LabelSet,
    train_dataset: str = "",
    test_dataset: str = "",
) -> Audit:
    """Check one evaluation list against the training list of its fit.

    Args:
        train: The training list; None for an untrained method, which has seen nothing.
        train_labels: Label set of the training list.
        test: The evaluation list.
        test_labels: Label set of the evaluation list.
        train_dataset: Name of the dataset of the training list.
        test_dataset: Name of the dataset of the evaluation list.

    Raises:
        UserError: A video, a UCF-101 source group or a YouTube id is in both lists (exit code 1).
    """
    tested = LabelledList(test_dataset, test.name, test_labels)
    if train is None or train_labels is None:
        return audit_classes(None, tested)
    _refuse_shared(_Side(train, train_dataset), _Side(test, test_dataset))
    return audit_classes(LabelledList(train_dataset, train.name, train_labels), tested)


@dataclass(frozen=True)
class _Side:
    """A list and the name of its dataset."""

    rows: VideoList
    dataset: str

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.rows.name}"

    @property
    def video_keys(self) -> set[str]:
        """Base names in lower case; whole paths in a custom dataset, because its folders may repeat a file name."""
        if self.dataset in (*OFFICIAL, "mini_source", "mini_target"):
            return {base_name(path).casefold() for path in self.rows.paths}
        return {f"{self.dataset}:{path}" for path in self.rows.paths}

    @property
    def group_keys(self) -> set[str]:
        """`<dataset>:<Class>_gNN` where file names carry a source group: clips of a group are cut from one video."""
        if self.dataset not in _GROUPED:
            return set()
        matches = (_GROUP.match(base_name(path)) for path in self.rows.paths)
        return {f"{self.dataset}:{match[1]}".casefold() for match in matches if match}

    @property
    def youtube_keys(self) -> set[str]:
        """YouTube ids without the dataset's name, because K-400 and K-600 share videos."""
        if self.dataset not in ("k400", "k600"):
            return set()
        matches = (_KINETICS.fullmatch(base_name(path)) for path in self.rows.paths)
        return {match[1] for match in matches if match}


def _refuse_shared(train: _Side, test: _Side) -> None:
    kinds = {
        "video": (train.video_keys, test.video_keys),
        "source group": (train.group_keys, test.group_keys),
        "YouTube id": (train.youtube_keys, test.youtube_keys),
    }
    for kind, (train_keys, test_keys) in kinds.items():
        shared = sorted(train_keys & test_keys)
        if shared:
            first = ", ".join(shared[:_SHOWN]) + (" ..." if len(shared) > _SHOWN else "")
            number, verb = (f"1 {kind}", "is") if len(shared) == 1 else (f"{len(shared)} {kind}s", "are")
            raise UserError(
                f"{number} of the evaluation list {test.name} {verb} also in the training list {train.name}: {first}.",
                "Evaluate on a list without training videos (few-shot: val1 only).",
                exit_code=1,
            )


def normalise(name: str) -> str:
    """A class name for comparison: letters and digits only, lower case (`ApplyLipstick` is `apply lipstick`)."""
    return "".join(c for c in name.casefold() if c.isalnum())


def seen_classes(
    train_labels: LabelSet, test_labels: LabelSet, train_dataset: str, test_dataset: str
) -> tuple[SeenClass, ...]:
    """The evaluation classes with a counterpart in training, in id order, each with its nearest relation.

    For HMDB-51 the true class of an id decides, not its published name, because two pairs of names are swapped.
    """
    train_names = _true_names(train_labels, train_dataset)
    train_name_of = {normalise(name): name for name in train_names}
    seen: list[SeenClass] = []
    for label, (name, true) in enumerate(zip(test_labels.names, _true_names(test_labels, test_dataset), strict=True)):
        candidates = _curated(true, set(train_names), train_dataset, test_dataset)
        if exact := train_name_of.get(normalise(true)):
            candidates["exact"] = [exact]
        for relation in RELATIONS:  # from the nearest to the farthest
            if relation in candidates:
                seen.append(SeenClass(label, name, relation, tuple(candidates[relation])))
                break
    return tuple(seen)


def _curated(true: str, train: set[str], train_dataset: str, test_dataset: str) -> dict[str, list[str]]:
    """Curated relations of one evaluation class to the classes of the training label set."""
    counterparts: dict[str, list[str]] = {}
    if train_dataset == "k400":
        for relation, names in _relations().k400.get(test_dataset, {}).get(true, {}).items():
            if trained := [name for name in names if name in train]:
                counterparts[relation] = trained
    for relation, related in _through_k400(train_dataset, test_dataset).get(true, {}).items():
        if trained := [name for name in related if name in train]:
            counterparts[relation] = trained
    if train_dataset == test_dataset:
        pairs = _relations().near.get(test_dataset, ())
        near = [b if a == true else a for a, b in pairs if true in (a, b)]
        if trained := [name for name in near if name in train]:
            counterparts["near"] = trained
    return counterparts


@cache
def _through_k400(train_dataset: str, test_dataset: str) -> dict[str, dict[str, list[str]]]:
    """Relations of evaluation classes to training classes that follow from the relations of both datasets to K-400.

    An evaluation on K-400 reverses the relations of the training dataset. Two other datasets share a class if both
    have it in common with K-400. Returns evaluation class -> relation -> training classes.
    """
    curated, related = _relations().k400, defaultdict[str, dict[str, list[str]]](dict)
    trained = curated.get(train_dataset, {})
    if test_dataset == "k400":
        for name, relations in trained.items():
            for relation, counterparts in relations.items():
                for counterpart in counterparts:
                    related[counterpart].setdefault(_REVERSED.get(relation, relation), []).append(name)
    elif train_dataset != test_dataset:
        for true, relations in curated.get(test_dataset, {}).items():
            shared = _equal_names(relations)
            if names := [name for name, of_trained in trained.items() if shared & _equal_names(of_trained)]:
                related[true]["same"] = names
    return dict(related)


def _equal_names(relations: Mapping[str, Iterable[str]]) -> set[str]:
    """The K-400 classes that are the same action."""
    return {name for relation in _EQUAL for name in relations.get(relation, ())}


def _true_names(labels: LabelSet, dataset: str) -> tuple[str, ...]:
    """The names of the classes that the clips of each id show."""
    if labels.variant == "corrected" or dataset not in OFFICIAL:
        return labels.names
    card = load_card(dataset)
    if labels.variant == "split":
        whole = {split_words(name): name for name in card.names}
        return tuple(whole.get(name, name) for name in labels.names)
    true_name_of = {card.names[label]: true for label, true in card.corrected.items()}
    return tuple(true_name_of.get(name, name) for name in labels.names)


@dataclass(frozen=True)
class _Relations:
    """The file `assets/overlap.json`, judged by name only.

    Args:
        k400: Evaluation dataset -> evaluation class -> relation -> K-400 classes.
        near: Dataset -> pairs of near-duplicate classes of that dataset.
    """

    k400: Mapping[str, Mapping[str, Mapping[str, tuple[str, ...]]]]
    near: Mapping[str, tuple[tuple[str, str], ...]]


@cache
def _relations() -> _Relations:
    text = resources.files("harness.data").joinpath("assets", "overlap.json").read_bytes()
    return msgspec.json.decode(text, type=_Relations)
