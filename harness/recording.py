"""From the scores of an eval to its predictions and record on disk."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import registry
from harness.cells import EvalCell
from harness.data.overlap import Audit
from harness.engine.compiled import runs_compiled
from harness.engine.device import Device
from harness.engine.evaluate import Scores
from harness.engine.method import ClipMethod
from harness.engine.view_cost import view_cost
from results.metrics import accuracies
from results.predictions import predictions_frame, write_predictions
from results.provenance import environment
from results.record import Record, write_record

RANDOM = "random"


def record_eval(
    cell: EvalCell, method: ClipMethod, scores: Scores, kept: list[int], fitted: dict[str, Any] | None,
    audited: list[Audit], device: Device, processes: int = 1,
) -> None:  # fmt: skip
    """Write the predictions, then the record: a record on disk always has its predictions.

    Args:
        cell: The eval.
        method: As it was scored.
        scores: One row per evaluated video.
        kept: Rows of the list that were evaluated; all of them unless videos are missing and that was allowed.
        fitted: Content of the fit's `fit.json`, None for an untrained method.
        audited: What the list shares with everything the model was trained on.
        device: Where it was computed.
        processes: How many computed it together.
    """
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
    if method.backbone.facts.weights == RANDOM:
        incomplete.append("random weights: only the pipeline is shown")
    seen = {i for item in audited for i in item.seen_ids()}
    seen_names = [cell.labels.names[i] for i in sorted(seen)]
    unseen = np.array([label not in seen for label in labels])
    strict = accuracies(labels[unseen], scores.ids[unseen]).top1 if seen and unseen.any() else None
    total, trained = method.parameter_counts()
    card, facts, fit_cell = cell.row.card, method.backbone.facts, cell.fit
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
            "name": cell.row.name, "title": card.title, "version": cell.row.spec.version, "family": card.family,
            "origin": registry.recorded_origin("method", cell.row.name), "source_sha256": cell.row.source_sha256,
            "options": cell.row.options.as_dict(), "class_text": card.class_text,
            "extra_data": [*card.extra_data, *checkpoint_data(cell)],
            "params_total": total, "params_trained": trained if fit_cell else 0,
            "unverified": card.unverified, "paper": card.paper, "source": card.source,
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
            "init": fit_cell.init, "selection": fit_cell.recipe.selection,
            "weights_sha256": fitted["weights"]["sha256"],
        },
        repeat={"kind": cell.repeat.kind, "index": cell.repeat.index},
        views={**cell.identity["views"], "size": facts.image_size, "text": cell.row.text},
        metrics=metrics.as_dict(),
        overlap={
            "train_videos": 0, "seen_classes": seen_names, "top1_strict": strict,
            "audits": [item.as_dict() for item in audited],
        },
        cost={
            "fit_seconds": fitted["outcome"]["seconds"] if fitted else 0.0,
            "peak_memory_gib": fitted["outcome"]["peak_memory_gib"] if fitted else 0.0,
            "eval_seconds": round(scores.seconds, 3),
            "videos_per_second": round(scores.scored / scores.seconds, 3) if scores.seconds else 0.0,
            **asdict(view_cost(method, cell.views.frames, cell.labels)),
        },
        environment=measured_on(device, processes, runs_compiled(method)),
        predictions={"file": cell.predictions.name, "sha256": sha256},
        created=utc_now(),
    )  # fmt: skip
    write_record(cell.record, record)


def checkpoint_data(cell: EvalCell) -> list[str]:
    """The checkpoint as training data that nobody here can vouch for; empty without one."""
    choice = cell.row.choice
    if not choice.checkpoint:
        return []
    return [f"checkpoint {Path(choice.checkpoint).name} ({choice.checkpoint_sha256[:8]})"]


def measured_on(device: Device, processes: int = 1, compiled: bool = False) -> dict[str, Any]:
    """Packages, git state, device, precision, threads, processes, and whether blocks were compiled, for records."""
    return {
        **environment(), "device": device.label, "dtype": device.precision, "threads": torch.get_num_threads(),
        "processes": processes, "compiled": compiled,
    }  # fmt: skip


def utc_now() -> str:
    """The time, ISO 8601, to the second."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
