"""Compute one fit: from its cell to the weights and `fit.json`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.canonical import fingerprint
from harness.base.errors import UserError
from harness.base.files import file_sha256
from harness.base.locks import half_written
from harness.cells.cell import FitCell
from harness.cells.fit_state import fit_state
from harness.engine.features.context import Context
from harness.engine.job import FitJob
from harness.engine.method import ClipMethod
from harness.engine.model.compiled import runs_compiled
from harness.engine.training.fit import decisive_batch, fit
from harness.engine.training.trained_weights import WEIGHTS
from harness.running.build import build_fit_start, loaded_model
from harness.running.cell_files import START_FILE, left_over
from harness.running.inputs import write_inputs
from harness.running.session import Session, claimed, present_rows
from harness.running.write_record import measured_on, utc_now
from results.curve_file import CURVE
from results.fit_file import FitFile, FitOutcome, Parameters, WeightsFile, write_fit_file
from results.measurement import FitDescription


def run_fit_cell(cell: FitCell, session: Session) -> bool:
    """Fit a cell and write its `fit.json`; False if another run finished the cell meanwhile."""
    processes = session.processes
    with claimed(session, cell, lambda: fit_state(cell, session.tensors_of)) as wanted:
        if not wanted:
            return False
        with processes.together():
            # Under the lock of the cell, so that no other process is writing these files.
            for path in half_written(cell.folder) if processes.is_leader else ():
                path.unlink(missing_ok=True)
            rows = present_rows(cell.train, cell.dataset.locate, cell.name, session.compute)
            method, start = build_fit_start(cell, session.settings)
            model = loaded_model(cell.row, method)
            job = FitJob(method, rows, cell.labels, cell.views, cell.recipe)
            context = Context(session.device, session.compute, session.features, processes)
            batch = decisive_batch(job, context)
            if processes.is_leader:
                began = [model.tensors_sha256, start.weights_sha256, *([str(batch)] if batch else [])]
                _keep_resumable(cell.folder, began)
        try:
            outcome = fit(job, cell.folder, context, session.progress.fit_step)
        except UserError:
            if processes.is_leader and not [*cell.folder.glob("epoch_*.pth"), *cell.folder.glob(CURVE)]:
                (cell.folder / START_FILE).unlink(missing_ok=True)  # refused before the first update
            raise
        with processes.together():
            if processes.is_leader:
                training = replace(
                    cell.described.training, start=start, precision=session.device.precision, used=len(rows),
                    device_batch=batch,
                )  # fmt: skip
                described = replace(cell.described, model=model, training=training)
                _write_fit(cell, described, method, outcome, session)
    return True


def _keep_resumable(folder: Path, start: list[str]) -> None:
    """Remove checkpoints of an interrupted fit that started from other weights.

    Args:
        folder: Folder of the fit.
        start: Hashes of the weights that the fit starts from now.
    """
    # Training from an epoch of another start would give weights that belong to no start.
    note = folder / START_FILE
    if note.is_file() and note.read_text(encoding="utf-8") != fingerprint(start):
        for path in (*folder.glob("epoch_*.pth"), folder / "last_checkpoint", folder / CURVE):
            path.unlink(missing_ok=True)
    write_bytes(note, fingerprint(start).encode())


def _write_fit(
    cell: FitCell, described: FitDescription, method: ClipMethod, outcome: FitOutcome, session: Session
) -> None:
    """Write `fit.json`, which marks the fit as done, and then remove its temporary files."""
    total, trained = method.parameter_counts()
    sha256 = file_sha256(cell.folder / WEIGHTS)
    # Last of all files: a fit is done when its `fit.json` exists.
    write_fit_file(
        cell.folder,
        FitFile(
            key=cell.key,
            name=cell.name,
            described=replace(described, training=replace(described.training, weights_sha256=sha256)),
            weights=WeightsFile(WEIGHTS, sha256),
            classes=cell.labels.names,
            outcome=outcome,
            parameters=Parameters(total, trained),
            environment=measured_on(session.device, session.processes.size, runs_compiled(method)),
            created=utc_now(),
        ),
    )
    write_inputs(cell.folder, cell.row)
    for path in left_over(cell):
        path.unlink(missing_ok=True)
