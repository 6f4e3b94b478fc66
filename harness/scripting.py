"""Functions for scripts and notebooks: a Python twin for `run`, `predict`, `score` and `compare`.

`harness.api` re-exports them. Arguments have the names of the command line's options and take Python values. Data is
returned; progress bars and warnings go to stderr.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.machine.settings import load_settings
from harness.script_options import (
    Compute,
    Folders,
    Names,
    PredictOptions,
    RunOptions,
    Videos,
    check_names,
    compute_options,
    request_of,
    settings_of,
    texts,
)
from harness.spec import LabelSet, Views
from harness.spec.parts import Cut

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from harness.engine.method import ClipMethod
    from harness.running.load_fit import FittedMethod
    from harness.running.predict import Model, Prediction
    from results.compare import Comparison
    from results.statistics.metric_values import Metrics


@dataclass(frozen=True)
class RunResult:
    """The outcome of `run`.

    Args:
        records: Record files of all evals of the request, finished now or before.
        fits, evals: Numbers of cells computed in this call.
        reused: Number of cells that were finished before.
        failures: (cell, error) of the cells that failed.
        left_out: (method, protocol and dataset; reason) of combinations that do not exist.
        runs: Folder of fits and records.
    """

    records: tuple[Path, ...]
    fits: int
    evals: int
    reused: int
    failures: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    runs: Path

    @property
    def scores(self) -> pd.DataFrame:
        """The table of `read_records(runs)`, restricted to the records of this request."""
        frame = read_records(self.runs)
        names = {path.relative_to(self.runs).as_posix() for path in self.records}
        return frame[frame["record"].isin(names)].reset_index(drop=True)


@dataclass(frozen=True)
class Evaluation:
    """Scores of labelled videos.

    Args:
        metrics: Top-1, top-5 and mean-class accuracy in percent; a video that does not decode counts as wrong.
        ids: (N, min(5, C)) predicted class ids, best first; -1 for a video that does not decode.
        probabilities: (N, min(5, C)) their probabilities, the mean over views.
        failed: Index of a video -> reason why it does not decode.
    """

    metrics: Metrics
    ids: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    failed: Mapping[int, str]


def load_export(file: str | Path, **folders: Unpack[Folders]) -> Model:
    """The method of a fit that `export` wrote, with its weights, classes and views; `predict` and `evaluate` take it.

    Args:
        file: The weight file.
        folders: See `Folders`.

    Raises:
        UserError: The file is not the export of a fit, or its method is not known or has other tensors.
    """
    check_names("load_export", folders, Folders)
    from harness.running.exported import load_export as load_exported

    return load_exported(Path(file), settings_of(folders))


def run(
    method: str | Sequence[str],
    protocol: str | Sequence[str],
    dataset: Names = (),
    **options: Unpack[RunOptions],
) -> RunResult:
    """Measure methods under protocols, as `python -m harness run` does; finished cells are reused.

    Args:
        method: Names, with options as on the command line: `"vificlip:template='a video of {}'"`.
        protocol: Names of protocols.
        dataset: Names, or folders or tables of videos; the default is the protocol's configured datasets, else the
            embedded benchmark.
        options: See `RunOptions`, `Folders` and `Compute`.

    Raises:
        UserError: A name or value is wrong, or a cell failed and `keep_going` is off.
    """
    check_names("run", options, RunOptions)
    from harness.cells.from_request import expand
    from harness.plugins.loose_files import load_file
    from harness.running.run import execute, plan_cells

    # Before the request is read, which may name a method of these files.
    for file in options.get("plugins", ()):
        load_file(Path(file))
    settings = settings_of(options)
    cells = expand(request_of(method, protocol, dataset, options), settings)
    summary = execute(
        plan_cells(cells, settings),
        settings,
        compute_options(options),
        options.get("keep_going", False),
        options.get("force", False),
    )
    return RunResult(
        records=tuple(cell.record for cell in cells.evals if cell.record.is_file()),
        fits=summary.fits,
        evals=summary.evals,
        reused=summary.reused,
        failures=tuple(summary.failures),
        left_out=cells.left_out,
        runs=settings.runs.path,
    )


def load_fit(
    folder: str | Path,
    *,
    arch: str | None = None,
    weights: str | Path | None = None,
    files: Mapping[str, str | Path] | None = None,
    **folders: Unpack[Folders],
) -> FittedMethod:
    """The method of a finished fit with its trained tensors, its classes and its views.

    Args:
        folder: Folder of the fit, with `fit.json`.
        arch: Architecture of the backbone, where its weights came from a file that was moved.
        weights: That file.
        files: Option of the method -> file, where a file that an option names was moved.
        folders: See `Folders`.

    Raises:
        UserError: The folder holds no finished fit, or the weights on this machine are not those of the fit.
    """
    check_names("load_fit", folders, Folders)
    from harness.running.load_fit import load_fit as load_fitted

    backbone = BackboneChoice(arch, str(weights) if weights else None) if arch or weights else None
    moved = {name: str(file) for name, file in (files or {}).items()}
    return load_fitted(Path(folder), settings_of(folders), backbone, moved)


def predict(
    model: FittedMethod | Model | ClipMethod,
    videos: Videos,
    labels: LabelSet | Sequence[str] = (),
    views: Views | None = None,
    **options: Unpack[PredictOptions],
) -> list[Prediction]:
    """The most probable classes of videos.

    Args:
        model: A fit, an export, or a method from `build_method`.
        videos: Files, folders of which all videos are taken, tables of paths, or arrays of frames: (T, H, W, 3) uint8
            RGB.
        labels: Classes to choose from; the default is the classes of the fit.
        views: Views; the default is the views of the fit, or one view of 32 frames.
        options: See `PredictOptions` and `Compute`.

    Returns:
        One prediction for each video, part or window, in order; a file that does not decode has a `problem` and no
        classes.

    Raises:
        UserError: No labels for a method without a fit, a file that does not exist, or an array of another shape.
    """
    check_names("predict", options, PredictOptions)
    from harness.running.named_videos import named_videos
    from harness.running.predict import Model
    from harness.running.predict import predict as predict_videos

    cut = Cut(options.get("start", 0.0), options.get("end"), options.get("window"), options.get("step"))
    resolved = Model(*_resolved(model, labels, views))
    named = named_videos(videos, options.get("fps", 0.0))
    return predict_videos(named, resolved, compute_options(options), cut, options.get("top_k", 5))


def evaluate(
    model: FittedMethod | Model | ClipMethod,
    videos: str | Path | Sequence[tuple[str | Path | NDArray[np.uint8], str]],
    labels: LabelSet | Sequence[str] = (),
    views: Views | None = None,
    **compute: Unpack[Compute],
) -> Evaluation:
    """Scores of labelled videos, without a protocol and without a record: such numbers are not ranked.

    Args:
        model: A fit, an export, or a method from `build_method`.
        videos: A folder of class folders, a table of path and class, or pairs of a file, or an array of frames (T, H,
            W, 3), and its class name.
        labels: Classes to choose from; the default is the classes of the fit, else those of the videos, sorted.
        views: Views; the default is the views of the fit, or one view of 32 frames.
        compute: See `Compute`.

    Raises:
        UserError: No videos, a class that is not among the labels, or no video that decodes.
    """
    check_names("evaluate", compute, Compute)
    from harness.engine.compute.device import choose_device, for_evaluation
    from harness.engine.evaluate import evaluate as evaluate_job
    from harness.engine.features.context import Context
    from harness.engine.job import OwnClipsJob
    from harness.running.load_fit import FittedMethod
    from harness.running.named_videos import labelled_videos
    from harness.running.predict import Model
    from results.statistics.metrics import accuracies

    pairs = labelled_videos(videos)
    if not labels and not isinstance(model, FittedMethod | Model):
        # Sorted, so that the ids do not depend on the order of the videos.
        labels = sorted({name for _, name in pairs})
    method, classes, chosen = _resolved(model, labels, views)
    ids = {name: index for index, name in enumerate(classes.names)}
    for clip, name in pairs:
        if name not in ids:
            raise UserError(
                f"{clip.video} has the class {name!r}, which is not among the {len(ids)} labels.",
                "Correct the class, or give labels with its name.",
            )
    rows: list[tuple[Path | None, int]] = [(clip.video, ids[name]) for clip, name in pairs]
    options = compute_options(compute)
    device = for_evaluation(choose_device(options), options, method.backbone)
    job = OwnClipsJob(method, rows, classes, chosen, clips=tuple(clip for clip, _ in pairs))
    scores = evaluate_job(job, Context(device, options))
    scores.require_a_decoded_video(job)
    metrics = accuracies([label for _, label in rows], scores.ids)
    failed = {row: clip.reason for row, clip in scores.failed.items()}
    return Evaluation(metrics, scores.ids, scores.probabilities, failed)


def read_records(folder: str | Path | Sequence[str | Path] = "runs") -> pd.DataFrame:
    """All records below folders as a tidy table, one line for each record; see `reports.frame.records_frame`.

    Raises:
        UserError: A folder does not exist, holds no record, or a record file is damaged.
    """
    from reports.frame import records_frame

    folders = list(map(Path, texts(folder)))
    records = records_frame(folders[0] if len(folders) == 1 else folders)
    if records.damaged:
        names = "; ".join(map(str, records.damaged[:3]))
        raise UserError(
            f"{len(records.damaged)} files below {folder} cannot be read: {names}", "Remove or restore them."
        )
    return records.frame


def compare(
    a: str | Path,
    b: str | Path,
    *,
    runs: str | Path | None = None,
    protocol: str | Sequence[str] = (),
    dataset: str | Sequence[str] = (),
    arch: str | Sequence[str] = (),
) -> Comparison:
    """The paired comparison of two methods on the same videos, as `python -m harness compare` makes it.

    Args:
        a: A method of the run folder with settings that choose one row (`"vificlip:epochs=1"`), or a record file, a
            folder of records or the folder of a fit.
        b: The other side.
        runs: Run folder.
        protocol: Compare only these protocols.
        dataset: Compare only these datasets.
        arch: Compare only these architectures.

    Raises:
        UserError: A side is not one row, or the rows may not be compared.
    """
    from results.compare import compare as compare_choices
    from results.sides import Filters, choice_of

    runs_folder = load_settings({} if runs is None else {"runs": str(runs)}).runs.path
    filters = Filters(texts(protocol), texts(dataset), texts(arch))
    return compare_choices(choice_of(str(a), runs_folder), choice_of(str(b), runs_folder), filters)


def _resolved(
    model: FittedMethod | Model | ClipMethod, labels: LabelSet | Sequence[str], views: Views | None
) -> tuple[ClipMethod, LabelSet, Views]:
    """Method, classes and views, those of a fit where none are given."""
    from harness.running.load_fit import FittedMethod
    from harness.running.predict import Model

    if isinstance(model, FittedMethod | Model):
        given = labels or model.labels
        classes = given if isinstance(given, LabelSet) else LabelSet(tuple(given))
        return model.method, classes, _own(views, model.method) or model.views
    chosen = _own(views, model) or model.backbone.facts.default_views
    if not labels:
        raise UserError("labels is empty: a method without a fit has no classes.", "Give labels=[...], class names.")
    return model, labels if isinstance(labels, LabelSet) else LabelSet(tuple(labels)), chosen


def _own(views: Views | None, method: ClipMethod) -> Views | None:
    """The user's views, with the settings of the method's weights for `normalize=model`."""
    return None if views is None else method.backbone.facts.views_of(views)
