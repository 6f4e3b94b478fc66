"""Group the open cells of a plan into jobs: a fit with its evals, or the evals of an untrained method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.cells.cell import EvalCell, FitCell
from harness.cells.plan import Plan
from harness.executor.ledger import Job


@dataclass(frozen=True)
class Work:
    """The cells of one job before it is submitted.

    Args:
        cells: Cells in the order in which the job computes them.
        after: Keys of fits in other jobs that have to be finished before.
    """

    cells: tuple[FitCell | EvalCell, ...]
    after: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Names of the cells, for messages."""
        fits = [f"fit {cell.name}" for cell in self.cells if isinstance(cell, FitCell)]
        evals = [cell for cell in self.cells if isinstance(cell, EvalCell)]
        if fits:
            return fits[0] + (f" + {len(evals)} evals" if evals else "")
        if len(evals) == 1:
            return f"eval {evals[0].name}"
        names = dict.fromkeys(cell.row.name if cell.fit is None else cell.fit.name for cell in evals)
        return f"{len(evals)} evals of {', '.join(names)}"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders of its fits and records, without duplicates."""
        folders = (cell.folder if isinstance(cell, FitCell) else cell.record.parent for cell in self.cells)
        return tuple(dict.fromkeys(folders))

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the cells."""
        return tuple(cell.key for cell in self.cells)


def group(plan: Plan, active: Mapping[str, Job]) -> list[Work]:
    """The jobs that a plan needs besides the jobs that are pending or running.

    A parent fit gets a job without evals, so that its child fits do not wait for its evals.

    Args:
        plan: Cells and their states.
        active: Pending and running jobs, by the key of each cell that they compute.
    """
    fits = [cell for cell in plan.open_fits() if cell.key not in active]
    evals = [cell for cell in plan.open_evals() if cell.key not in active]
    coming = {cell.key for cell in fits} | set(active)
    parents = {cell.parent.key for cell in fits if cell.parent is not None}
    works = []
    for fit in fits:
        fit_evals = [cell for cell in evals if cell.fit is not None and cell.fit.key == fit.key]
        evals = [cell for cell in evals if cell not in fit_evals]
        # A parent that is done needs no dependency; one in another job does.
        after = (fit.parent.key,) if fit.parent is not None and fit.parent.key in coming else ()
        if fit.key in parents:
            works.append(Work((fit,), after))
            if fit_evals:
                works.append(Work(tuple(fit_evals), (fit.key,)))
        else:
            works.append(Work((fit, *fit_evals), after))
    # Evals whose fit is done, or is part of an active job: one job per fit loads the weights once.
    by_fit: dict[str, list[EvalCell]] = {}
    for cell in evals:
        by_fit.setdefault(cell.fit.key if cell.fit else str(cell.record.parent), []).append(cell)
    works += [Work(tuple(cells), (key,) if key in active else ()) for key, cells in by_fit.items()]
    return works


def waves(works: list[Work], active: Mapping[str, Job]) -> list[list[Work]]:
    """Jobs in the order of submission. The jobs of a wave wait for the same jobs, so that they form one job array.

    Args:
        works: Jobs as grouped by `group`.
        active: Pending and running jobs, by the key of each cell that they compute.
    """
    submitted = set(active)
    left, ordered = list(works), []
    while left:
        ready = [work for work in left if all(key in submitted for key in work.after)]
        # A job array has one dependency for all its tasks, so that jobs are divided by it; the order stays that of the
        # plan.
        for after in dict.fromkeys(work.after for work in ready):
            ordered.append([work for work in ready if work.after == after])
        submitted |= {key for work in ready for key in work.keys}
        left = [work for work in left if work not in ready]
    return ordered
