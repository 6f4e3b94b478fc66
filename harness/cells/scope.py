"""The fingerprints that all records of a row share: lists, recipes and views over everything a protocol prescribes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.base.canonical import fingerprint
from harness.base.errors import UserError
from harness.data.dataset import Dataset
from harness.spec import Eval, Fit, LabelSet, ListRef, Recipe, Repeat, VideoList, Views
from results.codec import JsonLike, encode
from results.measurement import Expected, ListId, Prescribed, Scope, normal

Identified = list[str | int]


@dataclass(frozen=True)
class Planned:
    """One fit of a protocol with its evals, before any is selected.

    Args:
        fit: The protocol's request.
        recipe: Its recipe; None for an untrained method.
        evals: The evaluations of the fit, each with its repeat, prescribed settings and views used.
    """

    fit: Fit
    recipe: Recipe | None
    evals: tuple[PlannedEval, ...]


@dataclass(frozen=True)
class PlannedEval:
    """One eval of a protocol with the repeat that it is for this method."""

    eval: Eval
    repeat: Repeat
    prescribed: Prescribed
    views: Views


def list_id(dataset: Dataset, rows: VideoList, labels: LabelSet, labels_name: str) -> ListId:
    """A list as measurements state it.

    Raises:
        UserError: A video of an own dataset cannot be read.
    """
    return ListId(
        dataset=dataset.name,
        name=rows.name,
        origin=rows.origin,  # type: ignore[arg-type]
        sha256=rows.sha256,
        labels=labels_name,
        labels_sha256=labels.sha256,
        label_variant=labels.variant,  # type: ignore[arg-type]
        n=len(rows),
        content=dataset.content(rows) or "",
        root=dataset.root_id,
    )


def scope_of(
    planned: Sequence[Planned], training_views: Views, start: str, dataset_of: Callable[[str], Dataset],
    chosen_source: bool,
) -> Scope:  # fmt: skip
    """The scope of a method under a protocol on a dataset.

    Args:
        planned: All fits that the protocol prescribes with all their evals, whatever part of them a request selects.
        training_views: Views of training clips.
        start: Key of the parent fit; empty without one.
        dataset_of: Datasets by name.
        chosen_source: Whether the user chose the dataset that is trained on instead of the protocol.
    """
    trained = any(item.recipe is not None for item in planned)
    sources = [(item.fit.train, dataset_of(item.fit.train.dataset)) for item in planned]
    # An untrained method needs no training lists; they count only where they may be other than the protocol's.
    training_lists = [
        _identified(ref, dataset)
        for ref, dataset in sources
        if trained or chosen_source or dataset.draws or dataset.kind == "custom"
    ]
    own = [row for row in training_lists if chosen_source or row[4] == "own"]
    evals = [one for item in planned for one in item.evals]
    tested = [[one.eval.part, *_identified(one.eval.test, dataset_of(one.eval.test.dataset))] for one in evals]
    seen = [(one.eval.part, encode(one.views), encode(one.prescribed)) for one in evals]
    recipes = [
        [item.fit.shots, {name: value for name, value in encode(item.recipe).items() if name != "source"}]
        for item in planned
        if item.recipe is not None
    ]
    return Scope(
        lists=_set([*tested, *(training_lists if trained else []), start]),
        evaluation_lists=_set(tested),
        training_origin="source" if chosen_source else "own" if own else "",
        own_training_lists=_set(own) if own else "",
        recipes=_set(recipes) if recipes else "",
        views=_set([*([encode(training_views)] if trained else []), *([part, views] for part, views, _ in seen)]),
        evaluation_views=_set(seen),
        expected=tuple(dict.fromkeys(Expected(one.eval.part, one.repeat) for one in evals)),
    )


def _set(entries: Iterable[JsonLike]) -> str:
    """Fingerprint of a set of JSON values: their order and their number do not count, and 5 and 5.0 are one value."""
    return fingerprint(sorted({fingerprint(normal(entry)) for entry in entries}), 16)


def _identified(ref: ListRef, dataset: Dataset) -> Identified:
    """A list for fingerprints: a published one by its name, another by its content too.

    A published list has the same rows on every machine, whether or not it is on this one.
    """
    labels = dataset.labels(ref.labels)
    known: Identified = [dataset.name, ref.list, labels.sha256, labels.variant]
    try:
        rows = dataset.list(ref.list)
    except UserError:
        if dataset.kind != "official":
            raise
        return [*known, "published"]
    if rows.origin == "published":
        return [*known, rows.origin]
    return [*known, rows.origin, rows.name, rows.sha256, dataset.content(rows) or ""]
