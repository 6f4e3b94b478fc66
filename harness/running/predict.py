"""Classes of single video files, by a fitted or an untrained method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.engine.compute.device import choose_device, for_evaluation
from harness.engine.evaluate import evaluate
from harness.engine.features.context import Context
from harness.engine.job import EvalJob
from harness.engine.method import ClipMethod
from harness.machine.compute_options import ComputeOptions
from harness.spec import LabelSet, Views


@dataclass(frozen=True)
class Prediction:
    """The predictions for one video file.

    Args:
        video: The file.
        classes: Up to five pairs of class name and probability, best first; empty if the file was not decoded.
        problem: The reason why the file was not decoded; empty if it was.
    """

    video: Path
    classes: tuple[tuple[str, float], ...] = ()
    problem: str = ""


def predict(
    videos: Sequence[Path], method: ClipMethod, labels: LabelSet, views: Views, compute: ComputeOptions
) -> Iterator[Prediction]:
    """Classify video files one after the other; a file that cannot be decoded does not stop the next ones.

    Args:
        videos: Video files.
        method: A built or loaded method.
        labels: The classes to choose from.
        views: How frames are sampled and normalised.
        compute: Device, precision, workers.

    Yields:
        One prediction per file, in order.

    Raises:
        UserError: The method fails for another reason than the file.
    """
    method.requires_grad_(False)  # then the class texts are encoded once for all files
    context = Context(for_evaluation(choose_device(compute), compute, method.backbone), compute)
    for video in videos:
        scores = evaluate(EvalJob(method, [(video, 0)], labels, views), context)
        if scores.failed:
            yield Prediction(video, problem=scores.failed[0].rstrip("."))
            continue
        pairs = zip(scores.ids[0], scores.probabilities[0], strict=True)
        yield Prediction(video, tuple((labels.names[i], float(p)) for i, p in pairs))
