"""Classes of video files, by a fitted or an untrained method."""

from __future__ import annotations

from collections.abc import Sequence
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
) -> list[Prediction]:
    """Classify video files as one list; a file that cannot be decoded does not stop the other files.

    Args:
        videos: Video files.
        method: A built or loaded method.
        labels: The classes to choose from.
        views: How frames are sampled and normalised.
        compute: Device, precision, workers.

    Returns:
        One prediction per file, in order.

    Raises:
        UserError: The method fails for another reason than the file.
    """
    method.requires_grad_(False)  # then the class texts are encoded once for all files
    context = Context(for_evaluation(choose_device(compute), compute, method.backbone), compute)
    scores = evaluate(EvalJob(method, [(video, 0) for video in videos], labels, views), context)
    predictions = []
    for i, video in enumerate(videos):
        if i in scores.failed:
            predictions.append(Prediction(video, problem=scores.failed[i].rstrip(".")))
            continue
        pairs = zip(scores.ids[i], scores.probabilities[i], strict=True)
        predictions.append(Prediction(video, tuple((labels.names[c], float(p)) for c, p in pairs)))
    return predictions
