"""Tables of predictions that another program wrote, matched with the videos of an evaluation list."""

from __future__ import annotations

import csv
import difflib
import gzip
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.base.errors import UserError
from results.predictions import DEPTH
from results.statistics.metrics import NO_PREDICTION

VIDEO_COLUMNS = ("video", "path", "file", "filename", "id")
FIRST_COLUMNS = ("prediction", "predicted", "pred", "class1", "id1", "class")
EXPECTED = (
    "Expected CSV or TSV with the columns video and prediction, or video, class1 to class5 and, optionally, p1 to p5; "
    "predictions are class names or ids."
)


@dataclass(frozen=True)
class ImportedTable:
    """Predictions in the order of a list.

    Args:
        ids: (N, k) predicted class ids, best first; -1 where a video has fewer than k predictions.
        probabilities: (N, k) their probabilities; 0 where the table has none.
    """

    ids: NDArray[np.int64]
    probabilities: NDArray[np.float64]


@dataclass(frozen=True)
class _Line:
    """One line of a table: its number, the video, predicted classes and probabilities as text, and the true class."""

    number: int
    video: str
    classes: tuple[str, ...]
    probabilities: tuple[str, ...]
    label: str


def read_prediction_table(file: Path, rows: Sequence[tuple[str, int]], classes: Sequence[str]) -> ImportedTable:
    """Read a table of predictions with one line for each video of a list.

    The header names the columns: `video` (the path in the list, its end, its file name or its name without suffix);
    `prediction`, or `class1` to `class5` or `id1` to `id5`; optionally `p1` to `p5`, and `label` (the true class, which
    is compared with the list). If `label` is the only other column, it is the prediction. A .gz file is decompressed.

    Args:
        file: The table: .csv or .tsv, or the same with .gz.
        rows: (path, true id) per video of the list.
        classes: Class names by id.

    Raises:
        UserError: The table cannot be read or lacks a column; it lacks a video, repeats one or has one that the list
            lacks; or a class, probability or true class is wrong. The message names line and value.
    """
    lines = _lines(file)
    by_row = _matched(file, lines, rows)
    ids_of = _ids(classes, [text for line in lines for text in line.classes])
    depth = max((len(line.classes) for line in lines), default=1)
    ids = np.full((len(rows), depth), NO_PREDICTION, dtype=np.int64)
    probabilities = np.zeros((len(rows), depth))
    for row, line in by_row.items():
        where = f"{file}, line {line.number}"
        chosen = [_id(where, text, ids_of) for text in line.classes]
        if len(set(chosen)) != len(chosen):
            message = f"{where} predicts a class twice: {', '.join(line.classes)}."
            raise UserError(message, "Expected different classes, best first.")
        true = rows[row][1]
        if line.label and _id(where, line.label, _ids(classes, [line.label])) != true:
            expected = classes[true]
            raise UserError(f"{where}: label is {line.label!r}, the list has {expected!r} (id {true}).")
        ids[row, : len(chosen)] = chosen
        probabilities[row, : len(line.probabilities)] = _probabilities(where, line.probabilities)
    return ImportedTable(ids, probabilities)


def _lines(file: Path) -> list[_Line]:
    name = file.name.lower().removesuffix(".gz")
    if not name.endswith((".csv", ".tsv")):
        raise UserError(f"--import is {file}, expected a file that ends in .csv, .tsv, .csv.gz or .tsv.gz.", EXPECTED)
    try:
        data = file.read_bytes()
        # Spreadsheet programs write a byte order mark, which utf-8-sig removes.
        text = (gzip.decompress(data) if file.suffix.lower() == ".gz" else data).decode("utf-8-sig")
        table = list(csv.reader(text.splitlines(keepends=True), "excel" if name.endswith(".csv") else "excel-tab"))
    # A truncated .gz file raises EOFError, a damaged one zlib.error.
    except (OSError, EOFError, ValueError, zlib.error, csv.Error) as error:
        raise UserError(f"The table {file} cannot be read: {error}.", EXPECTED) from None
    header = [cell.strip().lower() for cell in table[0]] if table else []
    video = next((header.index(column) for column in VIDEO_COLUMNS if column in header), None)
    predicted = _prediction_columns(header)
    if video is None or not predicted:
        raise UserError(f"The table {file} has the columns {', '.join(header) or 'none'}.", EXPECTED)
    label = header.index("label") if "label" in header and header.index("label") not in predicted else None
    p = [header.index(f"p{k}") for k in range(1, DEPTH + 1) if f"p{k}" in header]
    lines = []
    for number, row in enumerate(table[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise UserError(f"{file}, line {number} has {len(row)} cells, expected {len(header)}.", EXPECTED)
        chosen = [row[i].strip() for i in predicted]
        # An empty cell or -1, as in predictions files of this project, ends the predictions of a video.
        chosen = chosen[: next((i for i, cell in enumerate(chosen) if cell in ("", "-1")), len(chosen))]
        if not chosen:
            raise UserError(f"{file}, line {number}: the video {row[video]} has no prediction.", EXPECTED)
        probabilities = tuple(row[i].strip() for i in p[: len(chosen)])
        true = row[label].strip() if label is not None else ""
        lines.append(_Line(number, row[video].strip(), tuple(chosen), probabilities, true))
    return lines


def _prediction_columns(header: Sequence[str]) -> list[int]:
    """The columns of the predicted classes, best first."""
    for stem in ("class", "id"):
        columns = [header.index(f"{stem}{k}") for k in range(1, DEPTH + 1) if f"{stem}{k}" in header]
        if columns and f"{stem}1" in header:
            return columns
    names = (*FIRST_COLUMNS, "label")
    return [header.index(next(name for name in names if name in header))] if set(names) & set(header) else []


def _matched(file: Path, lines: Sequence[_Line], rows: Sequence[tuple[str, int]]) -> dict[int, _Line]:
    """The line of each video of the list, by row number.

    Raises:
        UserError: A video of the list has no line or several, or a line names no video of the list.
    """
    exact = {path: row for row, (path, _) in enumerate(rows)}
    by_name, by_stem = _unique(rows, lambda path: path.name), _unique(rows, lambda path: path.stem)
    found: dict[int, _Line] = {}
    for line in lines:
        parts = Path(line.video).parts
        ends = ["/".join(parts[i:]) for i in range(len(parts))]
        # The longest end of the path decides: two folders may hold files of one name.
        row = next((exact[end] for end in ends if end in exact), None)
        if row is None:
            row = by_name.get(Path(line.video).name, by_stem.get(line.video))
        where = f"{file}, line {line.number}"
        if row is None:
            raise UserError(
                f"{where}: the video {line.video} is not in the list, whose first of {len(rows)} is {rows[0][0]}.",
                "Name the list that the predictions belong to: --protocol, --dataset, --part, --repeat.",
            )
        if row in found:
            message = f"{where} repeats the video {rows[row][0]} of line {found[row].number}."
            raise UserError(message, "Keep one line for each video.")
        found[row] = line
    if missing := [path for row, (path, _) in enumerate(rows) if row not in found]:
        raise UserError(
            f"The table {file} lacks {len(missing)} of the {len(rows)} videos of the list; the first: {missing[0]}.",
            "Predict every video of the list; python -m harness data export-lists writes the list.",
        )
    return found


def _unique(rows: Sequence[tuple[str, int]], name: Callable[[Path], str]) -> dict[str, int]:
    """Row numbers by a name of the path, for the names that one path has."""
    numbers: dict[str, list[int]] = {}
    for row, (path, _) in enumerate(rows):
        numbers.setdefault(name(Path(path)), []).append(row)
    return {key: same[0] for key, same in numbers.items() if len(same) == 1}


def _ids(classes: Sequence[str], texts: Sequence[str]) -> Mapping[str, int]:
    """Class ids by text: by name, else by number if every text is a number and no class is named by one."""
    names = {name: label for label, name in enumerate(classes)}
    if all(text.isdecimal() for text in texts) and not any(name.isdecimal() for name in classes):
        return {str(label): label for label in range(len(classes))}
    # Exact names come last and win: two classes may differ in capital letters alone.
    return {**{name.lower(): label for name, label in names.items()}, **names}


def _id(where: str, text: str, ids: Mapping[str, int]) -> int:
    label = ids.get(text, ids.get(text.lower(), ids.get(str(int(text)), None) if text.isdecimal() else None))
    if label is None:
        known = list(ids)
        expected = f"an id from 0 to {len(ids) - 1}" if known and known[0].isdecimal() else near_class(text, known)
        raise UserError(f"{where}: the class {text!r} is not in the label set.", f"Expected {expected}.")
    return label


def near_class(text: str, names: Sequence[str]) -> str:
    """Names near to an unknown class name, else some names, for a message."""
    near = difflib.get_close_matches(text, names, 3)
    return f"one of {', '.join(near or names[:5])}{'' if near or len(names) <= 5 else ', ...'}"


def _probabilities(where: str, texts: Sequence[str]) -> list[float]:
    """Probabilities, best first.

    Raises:
        UserError: A text is not a number from 0 to 1, or the numbers rise.
    """
    try:
        values = [float(text) for text in texts]
    except ValueError:
        values = [math.nan]
    if not all(0.0 <= value <= 1.0 for value in values):
        raise UserError(f"{where}: the probabilities are {', '.join(texts)}, expected numbers from 0 to 1.")
    if any(a < b for a, b in pairwise(values)):
        raise UserError(f"{where}: the probabilities {', '.join(texts)} rise, expected the best class first.")
    return values
