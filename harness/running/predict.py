"""Classes of videos that a user names, by a fitted or an untrained method."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.base.errors import UserError
from harness.engine.compute.device import choose_device, for_evaluation
from harness.engine.evaluate import Scores, evaluate
from harness.engine.features.context import Context
from harness.engine.job import DEPTH, OwnClipsJob
from harness.engine.method import ClipMethod
from harness.engine.video.local_file import cut_off
from harness.engine.video.mm_own_clips import FrameArray, OwnClip
from harness.engine.video.video_bytes import MachineFaultError
from harness.machine.compute_options import ComputeOptions
from harness.running.cut import Refused, cut_videos
from harness.spec import LabelSet, Views
from harness.spec.parts import Cut, Part

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """The predictions for one video, or for one part of a video.

    Args:
        video: The file; `array N` for the N-th array of frames.
        classes: Pairs of class name and probability, best first; empty if the file was not decoded.
        problem: The reason why the file was not decoded; empty if it was.
        hint: The fix; empty without a problem.
        start, end: The part in seconds; `end` is None for the end of the video.
    """

    video: Path
    classes: tuple[tuple[str, float], ...] = ()
    problem: str = ""
    hint: str = ""
    start: float = 0.0
    end: float | None = None

    @property
    def part(self) -> str:
        """The part as text: ` [1.5-3 s]`; empty for a whole video."""
        if not self.start and self.end is None:
            return ""
        return f" [{self.start:g}-{'' if self.end is None else f'{self.end:g} '}s]"


@dataclass(frozen=True)
class Model:
    """A method with the classes to choose from and the views.

    Args:
        method: A built or loaded method.
        labels: The classes.
        views: Sampling and normalisation of the frames.
    """

    method: ClipMethod
    labels: LabelSet
    views: Views


def predict(
    videos: Sequence[Path | FrameArray],
    model: Model,
    compute: ComputeOptions,
    cut: Cut | None = None,
    top_k: int = DEPTH,
) -> list[Prediction]:
    """Classify videos as one list; a file that cannot be read or decoded does not stop the other files.

    Args:
        videos: Video files and arrays of frames.
        model: Method, classes and views.
        compute: Device, precision, workers.
        cut: The parts of each video; None for whole videos.
        top_k: Classes of a prediction; all classes if there are fewer.

    Returns:
        One prediction per clip, in order.

    Raises:
        UserError: The method fails for another reason than the file, or `top_k` is below 1.
    """
    if top_k < 1:
        raise UserError(f"top_k is {top_k}, expected a number of classes from 1.")
    clips = cut_videos(videos, cut or Cut(), model.views.reader, compute)
    outcomes = {
        i: Prediction(clip.video, problem=clip.problem, hint=clip.hint)
        for i, clip in enumerate(clips)
        if isinstance(clip, Refused)
    }
    named = {i: clip for i, clip in enumerate(clips) if isinstance(clip, OwnClip)}
    outcomes |= _classified(named, model, compute, top_k)
    return [outcomes[i] for i in range(len(clips))]


def _classified(clips: dict[int, OwnClip], model: Model, compute: ComputeOptions, top_k: int) -> dict[int, Prediction]:
    """The prediction of each clip."""
    model.method.requires_grad_(False)  # then the class texts are encoded once for all files
    context = Context(for_evaluation(choose_device(compute), compute, model.method.backbone), compute)
    outcomes: dict[int, Prediction] = {}
    while left := [i for i in clips if i not in outcomes]:
        job = _job([clips[i] for i in left], model, top_k)
        try:
            scores = evaluate(job, context)
        except MachineFaultError as error:
            # One file ends an eval; here the files do not belong together, and the others are classified.
            faulty = [i for i in left if clips[i].file == error.video]
            if not faulty:
                raise
            outcomes |= {
                i: Prediction(clips[i].video, problem=error.fault.reason, hint=error.fault.hint) for i in faulty
            }
            continue
        outcomes |= dict(zip(left, _predictions(job, scores, compute), strict=True))
    _warn_of_cut_files(clips, outcomes)
    return outcomes


def _warn_of_cut_files(clips: dict[int, OwnClip], outcomes: dict[int, Prediction]) -> None:
    """Name the files whose end is missing: their first frames may show another action than the whole clip."""
    files = {clip.video: None for i, clip in clips.items() if clip.frames is None and outcomes[i].classes}
    for file in files:
        if file.is_file() and (reason := cut_off(file)):
            logger.warning("%s: %s. The frames that remain are classified; copy the file again.", file, reason)


def _job(clips: Sequence[OwnClip], model: Model, top_k: int) -> OwnClipsJob:
    rows: list[tuple[Path | None, int]] = [(clip.video, 0) for clip in clips]
    return OwnClipsJob(model.method, rows, model.labels, model.views, depth=top_k, clips=tuple(clips))


def _predictions(job: OwnClipsJob, scores: Scores, compute: ComputeOptions) -> list[Prediction]:
    """One prediction for each clip of a job."""
    hints = _undecoded_hints(job, sorted(scores.failed), compute)
    predictions = []
    for row, clip in enumerate(job.clips):
        start, end = clip.part.start, clip.part.end
        if row in scores.failed:
            problem = scores.failed[row].reason.rstrip(".")
            predictions.append(Prediction(clip.video, (), problem, hints[row], start, end))
        else:
            pairs = zip(scores.ids[row], scores.probabilities[row], strict=True)
            classes = tuple((job.label_set.names[c], float(p)) for c, p in pairs)
            predictions.append(Prediction(clip.video, classes, start=start, end=end))
    return predictions


def _undecoded_hints(job: OwnClipsJob, rows: Sequence[int], compute: ComputeOptions) -> dict[int, str]:
    """For each row that was not decoded the reader that decodes it, found by decoding it with the other reader."""
    other = "exact" if job.views.reader == "decord" else "decord"
    decoded: set[int] = set()
    try:
        for batch in replace(job, views=replace(job.views, reader=other)).loader([[row] for row in rows], compute):
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


def frames_of(
    predictions: Sequence[Prediction], model: Model, compute: ComputeOptions, frames: int
) -> list[NDArray[np.uint8] | None]:
    """Evenly spaced frames of classified files, cropped as the model sees them, for a contact sheet.

    Args:
        predictions: The clips.
        model: The model that classified them.
        compute: Number of workers and time limit.
        frames: Number of frames of each clip.

    Returns:
        (frames, H, W, 3) uint8 for each clip, None for a clip without a prediction.
    """
    rows = [row for row, prediction in enumerate(predictions) if not prediction.problem]
    clips = [OwnClip(predictions[row].video, Part(predictions[row].start, predictions[row].end)) for row in rows]
    views = replace(model.views.single, frames=frames)
    job = _job(clips, replace(model, views=views), 1)
    shown: list[NDArray[np.uint8] | None] = [None] * len(predictions)
    for batch in job.loader([[row] for row in range(len(clips))], compute):
        if batch.frames is not None:
            shown[rows[batch.rows[0]]] = np.ascontiguousarray(batch.frames[0].numpy().transpose(0, 2, 3, 1))
    return shown
