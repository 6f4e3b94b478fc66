"""Carrying out a plan: fits first, then the evals they serve, each cell on disk as soon as it is done."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from harness import registry
from harness.cells import EvalCell, FitCell, MethodRow
from harness.data.overlap import Audit, audit
from harness.engine.clips import Row, locate_rows
from harness.engine.device import Device, choose_device
from harness.engine.evaluate import Scores, evaluate
from harness.engine.fit import WEIGHTS, fit, load_fit
from harness.engine.method import ClipMethod
from harness.engine.weights import file_sha256
from harness.errors import EXIT_FAILED, UserError
from harness.plan import FIT_FILE, FIT_SCHEMA, Plan, eval_state, fit_state, read_fit
from harness.progress import Progress
from harness.runtime import Runtime
from harness.settings import Settings
from harness.spec import VideoList, fingerprint
from results.atomic import write_json
from results.metrics import accuracies
from results.predictions import predictions_frame, write_predictions
from results.provenance import environment
from results.record import Record, write_record

logger = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What became of a plan.

    Args:
        fits, evals: Numbers of cells carried out in this call.
        reused: Cells that were done before.
        failures: (cell name, error) of cells that failed.
    """

    fits: int = 0
    evals: int = 0
    reused: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)


def execute(plan: Plan, settings: Settings, runtime: Runtime, keep_going: bool = False, force: bool = False) -> Outcome:
    """Carry out the open cells of a plan.

    A cell that fails is named; with `keep_going` the others go on, otherwise the first failure ends the run. What was
    finished before stays finished. Two processes on the same run folder never compute the same cell twice.

    Raises:
        UserError: A cell failed and `keep_going` is off.
    """
    device = choose_device(runtime)
    if force:
        _discard(plan)
    open_fits = [s.cell for s in plan.fits] if force else plan.open_fits()
    open_evals = [s.cell for s in plan.evals] if force else plan.open_evals()
    outcome = Outcome(reused=len(plan.fits) + len(plan.evals) - len(open_fits) - len(open_evals))
    progress = Progress(quiet=runtime.quiet, cells=len(open_fits) + len(open_evals))
    failed: set[str] = set()
    with progress:
        for name, cell, run in _tasks(open_fits, open_evals):
            if isinstance(cell, EvalCell) and cell.fit is not None and cell.fit.key in failed:
                outcome.failures.append((name, "its fit failed"))
                continue
            progress.begin(name)
            try:
                _prepare(cell)
                done = run(cell, settings, runtime, device, progress)  # type: ignore[arg-type]
            except UserError as error:
                if not keep_going:
                    raise
                failed.add(cell.key)
                outcome.failures.append((name, str(error)))
                continue
            finally:
                progress.end()
            if not done:
                outcome.reused += 1
            elif isinstance(cell, FitCell):
                outcome.fits += 1
            else:
                outcome.evals += 1
    return outcome


def _tasks(fits: Iterable[Any], evals: Iterable[Any]) -> Iterable[tuple[str, Any, Callable[..., bool]]]:
    """Each fit directly followed by its evals, so that results appear as early as possible; then the rest."""
    remaining = list(evals)
    for cell in fits:
        yield f"fit {cell.name}", cell, run_fit_cell
        for item in [e for e in remaining if e.fit is not None and e.fit.key == cell.key]:
            remaining.remove(item)
            yield f"eval {item.name}", item, run_eval_cell
    for item in remaining:
        yield f"eval {item.name}", item, run_eval_cell


def _prepare(cell: FitCell | EvalCell) -> None:
    cell.dataset.prepare()


def _discard(plan: Plan) -> None:
    """Remove what `--force` computes anew."""
    for state in plan.fits:
        cell = state.cell
        shutil.rmtree(cell.folder, ignore_errors=True)  # type: ignore[union-attr]
    for state in plan.evals:
        if isinstance(state.cell, EvalCell):
            for path in (state.cell.record, state.cell.predictions):
                path.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path, name: str) -> Any:
    """Hold the lock of a cell; another process that wants it waits, then finds the cell done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be made: {error}", "Choose another one with --runs DIR.") from None
    with FileLock(folder / f".{name}.lock"):
        yield


def build_row(row: MethodRow, settings: Settings) -> ClipMethod:
    """A fresh method on a freshly loaded backbone."""
    from harness.engine.backbone import load_backbone

    backbone = load_backbone(row.backbone.arch, row.backbone.weights, settings.weights.path)
    return row.cls(backbone, row.options)


def run_fit_cell(cell: FitCell, settings: Settings, runtime: Runtime, device: Device, progress: Progress) -> bool:
    """Fit a cell and write its `fit.json`; False if another process did so meanwhile."""
    with _locked(cell.folder, "fit"):
        if fit_state(cell).state == "done":
            return False
        rows = present_rows(cell.train, cell.dataset.locate, cell.name, runtime)
        method = build_row(cell.row, settings)
        outcome = fit(
            method, rows, cell.labels, cell.recipe, cell.views, cell.folder, device, runtime, progress.fit_step
        )
        total, trained = method.parameter_counts()
        write_json(
            cell.folder / FIT_FILE,
            {
                "schema": FIT_SCHEMA,
                "key": cell.key,
                "name": cell.name,
                "identity": cell.identity,
                "recipe": cell.recipe.as_dict(),
                "train": {**cell.identity["train"], "n_used": len(rows)},
                "weights": {"file": WEIGHTS, "sha256": file_sha256(cell.folder / WEIGHTS)},
                "outcome": dict(vars(outcome)),
                "parameters": {"total": total, "trained": trained},
                "environment": _environment(device),
                "created": _now(),
            },
        )
        for path in cell.folder.glob("epoch_*.pth"):
            path.unlink(missing_ok=True)
        (cell.folder / "last_checkpoint").unlink(missing_ok=True)
    return True


def present_rows(video_list: VideoList, locate: Callable[[str], Path | None], name: str, runtime: Runtime) -> list[Row]:
    """The rows of a list with their files; refuses a list with missing videos unless that is allowed.

    Raises:
        UserError: Videos are missing and `allow_missing` is off, or none is there at all.
    """
    rows = locate_rows(video_list, locate)
    missing = [path for (path, _), (found, _) in zip(video_list.rows, rows, strict=True) if found is None]
    if len(missing) == len(rows):
        raise UserError(
            f"{name}: none of the {len(rows)} videos of the list {video_list.name!r} was found (first: {missing[0]}).",
            "Give the videos' folder with --data NAME=DIR, or in harness.toml under [data].",
        )
    if missing and not runtime.allow_missing:
        raise UserError(
            f"{name}: {len(missing)} of {len(rows)} videos of the list {video_list.name!r} were not found "
            f"(first: {', '.join(missing[:3])}).",
            "Complete the dataset, or pass --allow-missing: the row is then marked incomplete and not ranked.",
        )
    return [row for row in rows if row[0] is not None]


def run_eval_cell(cell: EvalCell, settings: Settings, runtime: Runtime, device: Device, progress: Progress) -> bool:
    """Score a cell's list and write predictions and record; False if another process did so meanwhile."""
    folder = cell.record.parent
    with _locked(folder, cell.key):
        if eval_state(cell).state == "done":
            return False
        audited = audit_cell(cell)
        located = locate_rows(cell.test, cell.dataset.locate)
        rows = present_rows(cell.test, cell.dataset.locate, cell.name, runtime)
        kept = [i for i, (path, _) in enumerate(located) if path is not None]
        method = build_row(cell.row, settings)
        fitted = None
        if cell.fit is not None:
            load_fit(method, cell.fit.folder)
            fitted = read_fit(cell.fit.folder)
        partial = folder / f".{cell.key}.partial.npz"
        seed = int(fingerprint([cell.test.sha256, "views"], 8), 16)
        scores = evaluate(method, rows, cell.labels, cell.views, device, runtime, partial, seed, progress.eval_step)
        _write(cell, method, scores, kept, fitted, audited, device)
        partial.unlink(missing_ok=True)
    (folder / f".{cell.key}.lock").unlink(missing_ok=True)
    return True


def audit_cell(cell: EvalCell) -> Audit:
    """The audit of a cell's lists: shared videos are refused, seen classes are reported."""
    train = cell.fit.train if cell.fit else None
    return audit(
        train, cell.fit.labels if cell.fit else None, cell.test, cell.labels,
        cell.fit.dataset.name if cell.fit else "", cell.dataset.name,
    )  # fmt: skip


def _write(
    cell: EvalCell, method: ClipMethod, scores: Scores, kept: list[int], fitted: dict[str, Any] | None,
    audited: Audit, device: Device,
) -> None:  # fmt: skip
    rows = [cell.test.rows[i] for i in kept]
    labels = np.array([label for _, label in rows])
    metrics = accuracies(labels, scores.ids)
    frame = predictions_frame([path for path, _ in rows], labels, scores.ids, scores.probabilities)
    sha256 = write_predictions(cell.predictions, frame)
    incomplete = (
        [] if len(kept) == len(cell.test) else [f"{len(cell.test) - len(kept)} of {len(cell.test)} videos missing"]
    )
    if fitted and fitted["train"]["n_used"] != fitted["train"]["n"]:
        incomplete.append(f"fitted on {fitted['train']['n_used']} of {fitted['train']['n']} videos")
    seen = set(audited.seen_ids())
    seen_names = [entry.name for entry in audited.seen if entry.id in seen]
    unseen = np.array([label not in seen for label in labels])
    strict = accuracies(labels[unseen], scores.ids[unseen]).top1 if seen and unseen.any() else None
    total, trained = method.parameter_counts()
    card, facts, fit_cell = cell.row.cls.card, method.backbone.facts, cell.fit
    record = Record(
        cell=cell.key,
        signature=cell.signature,
        identity=cell.identity,
        protocol={
            "id": cell.protocol.name, "version": cell.protocol.version, "division": cell.division,
            "part": cell.eval.part, "columns": [c.as_dict() for c in cell.protocol.columns], "incomplete": incomplete,
        },
        data={
            "dataset": cell.dataset.name, "list": cell.test.name, "list_sha256": cell.test.sha256,
            "list_origin": cell.test.origin, "labels": cell.eval.test.labels, "labels_sha256": cell.labels.sha256,
            "label_variant": cell.labels.variant, "classes": list(cell.labels.names), "n_expected": len(cell.test),
            "n_evaluated": len(rows), "n_undecodable": len(scores.failed),
            "undecodable": [{"video": rows[i][0], "reason": scores.failed[i]} for i in sorted(scores.failed)],
            "embedded": cell.dataset.kind == "embedded",
        },
        method={
            "name": cell.row.name, "title": card.title, "version": cell.row.cls.version, "family": card.family,
            "origin": registry.origin_of("method", cell.row.name), "source_sha256": cell.row.source_sha256,
            "options": cell.row.options.as_dict(), "class_text": card.class_text,
            "extra_data": list(card.extra_data), "params_total": total, "params_trained": trained if fit_cell else 0,
            "unverified": card.unverified,
        },
        backbone={
            "name": facts.name, "arch": facts.arch, "weights": facts.weights, "weights_sha256": facts.weights_sha256,
            "image_size": facts.image_size,
        },
        fit=None if fit_cell is None or fitted is None else {
            "key": fit_cell.key, "name": fit_cell.name,
            "train": {**fitted["train"], "labels": fit_cell.fit.train.labels},
            "repeat": {"kind": fit_cell.fit.repeat.kind, "index": fit_cell.fit.repeat.index},
            "shots": fit_cell.fit.shots, "seed": fit_cell.recipe.seed, "recipe": fit_cell.recipe.as_dict(),
            "effective_batch": fit_cell.recipe.effective_batch, "updates": fitted["outcome"]["updates"],
            "init": "clip", "selection": fit_cell.recipe.selection, "weights_sha256": fitted["weights"]["sha256"],
        },
        repeat={"kind": cell.repeat.kind, "index": cell.repeat.index},
        views={**cell.identity["views"], "size": facts.image_size, "text": cell.row.text},
        metrics=metrics.as_dict(),
        overlap={**audited.as_dict(), "train_videos": 0, "seen_classes": seen_names, "top1_strict": strict},
        cost={
            "fit_seconds": fitted["outcome"]["seconds"] if fitted else 0.0,
            "peak_memory_gib": fitted["outcome"]["peak_memory_gib"] if fitted else 0.0,
            "eval_seconds": round(scores.seconds, 3),
            "videos_per_second": round(scores.scored / scores.seconds, 3) if scores.seconds else 0.0,
        },
        environment=_environment(device),
        predictions={"file": cell.predictions.name, "sha256": sha256},
        created=_now(),
    )  # fmt: skip
    write_record(cell.record, record)


def _environment(device: Device) -> dict[str, Any]:
    import torch

    return {**environment(), "device": device.label, "dtype": device.precision, "threads": torch.get_num_threads()}


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")


__all__ = ["EXIT_FAILED", "Outcome", "execute"]
