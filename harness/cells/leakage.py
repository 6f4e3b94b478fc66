"""Leakage check: compares an evaluation list with all training lists of its model before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harness.cells.cell import EvalCell
from harness.data.equal_clips import ByteComparison, ListedClips, refuse_equal_clips
from harness.data.leakage import UNKNOWN_TRAINING, Audit, audit
from harness.data.lists.dataset import Dataset
from harness.data.shared_people import Pair, people_in_both, people_warning


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
    # Paths before bytes: a video that both lists name is a wrong list, not a copy that could be removed.
    audits = [audit(f.train, f.labels, cell.test, cell.labels, f.dataset.name, cell.dataset.name) for f in trained]
    for fit in trained:
        refuse_equal_clips(ListedClips(fit.dataset, fit.train, fit.labels), test, compared)
    if not trained:
        refuse_equal_clips(None, test, compared)
        nothing = audit(None, None, cell.test, cell.labels, "", cell.dataset.name)
        return [replace(nothing, source=UNKNOWN_TRAINING) if cell.row.choice.checkpoint else nothing]
    return audits


def shared_people_warnings(evals: Iterable[EvalCell]) -> tuple[str, ...]:
    """A warning for each custom dataset whose evaluation lists hold people of the training lists of their fits."""
    datasets: dict[str, Dataset] = {}
    people: dict[str, dict[str, Pair]] = {}
    compared: set[tuple[str, str, str]] = set()
    for cell in evals:
        root = cell.dataset.root_id
        for fit in filter(None, (cell.fit, cell.fit.parent if cell.fit else None)):
            lists = root, fit.train.sha256, cell.test.sha256
            if root and fit.dataset.root_id == root and lists not in compared:  # several methods share the lists
                compared.add(lists)
                datasets[root] = cell.dataset
                people[root] = {**people_in_both(cell.dataset, fit.train, cell.test), **people.get(root, {})}
    return tuple(people_warning(datasets[root], dict(sorted(people[root].items()))) for root in people if people[root])
