"""The run loop: fits first, then the evals that they serve, each cell on disk as soon as it is done."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterable
from typing import Any

from harness.base.errors import UserError, machine_error
from harness.cells.cell import EvalCell, FitCell
from harness.cells.leakage import audit_cell
from harness.cells.plan import Plan, refreshed
from harness.engine.compute.device import choose_device
from harness.engine.compute.processes import SINGLE_PROCESS, Processes
from harness.machine.compute_options import ComputeOptions
from harness.machine.progress import Progress
from harness.machine.settings import Settings
from harness.running.eval_cell import run_eval_cell
from harness.running.fit_cell import run_fit_cell
from harness.running.session import Session, left_over, lock_of
from harness.running.summary import Outcome

logger = logging.getLogger(__name__)


def execute(
    plan: Plan,
    settings: Settings,
    compute: ComputeOptions,
    keep_going: bool = False,
    force: bool = False,
    processes: Processes = SINGLE_PROCESS,
) -> Outcome:
    """Carry out the open cells of a plan.

    A cell that fails is named; with `keep_going` the others go on, otherwise the first failure ends the run. What was
    finished before stays finished. Two runs on the same run folder never compute the same cell twice.

    Args:
        plan: What is open; with several processes that of the leading one counts.
        settings: Places.
        compute: How to compute.
        keep_going: Go on after a failure, if all processes share it.
        force: Compute finished cells anew.
        processes: The processes that carry out each cell together.

    Raises:
        UserError: A cell failed and `keep_going` is off.
    """
    if force:
        with processes.together():
            if processes.is_leader:
                discard(plan, settings)
        plan = refreshed(plan)
    open_fits, open_evals = _open_cells(plan, processes)
    outcome = Outcome(reused=len(plan.fits) + len(plan.evals) - len(open_fits) - len(open_evals))
    for cell in open_evals:
        audit_cell(cell)  # before anything is computed: a leak found after a day of training helps nobody
    progress = Progress(quiet=compute.quiet or not processes.is_leader, cells=len(open_fits) + len(open_evals))
    device = choose_device(compute, processes.local_rank if processes.size > 1 else None)
    session = Session(settings, compute, device, progress, processes, plan.tensors_of)
    if processes.is_leader:
        _tidy(plan, settings)
    failed: set[str] = set()
    with progress:
        for name, cell, run in _tasks(open_fits, open_evals):
            if isinstance(cell, EvalCell) and cell.fit is not None and cell.fit.key in failed:
                outcome.failures.append((name, "its fit failed"))
                continue
            progress.begin(name)
            try:
                with processes.in_turn():
                    cell.dataset.prepare(progress.render_step)
                done = run(cell, session)
            except (UserError, OSError) as error:
                if not (keep_going and processes.is_common(error)):
                    raise
                failed.add(cell.key)
                outcome.failures.append((name, str(error if isinstance(error, UserError) else machine_error(error))))
                continue
            except Exception as error:  # a fault of a method or of the harness: the other cells are still worth doing
                if not (keep_going and processes.is_common(error)):
                    raise
                if processes.is_leader:
                    logger.exception("%s failed", name)
                failed.add(cell.key)
                outcome.failures.append((name, f"{type(error).__name__}: {error}"))
                continue
            finally:
                progress.end()
            if not done:
                outcome.reused += 1
            elif isinstance(cell, FitCell):
                outcome.fits += 1
            else:
                outcome.evals += 1
    return outcome


def _open_cells(plan: Plan, processes: Processes) -> tuple[list[FitCell], list[EvalCell]]:
    """What is to be computed, by the plan of the leading process: files may look otherwise to another by now.

    Raises:
        UserError: This process does not know a cell of that plan.
    """
    keys = processes.share([[cell.key for cell in cells] for cells in (plan.open_fits(), plan.open_evals())])
    known: dict[str, Any] = {state.cell.key: state.cell for state in (*plan.fits, *plan.evals)}
    with processes.together():
        if absent := [key for some in keys for key in some if key not in known]:
            raise UserError(
                f"Process {processes.rank} of {processes.size} lacks {len(absent)} of the cells "
                "that the first process has.",
                "All processes need the same command, the same code, and data in the same places.",
            )
    return [known[key] for key in keys[0]], [known[key] for key in keys[1]]


def _tasks(fits: Iterable[Any], evals: Iterable[Any]) -> Iterable[tuple[str, Any, Callable[..., bool]]]:
    """Each fit directly followed by its evals, so that results appear as early as possible; then the rest."""
    remaining = list(evals)
    for cell in fits:
        yield f"fit {cell.name}", cell, run_fit_cell
        for item in [e for e in remaining if e.fit is not None and e.fit.key == cell.key]:
            remaining.remove(item)
            yield f"eval {item.name}", item, run_eval_cell
    for item in remaining:
        yield f"eval {item.name}", item, run_eval_cell


def discard(plan: Plan, settings: Settings) -> None:
    """Remove what `--force` computes anew: the evals and the fits they score, not the fits that those start from.

    Each under its lock, so that nobody who is at work on a cell of the request loses its files.
    """
    evals = [state.cell for state in plan.evals if isinstance(state.cell, EvalCell)]
    for fit_key in dict.fromkeys(cell.fit.key if cell.fit else None for cell in evals):
        of_fit = [cell for cell in evals if (cell.fit.key if cell.fit else None) == fit_key]
        with contextlib.ExitStack() as held:
            if (trained := of_fit[0].fit) is not None:
                held.enter_context(lock_of(settings, trained))
            for cell in of_fit:
                held.enter_context(lock_of(settings, cell))
            if trained is not None:
                shutil.rmtree(trained.folder)  # with its evals
                continue
            for cell in of_fit:
                for path in (cell.record, cell.predictions, *left_over(cell)):
                    path.unlink(missing_ok=True)


def _tidy(plan: Plan, settings: Settings) -> None:
    """Remove what finished cells left because they were killed in their very last step."""
    for state in (*plan.fits, *plan.evals):
        if state.state == "done" and left_over(state.cell):
            # A folder that cannot be changed keeps them.
            with contextlib.suppress(OSError, UserError), lock_of(settings, state.cell):
                for path in left_over(state.cell):
                    path.unlink(missing_ok=True)
