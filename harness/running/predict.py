"""Classes of single video files, by a fitted or an untrained method."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.engine.compute.device import choose_device, for_evaluation
from harness.engine.evaluate import evaluate
from harness.engine.features.context import Context
from harness.engine.job import EvalJob
from harness.engine.method import ClipMethod
from harness.engine.video.loaders import eval_loader
from harness.engine.video.video_bytes import MachineFaultError
from harness.machine.compute_options import ComputeOptions
from harness.spec import LabelSet, Views


@dataclass(frozen=True)
class Prediction:
    """The predictions for one video file.

    Args:
        video: The file.
        classes: Up to five pairs of class name and probability, best first; empty if the file was not decoded.
        problem: The reason why the file was not decoded; empty if it was.
        hint: How to fix it; empty without a problem.
    """

    video: Path
    classes: tuple[tuple[str, float], ...] = ()
    problem: str = ""
    hint: str = ""


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
        if refused := _not_a_file(video):
            yield refused
            continue
        job = EvalJob(method, [(video, 0)], labels, views)
        try:
            scores = evaluate(job, context)
        except MachineFaultError as error:
            yield Prediction(video, problem=error.fault.reason, hint=error.fault.hint)
            continue
        if scores.failed:
            yield Prediction(video, problem=scores.failed[0].reason.rstrip("."), hint=_undecoded_hint(job, compute))
            continue
        pairs = zip(scores.ids[0], scores.probabilities[0], strict=True)
        yield Prediction(video, tuple((labels.names[i], float(p)) for i, p in pairs))


def _not_a_file(video: Path) -> Prediction | None:
    """The outcome of a path that names no regular file, None if it names one."""
    if video.is_dir():
        hint = f"Name its video files: python -m harness predict {shlex.quote(str(video))}/*"
        return Prediction(video, problem="is a folder, expected a video file", hint=hint)
    if video.is_file():
        return None
    if video.exists():  # reading a named pipe would wait for a writer
        return Prediction(video, problem="is not a regular file, expected a video file", hint="Copy it into a file.")
    return Prediction(video, problem="does not exist", hint="Correct the path.")


def _undecoded_hint(job: EvalJob, compute: ComputeOptions) -> str:
    """The reader that decodes a file, found by decoding it with the other reader."""
    video = job.rows[0][0]
    other = "exact" if job.views.reader == "decord" else "decord"
    views, size = replace(job.views, reader=other), job.method.backbone.image_size
    try:
        decodes = not next(iter(eval_loader(job.rows, views, size, [[0]], compute, job.seed))).failed
    except MachineFaultError as error:
        return error.fault.hint
    if decodes:
        return f"The other reader decodes it: add --reader {other}"
    name = shlex.quote(str(video))
    return f"No reader decodes it: the file is damaged or not a video. Get it again, or try: ffmpeg -i {name} new.mp4"
