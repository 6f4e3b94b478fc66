"""Cells whose list has no video on this machine; a run that allows missing videos leaves them out and goes on."""

from __future__ import annotations

from collections.abc import Sequence

from harness.cells.cell import EvalCell, FitCell
from harness.engine.compute.processes import Processes
from harness.running.run_request import RunSummary

Open = tuple[list[FitCell], list[EvalCell]]


def without_absent_lists(cells: Open, allow_missing: bool, processes: Processes, summary: RunSummary) -> Open:
    """The fits and evals that have videos; the others are added to the summary with the reason.

    If no cell has a video, all of them are returned: the video folder is wrong, and the first cell ends with an error.

    Args:
        cells: Open fits and evals of a run.
        allow_missing: Whether missing videos are allowed; without it, nothing is left out.
        processes: The processes of the run; the leading process decides.
        summary: Receives the cells that are left out.

    Raises:
        UserError: A dataset has no video folder.
    """
    if not allow_missing:
        return cells
    fits, evals = cells
    reasons: dict[str, str] = {}
    with processes.together():
        if processes.is_leader:
            reasons = _reasons(fits, evals)
    reasons = processes.share(reasons)
    if len(reasons) == len(fits) + len(evals):
        return cells
    summary.left_out += [(f"fit {cell.name}", reasons[cell.key]) for cell in fits if cell.key in reasons]
    summary.left_out += [(f"eval {cell.name}", reasons[cell.key]) for cell in evals if cell.key in reasons]
    return [cell for cell in fits if cell.key not in reasons], [cell for cell in evals if cell.key not in reasons]


def _reasons(fits: Sequence[FitCell], evals: Sequence[EvalCell]) -> dict[str, str]:
    """The reasons of the cells to leave out, by key."""
    known: dict[tuple[int, str], bool] = {}

    def is_absent(cell: FitCell | EvalCell) -> bool:
        rows = cell.train if isinstance(cell, FitCell) else cell.test
        if cell.dataset.kind == "embedded":  # rendered when the cell begins
            return False
        key = id(cell.dataset), rows.sha256
        if key not in known:
            known[key] = all(cell.dataset.locate(path) is None for path, _ in rows.rows)
        return known[key]

    reasons: dict[str, str] = {}
    for fit in fits:
        if fit.parent is not None and fit.parent.key in reasons:
            reasons[fit.key] = "its parent fit is left out"
        elif is_absent(fit):
            reasons[fit.key] = _text(fit.train.name, len(fit.train))
    for cell in evals:
        if cell.fit is not None and cell.fit.key in reasons:
            reasons[cell.key] = "its fit is left out"
        elif is_absent(cell):
            reasons[cell.key] = _text(cell.test.name, len(cell.test))
    return reasons


def _text(name: str, n: int) -> str:
    return f"none of the {n} videos of the list {name!r} was found"
