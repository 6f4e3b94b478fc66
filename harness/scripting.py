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
    RunOptions,
    check_names,
    compute_options,
    request_of,
    settings_of,
    texts,
)
from harness.spec import LabelSet, Views

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from harness.engine.method import ClipMethod
    from harness.running.load_fit import FittedMethod
    from harness.running.predict import Prediction
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
        names = {str(path.relative_to(self.runs)) for path in self.records}
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
    model: FittedMethod | ClipMethod,
    videos: Names,
    labels: LabelSet | Sequence[str] = (),
    views: Views | None = None,
    **compute: Unpack[Compute],
) -> list[Prediction]:
    """The five most probable classes of video files.

    Args:
        model: A fit, or a method from `build_method`.
        videos: Files, or folders of which all videos are taken.
        labels: Classes to choose from; the default is the classes of the fit.
        views: Views; the default is the views of the fit, or one view of 32 frames.
        compute: See `Compute`.

    Returns:
        One prediction for each file, in order; a file that does not decode has a `problem` and no classes.

    Raises:
        UserError: No labels for a method without a fit, or a file that does not exist.
    """
    check_names("predict", compute, Compute)
    from harness.running.predict import predict as predict_files

    method, classes, chosen = _resolved(model, labels, views)
    return list(predict_files(_files(videos), method, classes, chosen, compute_options(compute)))


def evaluate(
    model: FittedMethod | ClipMethod,
    videos: str | Path | Sequence[tuple[str | Path, str]],
    labels: LabelSet | Sequence[str] = (),
    views: Views | None = None,
    **compute: Unpack[Compute],
) -> Evaluation:
    """Scores of labelled videos, without a protocol and without a record: such numbers are not ranked.

    Args:
        model: A fit, or a method from `build_method`.
        videos: A folder of class folders, a table of path and class, or (file, class name) pairs.
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
    from harness.engine.job import EvalJob
    from harness.running.load_fit import FittedMethod
    from results.statistics.metrics import accuracies

    pairs = _labelled(videos)
    if not labels and not isinstance(model, FittedMethod):
        labels = sorted({name for _, name in pairs})
    method, classes, chosen = _resolved(model, labels, views)
    ids = {name: index for index, name in enumerate(classes.names)}
    for file, name in pairs:
        if name not in ids:
            raise UserError(f"{file} has the class {name!r}, which is not among the {len(ids)} labels.")
    rows: list[tuple[Path | None, int]] = [(file, ids[name]) for file, name in pairs]
    options = compute_options(compute)
    device = for_evaluation(choose_device(options), options, method.backbone)
    job = EvalJob(method, rows, classes, chosen)
    scores = evaluate_job(job, Context(device, options))
    scores.require_a_decoded_video(job)
    metrics = accuracies([label for _, label in rows], scores.ids)
    failed = {row: clip.reason for row, clip in scores.failed.items()}
    return Evaluation(metrics, scores.ids, scores.probabilities, failed)


def read_records(folder: str | Path = "runs") -> pd.DataFrame:
    """All records below a folder as a tidy table, one line for each record; see `reports.frame.records_frame`.

    Raises:
        UserError: The folder does not exist, holds no record, or a record file is damaged.
    """
    from reports.frame import records_frame

    records = records_frame(Path(folder))
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

    place = load_settings({} if runs is None else {"runs": str(runs)}).runs.path
    filters = Filters(texts(protocol), texts(dataset), texts(arch))
    return compare_choices(choice_of(str(a), place), choice_of(str(b), place), filters)


def _resolved(
    model: FittedMethod | ClipMethod, labels: LabelSet | Sequence[str], views: Views | None
) -> tuple[ClipMethod, LabelSet, Views]:
    """Method, classes and views, those of a fit where none are given."""
    from harness.running.load_fit import FittedMethod

    if isinstance(model, FittedMethod):
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


def _files(videos: Names) -> list[Path]:
    """Video files, and all videos below folders, in order.

    Raises:
        UserError: A file does not exist, or a folder holds no video.
    """
    from harness.data.files.video_names import is_video

    files: list[Path] = []
    for path in map(Path, texts(videos)):
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and is_video(file.name))
            if not inside:
                raise UserError(f"{path} holds no video file.", "Give video files or a folder of them.")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"{path} does not exist.", "Give video files or a folder of them.")
    return files


def _labelled(videos: str | Path | Sequence[tuple[str | Path, str]]) -> list[tuple[Path, str]]:
    from harness.data.folders.read_clips import read_clips

    if isinstance(videos, str | Path):
        return [(clip.file, clip.label) for clip in read_clips(Path(videos))]
    pairs = [(Path(file), name) for file, name in videos]
    if not pairs:
        raise UserError("videos is empty, expected (file, class name) pairs.")
    if missing := [file for file, _ in pairs if not file.is_file()]:
        raise UserError(f"{len(missing)} of {len(pairs)} videos do not exist (first: {missing[0]}).")
    return pairs
