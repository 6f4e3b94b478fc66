"""From a request to its cells: the fits and evals of methods under protocols on datasets, each with its measurement.

Requests with the same meaning give the same cells, whatever the order of their arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from harness.base.errors import UserError
from harness.cells.cell import Cells, EvalCell, FitCell
from harness.cells.leakage import shared_people_warnings
from harness.cells.request import Request
from harness.cells.resolve import resolve
from harness.cells.resolved import Combination, ResolvedFit
from harness.cells.scope import PlannedEval, list_id, scope_of
from harness.data.lists.dataset import Dataset
from harness.machine.settings import Settings
from results.measurement import (
    Evaluation,
    FitDescription,
    Measurement,
    ProtocolId,
    Scope,
    Start,
    Training,
    cell_key,
    fit_key,
)
from results.record import RECORD_SUFFIX

ENGINE_VERSION = 2
"""Raised when a change of the engine changes numbers; finished cells then become stale."""


def expand(request: Request, settings: Settings) -> Cells:
    """The fits and evals that a request needs; a fit that serves several evals is listed once.

    Raises:
        UserError: Unknown names, lists that are missing, or no evaluation that the request selects.
    """
    resolved = resolve(request, settings)
    fits: dict[str, FitCell] = {}
    evals: dict[str, EvalCell] = {}
    for combination in resolved.combinations:
        for cell in _cells(combination, settings.runs.path):
            if isinstance(cell, FitCell):
                fits.setdefault(cell.key, cell)
            else:  # repeats over training subsets are one eval where nothing is trained
                evals.setdefault(cell.key, cell)
    if not evals:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in resolved.left_out)
        raise UserError(reasons or _nothing_selected(request))
    return Cells(
        tuple(fits.values()), tuple(evals.values()), resolved.missing_datasets, resolved.embedded, resolved.left_out,
        resolved.notes, shared_people_warnings(evals.values()),
    )  # fmt: skip


def _nothing_selected(request: Request) -> str:
    restrictions = [f"--repeat {n}" for n in request.repeats] + [f"--shots {k}" for k in request.shots]
    return f"No fit of {', '.join(request.protocols)} is selected by {' '.join(restrictions) or 'this request'}."


def _cells(combination: Combination, runs: Path) -> Iterator[FitCell | EvalCell]:
    """The fits (the parent first) and evals of one method under one protocol on one dataset."""
    parent = _fit_cell(combination.parent, None, runs) if combination.parent is not None else None
    if parent is not None:
        yield parent
    scope = scope_of(
        combination.prescribed, combination.training_views, parent.key if parent else "",
        combination.datasets.__getitem__, combination.chosen_source,
    )  # fmt: skip
    for chosen in combination.chosen:
        fit = _fit_cell(chosen.training, parent, runs) if chosen.training is not None else None
        if fit is not None:
            yield fit
        for planned, dataset in chosen.evals:
            yield _eval_cell(combination, planned, dataset, scope, fit, runs)


def _file_name(dataset: str) -> str:
    """A dataset's name as part of a file name: separators and drive letters of Windows become `_`.

    Run folders are copied between systems, and records name the file of their predictions.
    """
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", dataset)


def _fit_cell(resolved: ResolvedFit, parent: FitCell | None, runs: Path) -> FitCell:
    row, fit, dataset = resolved.row, resolved.fit, resolved.dataset
    train, labels = dataset.list(fit.train.list), dataset.labels(fit.train.labels)
    start = Start(row.spec.start_kind(row.options))
    if parent is not None:
        start = Start("fit", parent.start_name, parent.key)
    training = Training(
        list=list_id(dataset, train, labels, fit.train.labels),
        recipe=resolved.recipe,
        declared=resolved.declared,
        views=resolved.views,
        start=start,
    )
    described = FitDescription(row.method_id, row.model_id, training, ENGINE_VERSION)
    # With a part of the key, so that fits with other settings never share a folder.
    folder = row.folder(runs) / f"{_file_name(dataset.name)}-{train.name}-{fit_key(described)[:8]}"
    return FitCell(row, fit, dataset, train, labels, resolved.views, described, folder, parent, resolved.protocol)


def _table(combination: Combination) -> tuple[str, str]:
    """Dataset and root of a row whose parts are lists of several datasets; empty for a row on one dataset."""
    evaluated = {planned.eval.test.dataset for item in combination.prescribed for planned in item.evals}
    names = {combination.datasets[name].name for name in evaluated}
    # A protocol on one dataset leaves the fields empty, so that the keys of its records need no table.
    return (combination.dataset.name, combination.dataset.root_id) if names - {combination.dataset.name} else ("", "")


def _eval_cell(
    combination: Combination, planned: PlannedEval, dataset: Dataset, scope: Scope, fit: FitCell | None, runs: Path
) -> EvalCell:
    row, protocol, item = combination.row, combination.protocol, planned.eval
    test, labels = dataset.list(item.test.list), dataset.labels(item.test.labels)
    measurement = Measurement(
        protocol=ProtocolId(
            protocol.name, protocol.version, item.part, planned.repeat, planned.prescribed, scope, *_table(combination)
        ),
        method=row.method_id,
        model=row.model_id,
        training=fit.described.training if fit else None,
        evaluation=Evaluation(
            list=list_id(dataset, test, labels, item.test.labels),
            views=planned.views,
            transform=planned.prescribed.transform,
            sample=dataset.sample,
        ),
        engine=ENGINE_VERSION,
    )
    folder = fit.folder if fit else row.folder(runs) / "untrained"
    name = (
        f"{protocol.name}-{_file_name(dataset.name)}-{test.name}-{item.part}-{cell_key(measurement)[:8]}{RECORD_SUFFIX}"
    )
    return EvalCell(
        row=row, fit=fit, eval=item, protocol=protocol, dataset=dataset, test=test, labels=labels,
        views=planned.views, repeat=planned.repeat, measurement=measurement, record=folder / "evals" / name,
    )  # fmt: skip
