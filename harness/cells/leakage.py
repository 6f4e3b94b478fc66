"""What a list shares with everything its model was trained on, asked before anything is computed."""

from __future__ import annotations

from dataclasses import replace

from harness.cells.cell import EvalCell
from harness.data.leakage import Audit, audit


def audit_cell(cell: EvalCell) -> list[Audit]:
    """The audits of a list against everything its model was trained on: the fit's list, and the parent fit's.

    Raises:
        UserError: Videos are shared between training and evaluation.
    """
    trained = [] if cell.fit is None else [cell.fit, *([cell.fit.parent] if cell.fit.parent else [])]
    if not trained:
        nothing = audit(None, None, cell.test, cell.labels, "", cell.dataset.name)
        unknown = "a checkpoint, whose training data are not known here"
        return [replace(nothing, source=unknown) if cell.row.choice.checkpoint else nothing]
    return [audit(f.train, f.labels, cell.test, cell.labels, f.dataset.name, cell.dataset.name) for f in trained]
