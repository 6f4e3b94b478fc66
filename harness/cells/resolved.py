"""A request with every setting decided: the typed values from which cells are built and which later steps only read."""

from __future__ import annotations

from dataclasses import dataclass

from harness.cells.cell import MethodRow
from harness.cells.scope import PlannedEval, PlannedFit
from harness.data.lists.dataset import Dataset
from harness.spec import Fit, Protocol, Recipe, Views


@dataclass(frozen=True)
class ResolvedFit:
    """One training run with every setting decided.

    Args:
        row: The method.
        protocol: Name of the protocol that prescribes the fit.
        fit: The protocol's request for it.
        dataset: Dataset of the training list.
        declared: Recipe that the method declares for the fit.
        recipe: The declared recipe with the user's overrides, and with a batch that the training list fills.
        views: Views of training clips.
    """

    row: MethodRow
    protocol: str
    fit: Fit
    dataset: Dataset
    declared: Recipe
    recipe: Recipe
    views: Views


@dataclass(frozen=True)
class Chosen:
    """A fit that the request selects, with its evaluations.

    Args:
        training: The training run; None for an untrained method.
        evals: The evaluations, each with the dataset of its list.
    """

    training: ResolvedFit | None
    evals: tuple[tuple[PlannedEval, Dataset], ...]


@dataclass(frozen=True)
class Combination:
    """One method under one protocol on one dataset, with every setting decided.

    Args:
        row: The method with its options, on its backbone.
        protocol: The protocol.
        dataset: The dataset.
        datasets: Datasets of all lists that the protocol prescribes, by name.
        training_views: Views of training clips, once for all training lists that are read in the same way.
        prescribed: All fits of the protocol with their evals; the scope of a row covers all of them.
        chosen: The fits that the request selects.
        parent: The fit that the method starts from; None where it starts from other weights or is not trained.
        chosen_source: Whether the user chose the dataset that is trained on instead of the protocol.
    """

    row: MethodRow
    protocol: type[Protocol]
    dataset: Dataset
    datasets: dict[str, Dataset]
    training_views: tuple[Views, ...]
    prescribed: tuple[PlannedFit, ...]
    chosen: tuple[Chosen, ...]
    parent: ResolvedFit | None
    chosen_source: bool


@dataclass(frozen=True)
class ResolvedRequest:
    """The combinations of a request.

    Args:
        combinations: In the order of methods, protocols, datasets.
        missing_datasets: Datasets of the protocols that are not configured on this machine.
        embedded: Whether the embedded benchmark was chosen because nothing else is configured.
        left_out: (combination, reason) of methods, protocols and datasets that do not go together.
        notes: A sentence for each selection of the request that does not act on a protocol.
    """

    combinations: tuple[Combination, ...]
    missing_datasets: tuple[str, ...]
    embedded: bool
    left_out: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
