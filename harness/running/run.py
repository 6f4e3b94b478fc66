"""The run loop: fits first, then the evals that score them. Each cell is on disk as soon as it is done."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError, machine_error
from harness.cells.cell import Cells, EvalCell, FitCell
from harness.cells.from_request import expand
from harness.cells.leakage import audit_cell
from harness.cells.plan import Plan, make_plan, refreshed
from harness.cells.request import Request
from harness.engine.compute.device import choose_device
from harness.engine.compute.processes import SINGLE_PROCESS, Processes
from harness.engine.video.worker_server import worker_server
from harness.machine.compute_options import ComputeOptions
from harness.machine.progress import Progress
from harness.machine.run_notes import NotedCell, noted_run
from harness.machine.settings import Settings
from harness.machine.weights_index import WeightsIndex
from harness.running.absent_lists import without_absent_lists
from harness.running.build import read_unknown_weights
from harness.running.contract import contract_warnings
from harness.running.eval_cell import run_eval_cell
from harness.running.fit_cell import run_fit_cell
from harness.running.plugin_errors import plugin_error_line
from harness.running.run_request import RunSummary
from harness.running.session import Session, left_over, lock_of
from results.fit_file import FIT_FILE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    """One cell of the run loop.

    Args:
        name: Kind and name of the cell, for messages and the progress bar.
        cell: The fit or eval.
    """

    name: str
    cell: FitCell | EvalCell

    @property
    def epochs(self) -> int:
        """Epochs of a fit; 0 for an eval."""
        return self.cell.recipe.epochs if isinstance(self.cell, FitCell) else 0

    def noted(self, runs: Path) -> NotedCell:
        """The cell in the note of a run."""
        cell = self.cell
        if isinstance(cell, FitCell):
            file = (cell.folder / FIT_FILE).relative_to(runs).as_posix()
            return NotedCell("fit", cell.name, cell.key, file, epochs=self.epochs)
        return NotedCell("eval", cell.name, cell.key, cell.record.relative_to(runs).as_posix(), videos=len(cell.test))

    def run(self, session: Session) -> bool:
        """Compute the cell; False if another run finished it meanwhile."""
        if isinstance(self.cell, FitCell):
            return run_fit_cell(self.cell, session)
        return run_eval_cell(self.cell, session)

    def needs_failed(self, failed: set[str]) -> str:
        """The failed fit that the cell needs, in words; empty if there is none.

        Args:
            failed: Keys of the cells that failed.
        """
        if isinstance(self.cell, FitCell):
            parent = self.cell.parent
            return f"the fit {parent.name}, from which it starts, failed" if parent and parent.key in failed else ""
        return "its fit failed" if self.cell.fit is not None and self.cell.fit.key in failed else ""


def run(
    request: Request,
    settings: Settings,
    compute: ComputeOptions,
    keep_going: bool = False,
    force: bool = False,
) -> RunSummary:
    """Fit and evaluate what a request needs in this process, as `python -m harness run` does without a report.

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
        UserError: A cell failed and `keep_going` is off.
    """
    if force:
        with processes.together():
            if processes.is_leader:
                discard(plan, settings)
        plan = refreshed(plan)  # in every process, after the leading one has removed the files
    open_fits, open_evals = _open_cells(plan, processes)
    # The other cells of the plan are done, or are parent fits that nothing needs.
    summary = RunSummary(reused=len(plan.fits) + len(plan.evals) - len(open_fits) - len(open_evals))
    open_fits, open_evals = without_absent_lists((open_fits, open_evals), compute.allow_missing, processes, summary)
    failed = _audit(open_evals, keep_going, summary)
    if failed:
        open_fits, open_evals = _without(failed, open_fits, open_evals)
    progress = Progress(quiet=compute.quiet or not processes.is_leader, cells=len(open_fits) + len(open_evals))
    worker_server()  # before this process has threads, of torch, of a GPU or of the progress bars
    device = choose_device(compute, processes.local_rank if processes.size > 1 else None)
    session = Session(settings, compute, device, progress, processes, plan.tensors_of)
    if processes.is_leader:
        rows = [*(cell.row for cell in open_fits), *(cell.row for cell in open_evals)]
        for line in contract_warnings(rows, settings):
            logger.warning("%s", line)
        _remove_left_over(plan, settings)
    tasks = list(_tasks(open_fits, open_evals))
    with progress, _noted(tasks, settings, processes):
        for task in tasks:
            # A fit whose start failed is not tried: its error would be that weights are missing, not why.
            if problem := task.needs_failed(failed) or _attempt(task, session, keep_going, summary):
                summary.failures.append((task.name, problem))
                failed.add(task.cell.key)
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


def _noted(
    tasks: list[_Task], settings: Settings, processes: Processes
) -> contextlib.AbstractContextManager[None]:  # fmt: skip
    """The note of a run for `harness status`; written by the leading process if there is anything to compute."""
    runs = settings.runs.path
    if not tasks or not processes.is_leader:
        return contextlib.nullcontext()
    return noted_run(runs, [task.noted(runs) for task in tasks])


def _attempt(task: _Task, session: Session, keep_going: bool, summary: RunSummary) -> str:
    """Compute one cell and count it in the summary; returns the error of a failed cell, empty if it succeeded.

    Raises:
        Exception: The cell failed, and `keep_going` is off or the processes failed with different errors.
    """
    session.progress.begin(task.name, task.epochs)
    try:
        with session.processes.in_turn():  # the first process renders the videos, the others find them
            task.cell.dataset.prepare(session.progress.render_step)
        computed = task.run(session)
    except Exception as error:  # of the user, the machine, a method or the harness; other cells are worth computing
        line = plugin_error_line(error, task.name, task.cell.row.name)
        if line and not isinstance(error, UserError):
            error.add_note(line)  # Python prints notes below the traceback
        # An error of one process alone leaves the others waiting for it: the run has to end.
        if not (keep_going and session.processes.is_common(error)):
            if line and isinstance(error, UserError):
                raise UserError(line, error.hint, error.exit_code) from error
            raise
        if isinstance(error, UserError):
            return str(error)
        if isinstance(error, OSError) and not line:
            return str(machine_error(error))
        if session.processes.is_leader:
            logger.exception("%s failed", task.name)
        return line.removeprefix(f"{task.name}: ") or f"{type(error).__name__}: {error}"
    finally:
        session.progress.end()
    if not computed:  # another run on the same run folder finished the cell while this run waited for its lock
        summary.reused += 1
    elif isinstance(task.cell, FitCell):
        summary.fits += 1
    else:
        summary.evals += 1
    return ""


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


def _tasks(fits: list[FitCell], evals: list[EvalCell]) -> Iterator[_Task]:
    """Each fit directly followed by its evals, so that results appear as early as possible; then the other evals."""
    remaining = list(evals)
    for cell in fits:
        yield _Task(f"fit {cell.name}", cell)
        for item in [e for e in remaining if e.fit is not None and e.fit.key == cell.key]:
            remaining.remove(item)
            yield _Task(f"eval {item.name}", item)
    for item in remaining:
        yield _Task(f"eval {item.name}", item)


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
            if trained is not None:
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
