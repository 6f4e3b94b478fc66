"""Lock, temporary files and partial results of a cell. Without torch."""

from __future__ import annotations

import contextlib
from pathlib import Path

from harness.base.errors import UserError
from harness.base.locks import cell_lock, half_written
from harness.cells.cell import EvalCell, FitCell
from harness.machine.settings import Settings
from results.fit_file import KEPT, read_fit_file

START_FILE = ".start"
"""File of an unfinished fit with the hash of the weights that it starts from."""


def lock_of(settings: Settings, cell: FitCell | EvalCell) -> contextlib.AbstractContextManager[None]:
    """The lock of a cell; makes the folder of the cell if necessary."""
    kind, folder = ("fit", cell.folder) if isinstance(cell, FitCell) else ("eval", cell.record.parent)
    return cell_lock(settings.runs.path, folder, cell.key, f"{kind} {cell.name}")


def left_over(cell: FitCell | EvalCell) -> list[Path]:
    """Temporary files of a finished cell: checkpoints, partial results, half-written files."""
    if isinstance(cell, FitCell):
        kept = [*cell.folder.glob("epoch_*.pth"), *cell.folder.glob("last_checkpoint"), *cell.folder.glob(START_FILE)]
        return [*kept, *half_written(cell.folder), *_unlisted_epochs(cell.folder)]
    folder = cell.record.parent
    partial = [path for path in folder.glob(f".{cell.key}*.partial*.npz") if path.is_file()]
    torn = [*half_written(folder, cell.record.name, cell.predictions.name), *folder.glob(f"..{cell.key}*.tmp")]
    return [*partial, *torn]


def _unlisted_epochs(folder: Path) -> list[Path]:
    """Kept epochs of a finished fit that its `fit.json` does not list: ingredients of an average."""
    paths = [path for path in (folder / KEPT).glob("epoch_*.safetensors") if path.is_file()]
    if not paths:
        return []
    try:
        fitted = read_fit_file(folder)
    except UserError:
        return []
    listed = set() if fitted is None else {folder / kept.file for kept in fitted.kept}
    return [] if fitted is None else sorted(set(paths) - listed)


def partial_results(cell: EvalCell, weights_sha256: str = "") -> Path:
    """The file of an eval's partial results under the fit's weights; each process appends its rank to the name."""
    # The hash keeps partial results of a fit apart from those of the same fit computed again.
    return cell.record.parent / f".{cell.key}-{weights_sha256[:8]}.partial.npz"
