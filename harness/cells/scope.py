"""The fingerprints that all records of a row share: lists, recipes and views over everything a protocol prescribes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.base.canonical import JsonValue, fingerprint
from harness.base.errors import UserError
from harness.data.lists.dataset import Dataset
from harness.spec import Eval, Fit, LabelSet, ListRef, Recipe, Repeat, VideoList, Views
from results.codec import encode
from results.measurement import Expected, ListId, Prescribed, Scope, normal

Identified = list[str | int]


@dataclass(frozen=True)
class PlannedFit:
    """One fit that a protocol prescribes, with its evals.

    Args:
        fit: The protocol's request for the fit.
        recipe: Its recipe; None for an untrained method.
        evals: Its evaluations.
    """

    fit: Fit
    recipe: Recipe | None
    evals: tuple[PlannedEval, ...]


@dataclass(frozen=True)
class PlannedEval:
    """One eval that a protocol prescribes.

    Args:
        eval: The protocol's request for the eval.
        repeat: Its repeat; for a trained method without a repeat of the eval itself, that of the fit.
        prescribed: The protocol's own settings.
        views: Views that are used.
    """

    eval: Eval
    repeat: Repeat
    prescribed: Prescribed
    views: Views


def list_id(dataset: Dataset, rows: VideoList, labels: LabelSet, labels_name: str) -> ListId:
    """A list as measurements state it.

    Raises:
        UserError: A video of a custom dataset cannot be read.
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
    planned: Sequence[PlannedFit], training_views: Sequence[Views], start: str, dataset_of: Callable[[str], Dataset],
    chosen_source: bool,
) -> Scope:  # fmt: skip
    """The scope of a method under a protocol on a dataset.

    Args:
        planned: All fits that the protocol prescribes with all their evals, whichever of them a request selects.
        training_views: Views of training clips.
        start: Key of the parent fit; empty without one.
        dataset_of: Datasets by name.
        chosen_source: Whether the user chose the dataset that is trained on instead of the protocol.
    """
    trained = any(item.recipe is not None for item in planned)
    sources = [(item.fit.train, dataset_of(item.fit.train.dataset)) for item in planned]
    # An untrained method reads no training list. The lists count for it only where they may differ from the
    # protocol's, so that it is ranked with the trained methods of the same request and with no other.
    training_lists = [
        _identified(ref, dataset)
        for ref, dataset in sources
        if trained or chosen_source or dataset.draws or dataset.kind == "custom"
    ]
    # Entry 4 of `_identified` is the origin.
    own: list[JsonValue] = [row for row in training_lists if chosen_source or row[4] == "own"]
    evals = [planned_eval for item in planned for planned_eval in item.evals]
    tested: list[JsonValue] = [
        [item.eval.part, *_identified(item.eval.test, dataset_of(item.eval.test.dataset))] for item in evals
    ]
    part_views: list[JsonValue] = [[item.eval.part, encode(item.views)] for item in evals]
    evaluation_views: list[JsonValue] = [
        [item.eval.part, encode(item.views), encode(item.prescribed)] for item in evals
    ]
    # The source of a recipe is a citation, which changes no number.
    recipes: list[JsonValue] = [
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
        views=_set([*map(encode, training_views), *part_views] if trained else part_views),
        evaluation_views=_set(evaluation_views),
        expected=tuple(dict.fromkeys(Expected(item.eval.part, item.repeat) for item in evals)),
    )


def _set(entries: Iterable[JsonValue]) -> str:
    """Fingerprint of a set of JSON values: order and repetition do not count, and 5 and 5.0 are one value."""
    return fingerprint(sorted({fingerprint(normal(entry)) for entry in entries}), 16)


def _identified(ref: ListRef, dataset: Dataset) -> Identified:
    """A list for fingerprints: a published list by its name, any other list by its name and content.

    A published list has the same rows everywhere, so that a machine without its file computes the same fingerprint.
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
