"""Write the predictions and the record of an eval."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import torch

from harness.cells.cell import EvalCell
from harness.data.leakage import Audit
from harness.engine.compute.device import Device
from harness.engine.cost.view_cost import view_cost
from harness.engine.evaluate import Scores
from harness.engine.method import ClipMethod
from harness.engine.model.compiled import runs_compiled
from harness.plugins import registry
from results.fit_file import FitFile
from results.measurement import Measurement, ModelId
from results.measurement_words import signature
from results.predictions import predictions_frame, write_predictions
from results.provenance import Environment, environment
from results.record import (
    CostFacts,
    FitFacts,
    MethodCard,
    Overlap,
    PredictionsFile,
    Record,
    Undecodable,
    write_record,
)
from results.statistics.metrics import accuracies


@dataclass(frozen=True)
class Scored:
    """Scores of an eval with the circumstances of their computation.

    Args:
        scores: Scores, one row per evaluated video.
        kept: Numbers of the evaluated rows of the list; all rows unless videos are missing and `allow_missing` is on.
        audits: Leakage checks of the list.
        device: Device of the computation.
        processes: Number of processes that shared the list.
    """

    scores: Scores
    kept: list[int]
    audits: list[Audit]
    device: Device
    processes: int = 1


def record_eval(cell: EvalCell, method: ClipMethod, model: ModelId, scored: Scored, fitted: FitFile | None) -> None:
    """Write the predictions and then the record, so that a record on disk always has its predictions.

    Args:
        cell: The eval.
        method: The scored method.
        model: Model of the method, with the hash of its tensors.
        scored: Scores and circumstances.
        fitted: Content of the fit's `fit.json`, None for an untrained method.
    """
    scores = scored.scores
    rows = [cell.test.rows[i] for i in scored.kept]
    labels = np.array([label for _, label in rows])
    clusters = [cell.dataset.cluster(path) for path, _ in rows]
    # `cluster` groups videos of one source video, which the statistics must not count as independent.
    frame = predictions_frame([path for path, _ in rows], labels, scores.ids, scores.probabilities, clusters)
    sha256 = write_predictions(cell.predictions, frame)
    measurement = _measured(cell, model, scored, fitted)
    total, trained = method.parameter_counts()
    card, cost = cell.row.card, view_cost(method, cell.views.frames, cell.labels)
    record = Record(
        key=cell.key,
        signature=signature(measurement),
        measurement=measurement,
        columns=cell.protocol.columns,
        classes=cell.labels.names,
        embedded=cell.dataset.kind == "embedded",
        method=MethodCard(
            title=card.title,
            family=card.family,
            origin=registry.recorded_origin("method", cell.row.name),
            paper=card.paper,
            source=card.source,
            unverified=card.unverified,
            params_total=total,
            params_trained=trained if fitted else 0,
            defaults=cell.row.defaults.as_dict(),
        ),
        fit=_fit_facts(cell, fitted),
        undecodable=tuple(
            Undecodable(rows[i][0], clip.reason, clip.sha256) for i, clip in sorted(scores.failed.items())
        ),
        metrics=accuracies(labels, scores.ids),
        overlap=_overlap(cell, labels, scores, scored.audits),
        cost=CostFacts(
            gflops=cost.gflops,
            score_gflops=cost.score_gflops,
            eval_seconds=round(scores.seconds, 3),
            videos_per_second=round(scores.scored / scores.seconds, 3) if scores.seconds else 0.0,
            features_cached=scores.cached,
        ),
        environment=measured_on(scored.device, scored.processes, runs_compiled(method)),
        predictions=PredictionsFile(cell.predictions.name, sha256),
        created=utc_now(),
    )
    write_record(cell.record, record)


def _measured(cell: EvalCell, model: ModelId, scored: Scored, fitted: FitFile | None) -> Measurement:
    """The measurement of a cell, completed with facts that are known only after computing."""
    training, planned = None, cell.measurement.fitted
    # The start, precision and used videos come from the fit's own file: they were decided when the fit ran.
    if planned is not None and fitted is not None:
        recorded = fitted.described.training
        training = replace(
            planned,
            start=recorded.start,
            precision=recorded.precision,
            used=recorded.used,
            device_batch=recorded.device_batch,
            weights_sha256=fitted.weights.sha256,
        )
    evaluation = replace(
        cell.measurement.evaluation, precision=scored.device.precision, evaluated=len(scored.kept)
    )  # fmt: skip
    return replace(cell.measurement, model=model, training=training, evaluation=evaluation)


def _fit_facts(cell: EvalCell, fitted: FitFile | None) -> FitFacts | None:
    if cell.fit is None or fitted is None:
        return None
    return FitFacts(
        name=cell.fit.start_name,
        shots=cell.fit.fit.shots,
        updates=fitted.outcome.updates,
        effective_batch=cell.fit.recipe.effective_batch,
        seconds=fitted.outcome.seconds,
        peak_memory_gib=fitted.outcome.peak_memory_gib,
    )


def _overlap(cell: EvalCell, labels: np.ndarray, scores: Scores, audits: list[Audit]) -> Overlap:
    # Accuracy without the classes that training may have seen; None if it would equal the metric or have no videos.
    seen = {i for item in audits for i in item.seen_ids()}
    unseen = np.array([label not in seen for label in labels])
    strict = accuracies(labels[unseen], scores.ids[unseen]).top1 if seen and unseen.any() else None
    return Overlap(
        seen_classes=tuple(cell.labels.names[i] for i in sorted(seen)),
        top1_strict=strict,
        audits=tuple(item.facts() for item in audits),
    )


def measured_on(device: Device, processes: int = 1, compiled: bool = False) -> Environment:
    """The environment of a computation: packages, git state, device, precision, threads, processes, compiled blocks."""
    return replace(
        environment(),
        device=device.label,
        dtype=device.precision,
        threads=torch.get_num_threads(),
        processes=processes,
        compiled=compiled,
    )


def utc_now() -> str:
    """The present time, ISO 8601, to the second."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
