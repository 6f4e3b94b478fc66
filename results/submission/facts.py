"""Facts of the benchmark for the checker, as plain data that `harness` provides; `results` knows no datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from harness.spec import Column, Recipe, Repeat, Views
from harness.spec.protocol import SEED, SINGLE
from results.measurement import Expected, FitDescription, ListId, Measurement, ModelId, Prescribed, Scope, Value
from results.record import AuditFacts
from results.submission.copies import KnownTables
from results.submission.layout import Card


@dataclass(frozen=True)
class ListFacts:
    """Size and hashes of a published list.

    Args:
        n: Number of rows; 0 if unknown.
        sha256: Hash of the lines `path label` with LF; empty if unknown.
        set_sha256: Hash of the sorted lines `name label` (`harness.base.canonical.row_set_sha256`); empty if unknown.
        order_sha256: Hash of the same lines in the order of the list; empty if unknown.
        content: Hash of the videos of the embedded benchmark, which has versions; empty where paths identify videos.
    """

    n: int
    sha256: str
    set_sha256: str = ""
    order_sha256: str = ""
    content: str = ""


@dataclass(frozen=True)
class ListPlace:
    """Names of a list and of its label set."""

    dataset: str
    name: str
    labels: str

    def __str__(self) -> str:
        return f"{self.dataset}/{self.name} with the label set {self.labels}"


@dataclass(frozen=True)
class EvalFacts:
    """One evaluation that a protocol prescribes.

    Args:
        part: Part that the evaluation list measures.
        repeat: Repeat that the evaluation counts as.
        test: The evaluation list.
        views: The published views.
        train: The training list; None for an untrained method.
        shots: Clips per class of the training list; None if it is not few-shot.
    """

    part: str
    repeat: Repeat
    test: ListPlace
    views: Views
    train: ListPlace | None = None
    shots: int | None = None

    @property
    def place(self) -> Expected:
        """Part and repeat, as in a scope."""
        return Expected(self.part, self.repeat)


@dataclass(frozen=True)
class ProtocolFacts:
    """A protocol on a dataset.

    Args:
        protocol, version: Name and version of the protocol.
        dataset: Name of the dataset.
        embedded: Whether the dataset belongs to the embedded benchmark.
        views_of: Returns the views of the protocol as a CLIP model takes them, from those views, the model, and the
            prescribed views that a record states.
        columns: Column rules of the protocol.
        trained, untrained: Evaluations of a trained method and of an untrained method.
        parent: Training list of a parent fit; None if the dataset has no parent fits.
        lists: Size and hashes by (dataset, list).
        labels: Class names by (dataset, label set, variant).
        cluster: Returns the cluster of a video of the evaluation lists.
        scope: Returns the scope of a complete row from its measurements; None if it cannot be computed.
        audit: Returns the leakage check of an evaluation list (second argument) against the classes of a training list
            (first argument), which is None for an untrained method; None if a label set is not known.
    """

    protocol: str
    version: int
    dataset: str
    embedded: bool
    views_of: Callable[[Views, ModelId, Views], Views]
    columns: tuple[Column, ...]
    trained: tuple[EvalFacts, ...]
    untrained: tuple[EvalFacts, ...]
    parent: ListPlace | None
    lists: Mapping[tuple[str, str], ListFacts]
    labels: Mapping[tuple[str, str, str], tuple[str, ...]]
    cluster: Callable[[str], str]
    scope: Callable[[Sequence[Measurement]], Scope | None]
    audit: Callable[[ListId | None, ListId], AuditFacts | None]

    def expected(self, m: Measurement) -> dict[Expected, EvalFacts]:
        """The prescribed evaluations of a measured method, by part and repeat; of each seed for a row of seeds."""
        items = self.untrained if m.training is None else self.trained
        if (seeds := self.seeds(m)) > 1:
            items = tuple(replace(item, repeat=Repeat(SEED, i)) for i in range(1, seeds + 1) for item in items)
        return {item.place: item for item in items}

    def seeds(self, m: Measurement) -> int:
        """The number of seeds of the row of a measurement; 0 for the repeats of the protocol."""
        if m.training is None or any(item.repeat.kind != SINGLE for item in self.trained):
            return 0
        return max((e.repeat.index for e in m.protocol.scope.expected if e.repeat.kind == SEED), default=0)

    def prescribed(self, item: EvalFacts, model: ModelId, stated: Views) -> Prescribed | None:
        """The prescribed settings of an evaluation; None for a model other than CLIP.

        Such a model uses the frames that it was trained on, and its rows are not ranked together with other rows.
        """
        if model.config:
            return None
        return Prescribed(self.views_of(item.views, model, stated))


@dataclass(frozen=True)
class Program:
    """Code and version of a built-in method of this installation.

    Args:
        code: Hash of the code.
        version: Version of the method.
        closed_form: Whether its fits have no random draws, so that equal training lists give equal weights.
        buffers: Names of tensors that its fits set without training them.
    """

    code: str
    version: int
    closed_form: bool = False
    buffers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Declared:
    """The declarations of a built-in method for one protocol, dataset and model.

    Args:
        recipe: The recipe; None for an untrained method.
        defaults: Known default values of the options.
        evaluation_options: Names of the options that matter only in evaluation.
        option_problem: The reason why the recorded values of the options are not valid; empty if they are.
        card: The card, as a submission states it in card.json.
        parameters: (total, trained) numbers of parameters; None where they are not known.
        trained: Whether the method declares a recipe.
    """

    recipe: Recipe | None
    defaults: Mapping[str, Value]
    evaluation_options: frozenset[str] = frozenset()
    option_problem: str = ""
    card: Card | None = None
    parameters: tuple[int, int] | None = None
    trained: bool = True


@dataclass(frozen=True)
class Facts:
    """All facts that the rules use.

    Args:
        protocols: Names of the benchmark's protocols.
        pairs: Facts by (protocol, dataset); other pairs do not belong to the benchmark.
        builtin: Each built-in method by name.
        mini: The embedded tiny CLIP.
        engine: Engine version of this installation.
        harness: Version of this installation.
        now: Present time; None does not compare dates with it.
        model_problems: Returns the fields of a model that differ from the architecture and tag that it names, each with
            the value found and the value expected.
        frame_gmacs: Returns the 10^9 multiply-adds of the vision tower for one frame; None if they are not known.
        declared: Returns the declarations of a built-in method for a measurement and its number of shots; None for
            other methods.
        recipes: Returns the recipes that a built-in method declares for a fit, over all protocols; none for another
            method.
        known: Predictions tables of other submissions.
        titles: Title of each built-in method and of each method on the board, by name.
    """

    protocols: tuple[str, ...] = ()
    pairs: Mapping[tuple[str, str], ProtocolFacts] = field(default_factory=dict)
    builtin: Mapping[str, Program] = field(default_factory=dict)
    mini: ModelId | None = None
    engine: int = 0
    harness: str = ""
    now: datetime | None = None
    model_problems: Callable[[ModelId], Sequence[tuple[str, str]]] = lambda _model: ()
    frame_gmacs: Callable[[ModelId], float | None] = lambda _model: None
    declared: Callable[[Measurement, int | None], Declared | None] = lambda _measurement, _shots: None
    recipes: Callable[[FitDescription], Sequence[Recipe]] = lambda _described: ()
    known: KnownTables = field(default_factory=KnownTables)
    titles: Mapping[str, str] = field(default_factory=dict)
