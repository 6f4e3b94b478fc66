"""Output of `predict`: lines, JSON, CSV, the plot of the scores over time and the contact sheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import EXIT_FAILED, UserError
from harness.commands._output import put, put_json, say
from results.codec import to_json

if TYPE_CHECKING:
    from harness.machine.compute_options import ComputeOptions
    from harness.running.predict import Model, Prediction

TABLES, PLOTS, SHEETS = (".csv", ".json"), (".png", ".svg", ".pdf"), (".png", ".jpg", ".jpeg")
"""Suffixes of the files. The modules that draw import matplotlib, which takes longer than the check."""


@dataclass(frozen=True)
class Files:
    """The files that `predict` writes besides its lines; None for a file that was not requested.

    Args:
        out: CSV or JSON.
        plot: Figure of the scores over time.
        sheet: Contact sheet.
    """

    out: Path | None
    plot: Path | None
    sheet: Path | None

    def check(self, windows: bool) -> None:
        """Refuse names that cannot be written, before anything is computed.

        Raises:
            UserError: A suffix is wrong, a file is a folder, or a plot is requested without windows.
        """
        for option, path, suffixes in (
            ("out", self.out, TABLES), ("plot", self.plot, PLOTS), ("sheet", self.sheet, SHEETS),
        ):  # fmt: skip
            if path is not None and (path.suffix.lower() not in suffixes or path.is_dir()):
                raise UserError(
                    f"--{option} is {path}, expected a file that ends in {', '.join(suffixes)}.",
                    f"Example: --{option} predictions{suffixes[0]}",
                )
        if self.plot is not None and not windows:
            raise UserError("--plot needs sliding windows: it shows scores over time.", "Add --window SECONDS.")

    def write(self, predictions: Sequence[Prediction], model: Model, compute: ComputeOptions, top_k: int) -> None:
        """Write the requested files; none if no clip was classified.

        Args:
            predictions: With all classes if a plot is requested.
            model: The model that classified the clips.
            compute: Number of workers for the frames of the contact sheet.
            top_k: Classes of a clip in tables and captions.

        Raises:
            UserError: There are too many videos for a plot, or too many clips for a contact sheet.
        """
        if all(prediction.problem for prediction in predictions):
            if paths := [str(path) for path in (self.out, self.plot, self.sheet) if path is not None]:
                say(f"no video was classified, not written: {', '.join(paths)}")
            return
        self._check_numbers(predictions)
        if self.plot is not None:
            _draw_plot(predictions, self.plot)
        if self.sheet is not None:
            _draw_sheet(predictions, model, compute, self.sheet, top_k)
        if self.out is not None:
            _write_table(predictions, self.out, top_k)
        for name, path in (("plot", self.plot), ("contact sheet", self.sheet), ("predictions", self.out)):
            if path is not None:
                say(f"{name}: {path}")

    def _check_numbers(self, predictions: Sequence[Prediction]) -> None:
        from reports.contact_sheet import MOST_CLIPS
        from reports.score_plot import MOST_VIDEOS

        videos = len({prediction.video for prediction in predictions})
        for option, path, number, most, unit in (
            ("plot", self.plot, videos, MOST_VIDEOS, "videos"),
            ("sheet", self.sheet, len(predictions), MOST_CLIPS, "clips"),
        ):
            if path is not None and number > most:
                raise UserError(
                    f"--{option} shows at most {most} {unit}, found {number}. No file was written.",
                    "Name fewer videos, or use a larger --step.",
                    EXIT_FAILED,
                )


@dataclass(frozen=True)
class Row:
    """One clip in JSON output; `end` is null for the end of the video."""

    video: str
    start: float
    end: float | None
    classes: tuple[tuple[str, float], ...]
    problem: str
    hint: str


def print_predictions(predictions: Sequence[Prediction], as_json: bool, top_k: int) -> None:
    """Print one line for each clip, or all clips as JSON; problems go to stderr."""
    if as_json:
        put_json(_rows(predictions, top_k))
        return
    for prediction in predictions:
        if prediction.problem:
            say(f"{prediction.video}{prediction.part}: not decoded: {prediction.problem}\n  {prediction.hint}")
        else:
            put(f"{prediction.video}{prediction.part}: {_classes_text(prediction, top_k)}")


def _classes_text(prediction: Prediction, top_k: int) -> str:
    return ", ".join(f"{name} {100 * p:.1f} %" for name, p in prediction.classes[:top_k])


def _rows(predictions: Sequence[Prediction], top_k: int) -> list[Row]:
    return [Row(str(p.video), p.start, p.end, p.classes[:top_k], p.problem, p.hint) for p in predictions]


def _write_table(predictions: Sequence[Prediction], path: Path, top_k: int) -> None:
    """Write JSON as `--json` prints it, or CSV with one line for each clip."""
    from harness.base.atomic import write_bytes

    rows = _rows(predictions, top_k)
    if path.suffix.lower() == ".json":
        text = json.dumps(to_json(rows), indent=1, ensure_ascii=False) + "\n"
    else:
        depth = max(len(row.classes) for row in rows)
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        pairs = [name for k in range(1, depth + 1) for name in (f"class{k}", f"p{k}")]
        writer.writerow(["video", "start", "end", *pairs, "problem"])
        for row in rows:
            cells = [cell for name, p in row.classes for cell in (name, f"{p:.6f}")]
            cells += [""] * (2 * depth - len(cells))
            writer.writerow([row.video, row.start, "" if row.end is None else row.end, *cells, row.problem])
        text = buffer.getvalue()
    # A name on disk need not be UTF-8, and Python holds its other bytes as lone surrogates.
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def _draw_plot(predictions: Sequence[Prediction], path: Path) -> None:
    from reports.score_plot import ScoreTrack, draw_scores

    windows: dict[Path, list[Prediction]] = {}
    for prediction in predictions:
        if not prediction.problem:
            windows.setdefault(prediction.video, []).append(prediction)
    tracks = []
    for video, clips in windows.items():
        values = [dict(clip.classes) for clip in clips]
        seconds = tuple((clip.start + (clip.end or clip.start)) / 2 for clip in clips)
        tracks.append(ScoreTrack(video.name, seconds, {name: tuple(v[name] for v in values) for name in values[0]}))
    draw_scores(tracks, path)


def _draw_sheet(
    predictions: Sequence[Prediction], model: Model, compute: ComputeOptions, path: Path, top_k: int
) -> None:
    from harness.running.predict import frames_of
    from reports.contact_sheet import FRAMES, SheetRow, draw_sheet

    rows = []
    for prediction, frames in zip(predictions, frames_of(predictions, model, compute, FRAMES), strict=True):
        text = f"not decoded: {prediction.problem}" if prediction.problem else _classes_text(prediction, top_k)
        rows.append(SheetRow(f"{prediction.video.name}{prediction.part}: {text}", frames))
    draw_sheet(rows, path)
