"""Protocols: the fits and evals that a table consists of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar
from typing import Protocol as StructuralType

from harness.spec.lists import ListRef
from harness.spec.views import Views

SEED, SINGLE = "seed", "single"
"""Kind of the repeats of `--seeds`, and of a measurement without repeats."""


@dataclass(frozen=True)
class Repeat:
    """One of several measurements averaged in a table.

    Args:
        kind: `test_split`, `class_subset`, `train_subset`, `seed` or `single`.
        index: 1, 2, 3, ...
    """

    kind: str = "single"
    index: int = 1


@dataclass(frozen=True)
class Fit:
    """One training run: its training list and its repeat."""

    train: ListRef
    repeat: Repeat = Repeat()
    shots: int | None = None


@dataclass(frozen=True)
class Eval:
    """One scored list of one fit (or of the untrained method).

    Args:
        part: Name of the measured part: `base`, `novel`, `all`, `joint`. Columns of a table are means of parts.
        test: The list and its label set.
        repeat: Set where the repeats are evaluation lists of one fit (zero-shot test splits); otherwise the fit's.
        views: Views of this evaluation, None for the protocol's.
        optional: Whether the eval is carried out only if its part is requested (`--part`). It has no column.
        transform: Name of a view transform, which changes the frames of each view; empty for none.
    """

    part: str
    test: ListRef
    repeat: Repeat | None = None
    views: Views | None = None
    optional: bool = False
    transform: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a protocol's table: the mean of one part over repeats, or the harmonic mean of two such means."""

    name: str
    part: str = ""
    metric: str = "top1"
    harmonic_of: tuple[str, str] | None = None

    def as_dict(self) -> dict[str, str | list[str]]:
        """The fields that apply to the column, JSON-ready, for `show --json`."""
        row: dict[str, str | list[str]] = {"name": self.name}
        if self.harmonic_of:
            row["harmonic_of"] = list(self.harmonic_of)
        else:
            row.update(part=self.part, metric=self.metric)
        return row


@dataclass(frozen=True)
class ZeroShotTest:
    """One of the evaluation lists averaged in a zero-shot score, with the kind and index of its repeat."""

    list: str
    labels: str
    repeat_kind: str
    repeat_index: int


class DatasetFacts(StructuralType):
    """The facts of a dataset that a protocol may use: names of lists and label sets, no videos."""

    name: str
    source: str | None
    chosen_source: str | None
    zero_shot_tests: tuple[ZeroShotTest, ...]

    def has_list(self, name: str) -> bool:
        """Whether the dataset defines a list of this name."""
        ...

    def why_absent(self, name: str) -> str:
        """The reason why the dataset has no list of this name, as a sentence; empty if there is no special one."""
        ...


class Protocol(ABC):
    """The lists that are fitted on and evaluated, and the aggregation of repeats.

    A subclass is pure data plus two generators; it never touches videos, methods or scores.

    Class attributes:
        title: Display name.
        datasets: Datasets on which the protocol runs where a request names none.
        views: Views of all evals without views of their own; fits use their number of frames.
        columns: Columns of the protocol's table.
        recipe_like: Protocol whose recipes and option values apply to a method that declares none for this protocol;
            if empty, the built-in protocol that trains on the same kind of list.
        trains: Whether a run computes the fits of the protocol. If not, the fits are those of other protocols, with
            the recipes of those protocols, and a run refuses fits that are not finished.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    title: ClassVar[str] = ""
    datasets: ClassVar[tuple[str, ...]] = ()
    views: ClassVar[Views] = Views()
    columns: ClassVar[tuple[Column, ...]] = ()
    recipe_like: ClassVar[str] = ""
    trains: ClassVar[bool] = True

    @abstractmethod
    def fits(self, dataset: DatasetFacts) -> Iterable[Fit]:
        """The training runs that a dataset's numbers need, in order. Equal fits of two datasets are run once."""

    @abstractmethod
    def evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """The lists on which the model of `fit` is scored."""

    def extra_evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """Evals of `fit` that no column needs; they are carried out only if their part is requested (`--part`)."""
        return ()
