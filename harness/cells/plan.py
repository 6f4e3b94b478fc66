"""The state of each cell (done, missing or stale) with its reason. Reads the run folder and runs nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.base.errors import UserError
from harness.cells.cell import Cells, EvalCell, FitCell
from harness.cells.eval_state import eval_state
from harness.cells.fit_state import CellState, TensorsOf, fit_state


@dataclass(frozen=True)
class Plan:
    """The states of all cells of a request.

    Args:
        fits, evals: States of the cells.
        wanted: Keys of fits to compute even if no unfinished eval needs them.
        tensors_of: Argument of `make_plan`.
    """

    fits: tuple[CellState, ...]
    evals: tuple[CellState, ...]
    wanted: frozenset[str] = frozenset()
    tensors_of: TensorsOf = lambda model: ""

    def open_fits(self) -> list[FitCell]:
        """Unfinished fits that were requested directly, or that an unfinished eval or such a fit depends on.

        Evals of protocols that do not train, such as `probes`, start no fit.
        """
        needed = set(self.wanted)
        for state in self.evals:
            cell = state.cell
            if state.open and isinstance(cell, EvalCell) and cell.fit is not None and cell.protocol.trains:
                needed.add(cell.fit.key)
        cells = {s.cell.key: s.cell for s in self.fits if isinstance(s.cell, FitCell)}
        for cell in cells.values():
            if cell.key in needed and cell.parent is not None:  # a finished child is restored on its parent's weights
                needed.add(cell.parent.key)
        # A fit whose parent is computed again is listed too: only the new parent shows whether its start changed.
        undone = {s.cell.key for s in self.fits if s.open and s.cell.key in needed}
        return [
            cell
            for key, cell in cells.items()
            if key in needed and (key in undone or (cell.parent is not None and cell.parent.key in undone))
        ]

    def open_evals(self) -> list[EvalCell]:
        """Unfinished evals, and evals whose fit is computed again; without those that lack a finished fit."""
        fits = {cell.key for cell in self.open_fits()}
        unfitted = {cell.key for cell in self.unfitted_evals()}
        cells = [(s.open, s.cell) for s in self.evals if isinstance(s.cell, EvalCell)]
        return [
            cell
            for is_open, cell in cells
            if (is_open and cell.key not in unfitted) or (cell.fit is not None and cell.fit.key in fits)
        ]

    def unfitted_evals(self) -> list[EvalCell]:
        """Evals of protocols that do not train whose fit is neither finished nor computed by this plan."""
        fits = {cell.key for cell in self.open_fits()}
        unfinished = {s.cell.key for s in self.fits if s.open} - fits
        cells = [s.cell for s in self.evals if s.open and isinstance(s.cell, EvalCell)]
        return [
            cell for cell in cells if not cell.protocol.trains and cell.fit is not None and cell.fit.key in unfinished
        ]


def make_plan(
    cells: Cells, wanted: frozenset[str] = frozenset(), tensors_of: TensorsOf = lambda model: ""
) -> Plan:  # fmt: skip
    """The state of every cell, from the files on disk.

    Args:
        cells: Cells of the request.
        wanted: Keys of fits to compute even if no unfinished eval needs them.
        tensors_of: Known hashes of the tensors of models; a cell that was computed with other tensors is stale.
    """
    fits = tuple(fit_state(cell, tensors_of) for cell in cells.fits)
    return Plan(fits, tuple(eval_state(cell, tensors_of) for cell in cells.evals), wanted, tensors_of)


def refreshed(plan: Plan) -> Plan:
    """A plan of the same cells, with their states read from disk again."""
    cells = Cells(
        tuple(s.cell for s in plan.fits if isinstance(s.cell, FitCell)),
        tuple(s.cell for s in plan.evals if isinstance(s.cell, EvalCell)), (), False,
    )  # fmt: skip
    return make_plan(cells, plan.wanted, plan.tensors_of)


def select(cells: Cells, keys: frozenset[str]) -> Cells:
    """The cells with given keys, and the fits that they depend on.

    Raises:
        UserError: No cell has one of the keys.
    """
    if unknown := keys - {cell.key for cell in cells.fits} - {cell.key for cell in cells.evals}:
        raise UserError(
            f"{len(unknown)} of {len(keys)} cell keys do not belong to this request (first: {sorted(unknown)[0]}).",
            "A method, a list or the engine changed since the jobs were submitted: run the whole command again.",
        )
    evals = tuple(cell for cell in cells.evals if cell.key in keys)
    needed = keys | {cell.fit.key for cell in evals if cell.fit is not None}
    needed |= {cell.parent.key for cell in cells.fits if cell.key in needed and cell.parent is not None}
    return replace(cells, fits=tuple(cell for cell in cells.fits if cell.key in needed), evals=evals)
