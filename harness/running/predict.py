"""Classes of video files, by a fitted or an untrained method."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.data.files.frame_folder import is_frame_folder
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
) -> list[Prediction]:
    """Classify video files as one list; a file that cannot be read or decoded does not stop the other files.

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
    outcomes = {i: refused for i, video in enumerate(videos) if (refused := _not_a_file(video))}
    left = [i for i in range(len(videos)) if i not in outcomes]
    while left:
        job = EvalJob(method, [(videos[i], 0) for i in left], labels, views)
        try:
            scores = evaluate(job, context)
        except MachineFaultError as error:
            # One file ends an eval; here the files do not belong together, and the others are classified.
            faulty = [i for i in left if str(videos[i]) == str(error.video)]
            if not faulty:
                raise
            fault = error.fault
            outcomes |= {i: Prediction(videos[i], problem=fault.reason, hint=fault.hint) for i in faulty}
            left = [i for i in left if i not in outcomes]
            continue
        hints = _undecoded_hints(job, sorted(scores.failed), compute)
        for row, i in enumerate(left):
            if row in scores.failed:
                outcomes[i] = Prediction(videos[i], problem=scores.failed[row].reason.rstrip("."), hint=hints[row])
            else:
                pairs = zip(scores.ids[row], scores.probabilities[row], strict=True)
                outcomes[i] = Prediction(videos[i], tuple((labels.names[c], float(p)) for c, p in pairs))
        break
    return [outcomes[i] for i in range(len(videos))]


def _not_a_file(video: Path) -> Prediction | None:
    """The outcome of a path that names no regular file, None if it names one."""
    if is_frame_folder(video):
        return None
    if video.is_dir():
        hint = f"Name its video files: python -m harness predict {shlex.quote(str(video))}/*"
        return Prediction(video, problem="is a folder, expected a video file", hint=hint)
    if video.is_file():
        return None
    if video.exists():  # reading a named pipe would wait for a writer
        return Prediction(video, problem="is not a regular file, expected a video file", hint="Copy it into a file.")
    return Prediction(video, problem="does not exist", hint="Correct the path.")


def _undecoded_hints(job: EvalJob, rows: Sequence[int], compute: ComputeOptions) -> dict[int, str]:
    """For each row that was not decoded the reader that decodes it, found by decoding it with the other reader."""
    other = "exact" if job.views.reader == "decord" else "decord"
    views, size = replace(job.views, reader=other), job.method.backbone.image_size
    decoded: set[int] = set()
    try:
        for batch in eval_loader(job.rows, views, size, [[row] for row in rows], compute, job.seed):
            decoded.update(batch.rows)
    except MachineFaultError as error:
        return dict.fromkeys(rows, error.fault.hint)
    hints = {}
    for row in rows:
        name = shlex.quote(str(job.rows[row][0]))
        damaged = "No reader decodes it: the file is damaged or not a video. Get it again, or try: "
        advice = f"The other reader decodes it: add --reader {other}" if row in decoded else ""
        hints[row] = advice or f"{damaged}ffmpeg -i {name} new.mp4"
    return hints
