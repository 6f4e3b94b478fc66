"""Compute one fit: from its cell to the weights and `fit.json`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.canonical import fingerprint
from harness.base.errors import UserError
from harness.base.files import file_sha256
from harness.base.locks import half_written
from harness.cells.cell import FitCell
from harness.cells.fit_state import finished_training, fit_state
from harness.engine.features.context import Context
from harness.engine.job import FitJob
from harness.engine.method import ClipMethod
from harness.engine.model.compiled import runs_compiled
from harness.engine.training.fit import decisive_batch, fit
from harness.engine.training.kept_weights import (
    finish_weights,
    held_epochs,
    initial_weights,
    kept_file,
    saves_last,
)
from harness.engine.training.trained_weights import WEIGHTS, require_hash
from harness.running.build import build_fit_start, loaded_model, require_recorded
from harness.running.cell_files import START_FILE, left_over
from harness.running.inputs import write_inputs
from harness.running.session import Session, claimed, present_rows
from harness.running.write_record import measured_on, utc_now
from results.curve_file import CURVE
from results.fit_file import KEPT, FitFile, FitOutcome, KeptWeights, Parameters, WeightsFile, write_fit_file
from results.measurement import FitDescription
from results.provenance import Environment


def run_fit_cell(cell: FitCell, session: Session) -> bool:
    """Fit a cell and write its `fit.json`; False if another run finished the cell meanwhile."""
    processes = session.processes
    with claimed(session, cell, lambda: fit_state(cell, session.tensors_of)) as wanted:
        if not wanted:
            return False
        if _derived(cell, session):
            return True
        with processes.together():
            # Under the lock of the cell, so that no other process is writing these files.
            for path in half_written(cell.folder) if processes.is_leader else ():
                path.unlink(missing_ok=True)
            rows = present_rows(cell.train, cell.dataset.locate, cell.name, session.compute)
            method, start = build_fit_start(cell, session.settings)
            model = loaded_model(cell.row, method)
            job = FitJob(method, rows, cell.labels, cell.views, cell.recipe)
            context = Context(session.device, session.compute, session.features, processes, session.clips)
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
                environment = measured_on(session.device, processes.size, runs_compiled(method))
                kept = _kept(cell, method, session.compute.keep_epochs)
                _write_fit(cell, described, method, Computed(outcome, environment, kept))
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


def _derived(cell: FitCell, session: Session) -> bool:
    """Write the weights of a cell from the kept epochs of a finished fit; False if there is no such fit."""
    done = False
    with session.processes.together():
        if session.processes.is_leader and (source := finished_training(cell, session.tensors_of)) is not None:
            folder, fitted = source
            method, start = build_fit_start(cell, session.settings)
            require_recorded(fitted, loaded_model(cell.row, method), start, fitted.name)
            initial = initial_weights(method, cell.recipe)
            files = {kept.epoch: folder / kept.file for kept in fitted.kept if kept.epoch in cell.recipe.ingredients}
            for kept in fitted.kept:
                if kept.epoch in files:
                    require_hash(files[kept.epoch], kept.sha256)
            finish_weights(method, cell.recipe, cell.folder, files, initial)
            if (folder / CURVE).is_file():
                write_bytes(cell.folder / CURVE, (folder / CURVE).read_bytes())
            recorded = fitted.described
            training = replace(
                cell.described.training, start=recorded.training.start, precision=recorded.training.precision,
                used=recorded.training.used, device_batch=recorded.training.device_batch,
            )  # fmt: skip
            described = replace(cell.described, model=recorded.model, training=training)
            _write_fit(cell, described, method, Computed(fitted.outcome, fitted.environment))
            done = True
    return bool(session.processes.share(done))


@dataclass(frozen=True)
class Computed:
    """The outcome of a fit, the environment that computed it, and the epochs whose weights it keeps."""

    outcome: FitOutcome
    environment: Environment
    kept: tuple[KeptWeights, ...] = ()


def _kept(cell: FitCell, method: ClipMethod, keep: str) -> tuple[KeptWeights, ...]:
    """The weights of single epochs in the folder of a fit that has just ended."""
    kept = {}
    for epoch in held_epochs(method, cell.recipe, keep):
        path = kept_file(cell.folder, epoch)
        if path.is_file():  # a fit in closed form has no epochs
            kept[epoch] = KeptWeights(epoch, f"{KEPT}/{path.name}", file_sha256(path))
    if saves_last(method, cell.recipe) and cell.recipe.epochs not in kept:
        kept[cell.recipe.epochs] = KeptWeights(cell.recipe.epochs, WEIGHTS, file_sha256(cell.folder / WEIGHTS))
    return tuple(kept[epoch] for epoch in sorted(kept))


def _write_fit(cell: FitCell, described: FitDescription, method: ClipMethod, computed: Computed) -> None:
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
            outcome=computed.outcome,
            parameters=Parameters(total, trained),
            environment=computed.environment,
            created=utc_now(),
            kept=computed.kept,
        ),
    )
    write_inputs(cell.folder, cell.row)
    for path in left_over(cell):
        path.unlink(missing_ok=True)
    if (cell.folder / KEPT).is_dir() and not any((cell.folder / KEPT).iterdir()):
        (cell.folder / KEPT).rmdir()
