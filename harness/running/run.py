"""The plan of a run and its open cells. Imports no torch: a run whose cells are all done needs none.

`harness.running.compute_cells` computes the open cells.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable

from harness.base.errors import UserError
from harness.base.imports import without_collections
from harness.cells.cell import Cells, EvalCell, FitCell
from harness.cells.from_request import expand
from harness.cells.leakage import audit_cell
from harness.cells.plan import Plan, make_plan, refreshed
from harness.cells.request import Request
from harness.cells.scored_together import check_scored_together
from harness.engine.compute.processes import SINGLE_PROCESS, Processes
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings
from harness.running.absent_lists import without_absent_lists
from harness.running.cell_files import left_over, lock_of
from harness.running.run_request import RunSummary
from harness.running.unknown_weights import read_unknown_weights
from harness.weights.index import WeightsIndex


def run(
    request: Request,
    settings: Settings,
    compute: ComputeOptions,
    keep_going: bool = False,
    force: bool = False,
) -> RunSummary:
    """Compute the fits and evals of a request in this process, as `python -m harness run` does without a report.

    Args:
        request: Methods, protocols, datasets and overrides.
        settings: Folders of this machine.
        compute: Device, precision, workers.
        keep_going: Go on with other cells after a failure.
        force: Compute finished cells anew.

    Raises:
        UserError: The request cannot be resolved, or a cell failed and `keep_going` is off.
    """
    plan = plan_cells(expand(request, settings), settings)
    return execute(plan, settings, compute, keep_going, force)


def plan_cells(
    cells: Cells,
    settings: Settings,
    wanted: frozenset[str] = frozenset(),
    processes: Processes = SINGLE_PROCESS,
) -> Plan:
    """The plan of cells, after reading the weights whose tensors are not known yet.

    Args:
        cells: Cells of a request.
        settings: Folders of this machine.
        wanted: Keys of fits to compute even if no unfinished eval needs them.
        processes: The processes of the run.
    """
    index = WeightsIndex(settings.cache.path, settings.weights.path)
    with processes.together():
        read_unknown_weights(cells, index, settings)
    return make_plan(cells, wanted, index.of)


def execute(
    plan: Plan,
    settings: Settings,
    compute: ComputeOptions,
    keep_going: bool = False,
    force: bool = False,
    processes: Processes = SINGLE_PROCESS,
) -> RunSummary:
    """Compute the open cells of a plan.

    Finished cells stay finished when a later cell fails. Two runs on the same run folder never compute the same cell
    twice.

    Args:
        plan: The plan; with several processes, the plan of the leading process counts.
        settings: Folders of this machine.
        compute: Device, precision, workers.
        keep_going: Name a failed cell and go on, provided that all processes failed with the same error.
        force: Compute finished cells anew.
        processes: The processes that compute each cell together.

    Raises:
        UserError: The device batch of evals is not that of a method whose scores depend on it, or a cell failed and
            `keep_going` is off.
    """
    check_scored_together((s.cell for s in plan.evals if isinstance(s.cell, EvalCell)), compute)
    if force:
        with processes.together():
            if processes.is_leader:
                discard(plan, settings)
        plan = refreshed(plan)  # in every process, after the leading one has removed the files
    open_fits, open_evals = _open_cells(plan, processes)
    # The other cells of the plan are done, or are parent fits that nothing needs.
    summary = RunSummary(reused=len(plan.fits) + len(plan.evals) - len(open_fits) - len(open_evals))
    open_fits, open_evals = without_absent_lists((open_fits, open_evals), compute.allow_missing, processes, summary)
    refused = _audit(open_evals, keep_going, summary)
    _refuse_unfitted(plan, keep_going, processes, summary)
    if refused:
        open_fits, open_evals = _without(refused, open_fits, open_evals)
    if processes.is_leader:
        _remove_left_over(plan, settings)
    if open_fits or open_evals:
        # The engine and its packages take seconds to import, which a run of finished cells need not spend.
        with without_collections():
            from harness.running.compute_cells import compute_cells

        compute_cells((open_fits, open_evals), settings, compute, plan.tensors_of, processes, summary, keep_going)
    evals = [state.cell for state in plan.evals if isinstance(state.cell, EvalCell)]
    summary.records = [cell.record for cell in evals if cell.record.is_file()]
    return summary


def _audit(evals: Iterable[EvalCell], keep_going: bool, summary: RunSummary) -> set[str]:
    """Check all evals for leaks before anything is computed; returns the keys of evals that leak.

    A leak that is found after a day of training helps nobody.

    Raises:
        UserError: An eval leaks, and `keep_going` is off.
    """
    failed: set[str] = set()
    for cell in evals:
        try:
            audit_cell(cell)
        except UserError as error:
            if not keep_going:
                raise
            summary.failures.append((f"eval {cell.name}", str(error)))
            failed.add(cell.key)
    return failed


def _refuse_unfitted(plan: Plan, keep_going: bool, processes: Processes, summary: RunSummary) -> None:
    """Refuse the evals whose protocol trains nothing and whose fit is not finished.

    Raises:
        UserError: There is such an eval, and `keep_going` is off.
    """
    with processes.together():
        for cell in plan.unfitted_evals():
            if not keep_going:
                raise cell.unfitted
            summary.failures.append((f"eval {cell.name}", str(cell.unfitted)))


def _open_cells(plan: Plan, processes: Processes) -> tuple[list[FitCell], list[EvalCell]]:
    """The open fits and evals of the leading process's plan: another process may see other files by now.

    Raises:
        UserError: This process does not know a cell of that plan.
    """
    # Keys, because cells hold open datasets and cannot be exchanged as JSON.
    keys = processes.share([[cell.key for cell in cells] for cells in (plan.open_fits(), plan.open_evals())])
    fits = {state.cell.key: state.cell for state in plan.fits if isinstance(state.cell, FitCell)}
    evals = {state.cell.key: state.cell for state in plan.evals if isinstance(state.cell, EvalCell)}
    with processes.together():
        absent = [key for key in keys[0] if key not in fits] + [key for key in keys[1] if key not in evals]
        if absent:
            raise UserError(
                f"Process {processes.rank} of {processes.size} lacks {len(absent)} of the cells "
                "that the first process has.",
                "All processes need the same command, the same code, and data in the same folders.",
            )
    return [fits[key] for key in keys[0]], [evals[key] for key in keys[1]]


def _without(failed: set[str], fits: list[FitCell], evals: list[EvalCell]) -> tuple[list[FitCell], list[EvalCell]]:
    """The fits and evals that remain if some evals cannot be computed: no fit is computed for these evals alone."""
    remaining = [cell for cell in evals if cell.key not in failed]
    scored = {cell.fit.key for cell in evals if cell.fit is not None}
    kept: set[str] = {cell.fit.key for cell in remaining if cell.fit is not None}
    for fit in reversed(fits):  # children before parents
        # A fit that no open eval scores was requested for itself, or is the start of another fit.
        starts = {child.parent.key for child in fits if child.key in kept and child.parent is not None}
        if fit.key in starts or (fit.key not in scored and not _is_parent(fit, fits)):
            kept.add(fit.key)
    return [fit for fit in fits if fit.key in kept], remaining


def _is_parent(fit: FitCell, fits: list[FitCell]) -> bool:
    return any(child.parent is not None and child.parent.key == fit.key for child in fits)


def discard(plan: Plan, settings: Settings) -> None:
    """Remove the evals of a plan and the fits that they score, for `--force`; parent fits stay.

    Each cell is removed under its lock, so that a run that is computing the cell does not lose its files.
    """
    evals = [state.cell for state in plan.evals if isinstance(state.cell, EvalCell)]
    # The locks of a fit and of its evals are held together, because the folder of the fit holds the evals.
    for fit_key in dict.fromkeys(cell.fit.key if cell.fit else None for cell in evals):
        of_fit = [cell for cell in evals if (cell.fit.key if cell.fit else None) == fit_key]
        with contextlib.ExitStack() as held:
            if (trained := of_fit[0].fit) is not None:
                held.enter_context(lock_of(settings, trained))
            # In one order for all runs: two runs that wait for each other's locks would never end.
            for cell in sorted(of_fit, key=lambda cell: cell.key):
                held.enter_context(lock_of(settings, cell))
            # A protocol that does not train must not remove the fits that it evaluates.
            if trained is not None and any(cell.protocol.trains for cell in of_fit):
                shutil.rmtree(trained.folder)  # with its evals
                continue
            for cell in of_fit:
                for path in (cell.record, cell.predictions, *left_over(cell)):
                    path.unlink(missing_ok=True)


def _remove_left_over(plan: Plan, settings: Settings) -> None:
    """Remove temporary files of finished cells, which a kill in the last step of a cell leaves."""
    for state in (*plan.fits, *plan.evals):
        if state.state == "done" and left_over(state.cell):
            # In a read-only run folder the files stay; they do no harm.
            with contextlib.suppress(OSError, UserError), lock_of(settings, state.cell):
                for path in left_over(state.cell):
                    path.unlink(missing_ok=True)
