"""The benchmark as a checker must know it, as plain data: handed in, because results know nothing of datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.spec import Column, Recipe, Repeat, Views
from results.measurement import Expected, Measurement, ModelId, Prescribed, Scope, Value
from results.measurement_words import EMBEDDED_ARCH


@dataclass(frozen=True)
class ListFacts:
    """The pinned facts of a list.

    Args:
        n: Rows, 0 if unknown.
        sha256: Of the lines `path label` with LF; empty if unknown.
        set_sha256: Of the sorted lines `name label` (`harness.base.canonical.row_set_sha256`); empty if unknown.
    """

    n: int
    sha256: str
    set_sha256: str = ""


@dataclass(frozen=True)
class ListPlace:
    """A list with the label set that its ids point into, by name."""

    dataset: str
    name: str
    labels: str

    def __str__(self) -> str:
        return f"{self.dataset}/{self.name} with the label set {self.labels}"


@dataclass(frozen=True)
class EvalFacts:
    """One evaluation that a protocol prescribes.

    Args:
        part: What the evaluation list measures.
        repeat: The repeat that it counts as.
        test: The evaluation list.
        views: The published views.
        train: The training list; None for an untrained method.
        shots: Clips per class of the training list; None if it is not few-shot.
        seen: Ids of the evaluation classes that training on `train` has seen.
        parent_seen: Ids of those that a parent fit has seen.
    """

    part: str
    repeat: Repeat
    test: ListPlace
    views: Views
    train: ListPlace | None = None
    shots: int | None = None
    seen: tuple[int, ...] = ()
    parent_seen: tuple[int, ...] = ()

    @property
    def place(self) -> Expected:
        """As in a scope."""
        return Expected(self.part, self.repeat)


@dataclass(frozen=True)
class ProtocolFacts:
    """A protocol on a dataset.

    Args:
        protocol, version, dataset: Names, and the protocol's version.
        embedded: Whether it is a dataset of the embedded benchmark.
        mini_frames: Frames on the embedded tiny CLIP.
        columns: The column rules.
        trained, untrained: The evaluations of a trained method, and of an untrained one.
        parent: The training list of a parent fit; None where no parent can be fitted.
        lists: Pinned facts by (dataset, list).
        labels: Class names by (dataset, label set, variant).
        cluster: Gives the cluster of a video of the evaluation lists: the source that it was cut from.
        scope: Computes the scope of a complete row from its measurements; None if it cannot be computed.
    """

    protocol: str
    version: int
    dataset: str
    embedded: bool
    mini_frames: int
    columns: tuple[Column, ...]
    trained: tuple[EvalFacts, ...]
    untrained: tuple[EvalFacts, ...]
    parent: ListPlace | None
    lists: Mapping[tuple[str, str], ListFacts]
    labels: Mapping[tuple[str, str, str], tuple[str, ...]]
    cluster: Callable[[str], str]
    scope: Callable[[Sequence[Measurement]], Scope | None]

    def expected(self, m: Measurement) -> dict[Expected, EvalFacts]:
        """The prescribed evaluations of a method such as the one measured, by place."""
        return {item.place: item for item in (self.untrained if m.training is None else self.trained)}

    def prescribed(self, item: EvalFacts, model: ModelId) -> Prescribed | None:
        """The prescribed settings of an evaluation; None for a model that a method brings along.

        Such a model takes frames as it was trained on them, and its rows are never ranked with others.
        """
        if model.config:
            return None
        mini = model.arch == EMBEDDED_ARCH
        return Prescribed(replace(item.views, frames=min(item.views.frames, self.mini_frames)) if mini else item.views)


@dataclass(frozen=True)
class Declared:
    """The declarations of a method for one protocol, dataset and model.

    Args:
        recipe: The recipe; None for an untrained method.
        defaults: The values of its options if the user gives none, as far as they are known.
    """

    recipe: Recipe | None
    defaults: Mapping[str, Value]


@dataclass(frozen=True)
class Facts:
    """Everything that rules compare with.

    Args:
        protocols: Names of the benchmark's protocols.
        pairs: By (protocol, dataset); a pair without an entry is not of the benchmark.
        builtin: Hash of the source of each built-in method.
        mini_weights: `ModelId.weights` of the embedded tiny CLIP.
        declared: Gives the declarations of a built-in method for a measurement and its number of shots; None for other
            methods.
        known: Where else a predictions table occurs: its sha256 to a row's name.
    """

    protocols: tuple[str, ...] = ()
    pairs: Mapping[tuple[str, str], ProtocolFacts] = field(default_factory=dict)
    builtin: Mapping[str, str] = field(default_factory=dict)
    mini_weights: str = ""
    declared: Callable[[Measurement, int | None], Declared | None] = lambda _measurement, _shots: None
    known: Mapping[str, str] = field(default_factory=dict)
