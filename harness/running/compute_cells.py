"""The run loop: fits first, then the evals that score them. Each cell is on disk as soon as it is done."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError, machine_error
from harness.cells.cell import EvalCell, FitCell
from harness.cells.fit_state import TensorsOf
from harness.engine.compute.device import choose_device
from harness.engine.compute.processes import Processes
from harness.engine.video.worker_server import worker_server
from harness.machine.compute_options import ComputeOptions
from harness.machine.progress import Progress
from harness.machine.run_notes import NotedCell, noted_run
from harness.machine.settings import Settings
from harness.running.contract import contract_warnings
from harness.running.eval_cell import run_eval_cell
from harness.running.fit_cell import run_fit_cell
from harness.running.plugin_errors import plugin_error_line
from harness.running.reader_warning import reader_warning
from harness.running.run_request import RunSummary
from harness.running.session import Session
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


def compute_cells(
    cells: tuple[list[FitCell], list[EvalCell]],
    settings: Settings,
    compute: ComputeOptions,
    tensors_of: TensorsOf,
    processes: Processes,
    summary: RunSummary,
    keep_going: bool,
) -> None:
    """Compute fits and evals, and count them in the summary.

    Args:
        cells: The open fits, parents before children, and the open evals.
        settings: Folders of this machine.
        compute: Device, precision, workers.
        tensors_of: Known hashes of the tensors of models, see `harness.cells.plan`.
        processes: The processes that compute each cell together.
        summary: Receives the numbers of computed and reused cells and the failures.
        keep_going: Name a failed cell and go on, provided that all processes failed with the same error.

    Raises:
        UserError: A cell failed and `keep_going` is off, or the requested device is absent.
    """
    fits, evals = cells
    progress = Progress(quiet=compute.quiet or not processes.is_leader, cells=len(fits) + len(evals))
    worker_server()  # before this process has threads, of torch, of a GPU or of the progress bars
    device = choose_device(compute, processes.local_rank if processes.size > 1 else None)
    session = Session(settings, compute, device, progress, processes, tensors_of)
    if processes.is_leader:
        rows = [*(cell.row for cell in fits), *(cell.row for cell in evals)]
        for line in contract_warnings(rows, settings):
            logger.warning("%s", line)
    tasks = list(_tasks(fits, evals))
    failed: set[str] = set()
    with progress, _noted(tasks, settings, processes):
        for task in tasks:
            # A fit whose start failed is not tried: its error would be the missing weights, and not their reason.
            if problem := task.needs_failed(failed) or _attempt(task, session, keep_going, summary):
                summary.failures.append((task.name, problem))
                failed.add(task.cell.key)


def _noted(
    tasks: list[_Task], settings: Settings, processes: Processes
) -> contextlib.AbstractContextManager[None]:  # fmt: skip
    """The note of a run for `harness status`, which the leading process writes."""
    runs = settings.runs.path
    if not processes.is_leader:
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
        _warn_of_reader(task.cell, session)
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


def _warn_of_reader(cell: FitCell | EvalCell, session: Session) -> None:
    """Compare a sample of a list that decord reads, once for each list of a run."""
    videos = cell.train if isinstance(cell, FitCell) else cell.test
    name = f"{cell.dataset.shown} {videos.sha256}"
    if session.processes.is_leader and name not in session.compared:
        session.compared.add(name)
        if line := reader_warning(cell, session.settings, session.compute):
            logger.warning("%s", line)


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
