"""What a checker must know of the benchmark, as plain data: handed in, because results know nothing of datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ListFacts:
    """What is pinned of a list.

    Args:
        n: Rows, 0 if unknown.
        sha256: Of the lines `path label` with LF; empty if unknown.
        set_sha256: Of the sorted lines `name label` (`harness.base.canonical.row_set_sha256`); empty if unknown.
    """

    n: int
    sha256: str
    set_sha256: str = ""


@dataclass(frozen=True)
class EvalFacts:
    """One evaluation that a protocol asks for.

    Args:
        part, list, labels: What is scored, on which list, with which label set.
        kind, index: The repeat it counts as.
        train: Dataset, list and label set of the fit; None for a method that is not trained.
        fit_repeat: Kind and index of the fit.
        shots: K of the fit.
        seen: Ids of the evaluation classes that training on `train` has seen.
        parent_seen: Of those that training on the dataset's source has seen.
    """

    part: str
    list: str
    labels: str
    kind: str
    index: int
    train: tuple[str, str, str] | None = None
    fit_repeat: tuple[str, int] = ("single", 1)
    shots: int | None = None
    seen: tuple[int, ...] = ()
    parent_seen: tuple[int, ...] = ()

    @property
    def place(self) -> tuple[str, str, str, int]:
        """As `Measured.place`."""
        return self.part, self.list, self.kind, self.index


@dataclass(frozen=True)
class ProtocolFacts:
    """A protocol on a dataset.

    Args:
        protocol, version, dataset: Which.
        embedded: Whether it is a dataset of the embedded benchmark.
        views: The published views, without size.
        mini_frames: Frames on the embedded tiny CLIP.
        columns: The column rules.
        trained, untrained: The evaluations of a method that is trained, and of one that is not.
        lists: By (dataset, list).
        labels: Class names by (dataset, label set, variant).
    """

    protocol: str
    version: int
    dataset: str
    embedded: bool
    views: Mapping[str, Any]
    mini_frames: int
    columns: tuple[Mapping[str, Any], ...]
    trained: tuple[EvalFacts, ...]
    untrained: tuple[EvalFacts, ...]
    lists: Mapping[tuple[str, str], ListFacts]
    labels: Mapping[tuple[str, str, str], tuple[str, ...]]


@dataclass(frozen=True)
class Facts:
    """Everything that rules compare with.

    Args:
        protocols: Names of the benchmark's protocols.
        pairs: By (protocol, dataset); a pair without an entry is not of the benchmark.
        builtin: sha256 of the source of each built-in method.
        mini_weights: sha256 of the embedded tiny CLIP's file.
        known: Where else a predictions table occurs: its sha256 to a row's name.
    """

    protocols: tuple[str, ...] = ()
    pairs: Mapping[tuple[str, str], ProtocolFacts] = field(default_factory=dict)
    builtin: Mapping[str, str] = field(default_factory=dict)
    mini_weights: str = ""
    known: Mapping[str, str] = field(default_factory=dict)
