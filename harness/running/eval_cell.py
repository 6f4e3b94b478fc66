"""Compute one eval: from its cell to the predictions and the record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.canonical import fingerprint
from harness.cells.cell import EvalCell
from harness.cells.eval_state import RENEWED, REUSED, eval_state, renewed, scored_before
from harness.cells.leakage import audit_cell
from harness.engine.compute.device import for_evaluation
from harness.engine.evaluate import evaluate
from harness.engine.features.context import Context
from harness.engine.job import EvalJob
from harness.engine.video.loaders import locate_rows
from harness.running.build import fitted_method, loaded_model
from harness.running.cell_files import left_over, partial_results
from harness.running.session import Session, claimed, present_rows
from harness.running.write_record import Scored, record_eval, utc_now
from results.record import read_record, write_record


def run_eval_cell(cell: EvalCell, session: Session) -> bool:
    """Score the list of a cell and write predictions and record; False if another run finished the cell meanwhile."""
    processes = session.processes
    with claimed(session, cell, lambda: eval_state(cell, session.tensors_of)) as wanted:
        if not wanted:
            return False
        if _renew(cell, session):
            return True
        # `together` makes the error of one process an error of all, so that none waits for a process that has ended.
        with processes.together():
            audited = audit_cell(cell)
            located = locate_rows(cell.test, cell.dataset.locate)
            rows = present_rows(cell.test, cell.dataset.locate, cell.name, session.compute)
            kept = [i for i, (path, _) in enumerate(located) if path is not None]
            method, fitted = fitted_method(cell, session.settings)
            partial = partial_results(cell, fitted.weights.sha256 if fitted else "")
        device = for_evaluation(session.device, session.compute, method.backbone)
        # Random views depend on the list alone: equal for all methods and independent of the order of cells.
        seed = int(fingerprint([cell.test.sha256, "views"], 8), 16)
        # Untrained evals of several protocols on one list share a number, and are computed once per run.
        job = EvalJob(method, rows, cell.labels, cell.views, seed, cell.eval.transform)
        if cell.number not in session.scores:
            context = Context(device, session.compute, session.features, processes, session.clips)
            scores = evaluate(job, context, partial, session.progress.eval_step)
            with processes.together():
                scores.require_a_decoded_video(job)
            session.scores[cell.number] = scores
        with processes.together():
            if processes.is_leader:
                scored = Scored(session.scores[cell.number], kept, audited, device, processes.size)
                record_eval(cell, method, loaded_model(cell.row, method), scored, fitted)
                for path in left_over(cell):
                    path.unlink(missing_ok=True)
    return True


def _renew(cell: EvalCell, session: Session) -> bool:
    """Write the record without computing if its number is known; False if the list has to be scored."""
    processes = session.processes
    # The leading process decides: another process may read other files on a slow network file system.
    reason = processes.share(eval_state(cell, session.tensors_of).reason if processes.is_leader else "")
    if reason not in (RENEWED, REUSED):
        return False
    done = False
    with processes.together():
        if processes.is_leader:
            audit_cell(cell)  # the leakage rules may be stricter than at the time of the first record
            source = scored_before(cell, session.tensors_of) if reason == REUSED else cell.record
            evaluation = read_record(source).measurement.evaluation if source else None
            if source and evaluation and (evaluation.evaluated == evaluation.list.n or session.compute.allow_missing):
                _take_over(cell, source)
                done = True
    return bool(processes.share(done))


def _take_over(cell: EvalCell, source: Path) -> None:
    """Write the record of a cell from a record with the same number, with a copy of its predictions.

    Args:
        cell: The eval.
        source: File of the record with the same number; it may be the file of the cell itself.
    """
    record = renewed(cell, read_record(source))
    # A status such as `verified` was earned by the other record, not by this copy.
    if source != cell.record:
        write_bytes(cell.predictions, source.with_name(record.predictions.file).read_bytes())
        predictions = replace(record.predictions, file=cell.predictions.name)
        record = replace(record, predictions=predictions, status="submitted", remarks=(), created=utc_now())
    write_record(cell.record, record)
