"""Leakage check: compares an evaluation list with all training lists of its model before anything is computed."""

from __future__ import annotations

from dataclasses import replace

from harness.cells.cell import EvalCell
from harness.data.equal_clips import ByteComparison, ListedClips, refuse_equal_clips
from harness.data.leakage import Audit, audit


def audit_cell(cell: EvalCell, compared: ByteComparison | None = None) -> list[Audit]:
    """Audits of an evaluation list against the training lists of its fit and of the parent fit.

    Args:
        cell: The eval.
        compared: Limits the bytes of clips that are compared, without a limit by default.

    Raises:
        UserError: Videos are shared between training and evaluation, or clips with equal bytes have two classes.
    """
    test = ListedClips(cell.dataset, cell.test, cell.labels)
    trained = [] if cell.fit is None else [cell.fit, *([cell.fit.parent] if cell.fit.parent else [])]
    for fit in trained:
        refuse_equal_clips(ListedClips(fit.dataset, fit.train, fit.labels), test, compared)
    if not trained:
        refuse_equal_clips(None, test, compared)
        nothing = audit(None, None, cell.test, cell.labels, "", cell.dataset.name)
        unknown = "a checkpoint, whose training data are not known here"
        return [replace(nothing, source=unknown) if cell.row.choice.checkpoint else nothing]
    return [audit(f.train, f.labels, cell.test, cell.labels, f.dataset.name, cell.dataset.name) for f in trained]
