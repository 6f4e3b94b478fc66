"""The classes of single video files: a fitted or untrained method, a set of class names, the top five."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.cells.cell import MethodRow
from harness.engine.compute.device import choose_device, for_evaluation
from harness.engine.evaluate import evaluate
from harness.engine.features.context import Context
from harness.engine.job import EvalJob
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings
from harness.running.build import build_row
from harness.running.load_fit import restore
from harness.spec import LabelSet, Views


@dataclass(frozen=True)
class Prediction:
    """The outcome of one file: either classes with probabilities, best first, or why it could not be decoded."""

    video: Path
    classes: tuple[tuple[str, float], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Subject:
    """A method to predict with.

    Args:
        row: Method, options and backbone.
        labels: The classes to choose from.
        views: How videos are read.
        fit: Folder of a finished fit; None for an untrained method.
    """

    row: MethodRow
    labels: LabelSet
    views: Views
    fit: Path | None = None


def predict(videos: list[Path], subject: Subject, settings: Settings, compute: ComputeOptions) -> Iterator[Prediction]:
    """One prediction per file, in order; a file that cannot be decoded never ends the others.

    Raises:
        UserError: The fit is not there or belongs to another method or backbone.
    """
    row, labels = subject.row, subject.labels
    method = build_row(row, settings) if subject.fit is None else restore(subject.fit, row, settings)
    method.requires_grad_(False)  # nothing learns here, so the texts are encoded once for all files
    context = Context(for_evaluation(choose_device(compute), compute, method.backbone), compute)
    for video in videos:
        scores = evaluate(EvalJob(method, [(video, 0)], labels, subject.views), context)
        if scores.failed:
            yield Prediction(video, problem=scores.failed[0].rstrip("."))
            continue
        pairs = zip(scores.ids[0], scores.probabilities[0], strict=True)
        yield Prediction(video, tuple((labels.names[i], float(p)) for i, p in pairs))
