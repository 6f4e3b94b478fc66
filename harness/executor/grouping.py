"""From the open cells of a plan to jobs: one a fit with its evals behind it, one for an untrained method's evals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.cells.cell import EvalCell, FitCell
from harness.cells.plan import Plan
from harness.executor.ledger import Job


@dataclass(frozen=True)
class Work:
    """The cells of one job to be.

    Args:
        cells: In the order in which they are carried out.
        after: Keys of fits of other jobs that have to be there before.
    """

    cells: tuple[FitCell | EvalCell, ...]
    after: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What it computes, for people."""
        fits = [f"fit {cell.name}" for cell in self.cells if isinstance(cell, FitCell)]
        evals = [cell for cell in self.cells if isinstance(cell, EvalCell)]
        if fits:
            return fits[0] + (f" + {len(evals)} evals" if evals else "")
        if len(evals) == 1:
            return f"eval {evals[0].name}"
        of = dict.fromkeys(cell.row.name if cell.fit is None else cell.fit.name for cell in evals)
        return f"{len(evals)} evals of {', '.join(of)}"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Of its fits and of its records, each once."""
        found = (cell.folder if isinstance(cell, FitCell) else cell.record.parent for cell in self.cells)
        return tuple(dict.fromkeys(found))

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of its cells."""
        return tuple(cell.key for cell in self.cells)


def group(plan: Plan, active: Mapping[str, Job]) -> list[Work]:
    """The jobs that a plan needs, those whose cells are in a job under way left out.

    A fit that others start from gets a job without evals: those that wait for it do not wait for its evals too.

    Args:
        plan: Cells and their states.
        active: Jobs under way, by the key of each cell that they compute.
    """
    fits = [cell for cell in plan.open_fits() if cell.key not in active]
    evals = [cell for cell in plan.open_evals() if cell.key not in active]
    coming = {cell.key for cell in fits} | set(active)
    parents = {cell.parent.key for cell in fits if cell.parent is not None}
    works = []
    for fit in fits:
        own = [cell for cell in evals if cell.fit is not None and cell.fit.key == fit.key]
        evals = [cell for cell in evals if cell not in own]
        after = (fit.parent.key,) if fit.parent is not None and fit.parent.key in coming else ()
        if fit.key in parents:
            works.append(Work((fit,), after))
            if own:
                works.append(Work(tuple(own), (fit.key,)))
        else:
            works.append(Work((fit, *own), after))
    by_fit: dict[str, list[EvalCell]] = {}
    for cell in evals:
        by_fit.setdefault(cell.fit.key if cell.fit else str(cell.record.parent), []).append(cell)
    works += [Work(tuple(cells), (key,) if key in active else ()) for key, cells in by_fit.items()]
    return works


def waves(works: list[Work], active: Mapping[str, Job]) -> list[list[Work]]:
    """Jobs in the order of submission; those of a wave depend on the same jobs, so that they can be one array.

    Args:
        works: Of `group`.
        active: Jobs under way, by cell.
    """
    submitted = set(active)
    left, found = list(works), []
    while left:
        ready = [work for work in left if all(key in submitted for key in work.after)]
        for after in dict.fromkeys(work.after for work in ready):
            found.append([work for work in ready if work.after == after])
        submitted |= {key for work in ready for key in work.keys}
        left = [work for work in left if work not in ready]
    return found
