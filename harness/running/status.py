"""Running, waiting, interrupted and finished cells of a run folder, read from its files. Without torch."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.base.errors import UserError
from harness.base.locks import LOCKS, holder_text
from harness.engine.training.curve import Curve
from harness.machine.progress import duration
from harness.machine.run_notes import NotedCell, is_held, read_run_notes
from results.curve_file import CURVE
from results.fit_file import FIT_FILE, read_fit_file
from results.record import find_records, read_record

ORDER = ("running", "waiting", "interrupted", "damaged", "done")


@dataclass(frozen=True)
class CellStatus:
    """The present state of a cell.

    Args:
        kind: `fit` or `eval`.
        cell: Name of the cell.
        state: One of `ORDER`.
        detail: Epoch and loss, process, or time and score.
    """

    kind: str
    cell: str
    state: str
    detail: str


@dataclass(frozen=True)
class _Holder:
    """Content of the note beside the lock of a cell."""

    cell: str
    since: float


def folder_status(runs: Path) -> list[CellStatus]:
    """The cells of a run folder: running, then waiting, interrupted, damaged and finished cells.

    Raises:
        UserError: There is no such folder.
    """
    if not runs.is_dir():
        raise UserError(f"The run folder {runs} does not exist.", "Give the folder: python -m harness status DIR")
    noted = {cell.key: (cell, note.pid, note.host) for note in read_run_notes(runs) for cell in note.cells}
    cells, running = [], set()
    for path in sorted((runs / LOCKS).glob("*.holder")):
        if not is_held(path.with_suffix(".lock")):
            continue
        # The process may remove its note, or not have written all of it, while the note is read here.
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            holder = msgspec.json.decode(path.read_bytes(), type=_Holder)
            kind, _, name = holder.cell.partition(" ")
            known = noted.get(path.stem)
            detail = [*_progress(runs, known[0] if known else None), holder_text(path)]
            cells.append(CellStatus(kind, name, "running", ", ".join(detail)))
            running.add(path.stem)
    for key, (cell, pid, host) in noted.items():
        if key not in running and not (runs / cell.file).is_file():
            cells.append(CellStatus(cell.kind, cell.name, "waiting", f"process {pid} on {host} computes it later"))
    # The folder of a running fit holds its epochs, which would otherwise show it as interrupted.
    busy = {(runs / noted[key][0].file).parent for key in running if key in noted}
    cells += [*_fits(runs, busy), *_evals(runs)]
    return sorted(cells, key=lambda cell: ORDER.index(cell.state))


def _progress(runs: Path, cell: NotedCell | None) -> list[str]:
    """Epoch, loss and time of a running fit; number of videos of a running eval."""
    if cell is None:
        return []
    if cell.kind == "eval":
        return [f"{cell.videos} videos"]
    rows = Curve((runs / cell.file).with_name(CURVE)).rows()
    if not rows:
        return [f"epoch 1 of {cell.epochs}"]
    last, first = rows[-1], sum(row.epoch == 0 for row in rows)
    words = [f"epoch {last.epoch + 1} of {cell.epochs}", f"loss {last.loss:.3f}"]
    if last.epoch and last.seconds:  # the iterations of an epoch are known after the first one
        left = last.seconds / (last.iteration + 1) * (first * cell.epochs - last.iteration - 1)
        words.append(f"{duration(left)} left")
    return words


def _fits(runs: Path, busy: set[Path]) -> list[CellStatus]:
    """Finished and interrupted fits.

    Args:
        runs: The run folder.
        busy: Folders of running fits.
    """
    cells = []
    folders = {path.parent for pattern in (FIT_FILE, "epoch_*.pth", CURVE) for path in runs.glob(f"*/*/*/{pattern}")}
    for folder in sorted(folders - busy):
        try:
            fitted = read_fit_file(folder)
        except UserError as error:
            cells.append(CellStatus("fit", folder.name, "damaged", " ".join(error.message.split())))
            continue
        if fitted is None:
            detail = "the command that began it resumes it from its last epoch"
            cells.append(CellStatus("fit", f"{folder.parent.name} {folder.name}", "interrupted", detail))
        else:
            loss = fitted.outcome.final_loss
            words = [duration(fitted.outcome.seconds), *([f"loss {loss:.3f}"] if loss is not None else [])]
            cells.append(CellStatus("fit", fitted.name, "done", ", ".join(words)))
    return cells


def _evals(runs: Path) -> list[CellStatus]:
    cells = []
    for path in find_records(runs):
        try:
            record = read_record(path)
        except UserError as error:
            cells.append(CellStatus("eval", path.name, "damaged", " ".join(error.message.split())))
            continue
        measured = record.measurement
        protocol = measured.protocol
        dataset = measured.evaluation.list.dataset
        name = f"{measured.method.name} {protocol.name} {dataset} {protocol.part} {protocol.repeat.index}"
        cells.append(CellStatus("eval", name, "done", f"top-1 {record.metrics.top1:.1f}{record.mark}"))
    return cells
