"""One prediction per video of a scored list, stored next to its record as `*.predictions.csv.gz`.

Columns: `video` (path in the list), `label` (true id), `id1..id5` (predicted ids, best first; -1 without a prediction),
`p1..p5` (probabilities; 0 without a prediction) and `cluster` (the same for clips of one source video, or of one group
of the dataset; empty if the dataset defines no clusters). A row with ids of -1 is a video that could not be decoded.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import warnings
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.base.atomic import write_bytes
from harness.base.errors import EXIT_FAILED, UserError
from results.statistics.metrics import NO_PREDICTION

DEPTH = 5
ID_COLUMNS = [f"id{k}" for k in range(1, DEPTH + 1)]
PROBABILITY_COLUMNS = [f"p{k}" for k in range(1, DEPTH + 1)]
COLUMNS = ["video", "label", *ID_COLUMNS, *PROBABILITY_COLUMNS, "cluster"]
AGAIN = "Predictions are written by `python -m harness run`; remove the record beside them and run its command again."


def predictions_frame(
    videos: Sequence[str],
    labels: NDArray[np.int64],
    ids: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    clusters: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The predictions table of a list, padded to five columns if the label set has fewer than five classes.

    Args:
        videos: N list paths.
        labels: (N,) true ids.
        ids: (N, k) predicted ids, best first; k <= 5.
        probabilities: (N, k) their probabilities, stored with 6 decimals.
        clusters: N names of clusters, empty where unknown; None if the dataset defines no clusters.

    Raises:
        ValueError: The number of clusters differs from the number of videos.
    """
    if clusters is not None and len(clusters) != len(videos):
        raise ValueError(f"{len(clusters)} clusters for {len(videos)} videos")
    pad = DEPTH - ids.shape[1]
    ids = np.pad(ids, ((0, 0), (0, pad)), constant_values=NO_PREDICTION)
    probabilities = np.pad(np.round(probabilities, 6), ((0, 0), (0, pad)))
    frame = pd.DataFrame({"video": videos, "label": labels})
    frame[ID_COLUMNS] = ids
    frame[PROBABILITY_COLUMNS] = probabilities
    frame["cluster"] = [""] * len(videos) if clusters is None else list(clusters)
    return frame


def encode_predictions(frame: pd.DataFrame) -> bytes:
    """The gzipped CSV bytes of a predictions table; equal tables give equal bytes (no time stamp inside)."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as file:
        file.write(canonical_text(frame))
    return buffer.getvalue()


def canonical_text(frame: pd.DataFrame) -> bytes:
    """The one CSV text of a predictions table."""
    columns = [_fields(frame[name]) for name in COLUMNS]
    # Python's csv does not quote a carriage return, which readers take for the end of a line.
    quoted = any("\r" in str(name) for column in (columns[0], columns[-1]) for name in column)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if quoted else csv.QUOTE_MINIMAL)
    writer.writerow(COLUMNS)
    writer.writerows(zip(*columns, strict=True))  # the bytes of `DataFrame.to_csv` in a third of its time
    return text.getvalue().encode()


def _fields(column: pd.Series) -> list[str | int]:
    """The fields of a column in the CSV file; an absent number is empty."""
    if column.dtype.kind != "f":
        return list(column.tolist())
    return ["" if math.isnan(value) else f"{value:.6f}" for value in column.tolist()]


def parse_table(text: bytes) -> pd.DataFrame:
    """Parse the CSV text of a predictions table.

    The text must be the canonical text of the table: two readers could understand `+2`, ` 2`, `2.0` or `"2"` as
    different ids, and then score the same file differently.

    Raises:
        ValueError: The text is not such a table.
    """
    header = text.partition(b"\n")[0].replace(b'"', b"")
    if header != ",".join(COLUMNS).encode():
        raise ValueError(f"the header {header[:120]!r}")
    types = {"video": "str", "cluster": "str"} | dict.fromkeys(["label", *ID_COLUMNS], "int64")
    types |= dict.fromkeys(PROBABILITY_COLUMNS, "float64")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # otherwise pandas drops surplus fields
            # `keep_default_na`: a cluster named `NA` is a name and not a missing value.
            frame = pd.read_csv(
                io.BytesIO(text), dtype=types, keep_default_na=False, index_col=False, on_bad_lines="error",
                low_memory=False, skip_blank_lines=False, encoding="utf-8",
            )  # fmt: skip
    except pd.errors.ParserWarning:
        raise ValueError(f"rows with more than {len(COLUMNS)} fields") from None
    except OverflowError:
        raise ValueError("a whole number of more than 64 bits") from None
    if not np.isfinite(frame[PROBABILITY_COLUMNS].to_numpy()).all():
        raise ValueError("a probability that is not finite")
    expected = canonical_text(frame)
    if expected != text:
        found, wanted = text.split(b"\n"), expected.split(b"\n")
        shorter = min(len(found), len(wanted))
        line = next((i for i in range(shorter) if found[i] != wanted[i]), shorter)
        shown = [lines[line][:120] if line < len(lines) else b"" for lines in (found, wanted)]
        raise ValueError(f"line {line + 1} is {shown[0]!r}, expected {shown[1]!r}")
    return frame


def write_predictions(path: Path, frame: pd.DataFrame) -> str:
    """Write a predictions table atomically and return the file's sha256."""
    data = encode_predictions(frame)
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a predictions table and check its columns, types and encoding.

    Raises:
        UserError: The file is missing, not a gzipped CSV, lacks columns, or is not encoded as `run` encodes it.
    """
    try:
        text = gzip.decompress(path.read_bytes())
        if not text:
            raise ValueError("it is empty")
    except FileNotFoundError:
        raise UserError(f"The predictions file {path} is missing.", AGAIN, EXIT_FAILED) from None
    except (OSError, ValueError, EOFError, zlib.error) as error:
        message = f"The predictions file {path} cannot be read: {error}".replace("\n", " ").rstrip(". ")
        raise UserError(f"{message}.", AGAIN, EXIT_FAILED) from None
    header = text.partition(b"\n")[0].decode("utf-8", "replace").replace('"', "")
    check_columns(path, header.rstrip("\r").split(","))
    try:
        return parse_table(text)
    except ValueError as error:
        expected = "label and ids must be whole numbers and probabilities numbers, as `run` writes them"
        found = " ".join(str(error).split()).rstrip(". ")
        raise UserError(f"{path}: {expected}, found: {found}.", AGAIN, EXIT_FAILED) from None


def check_columns(path: Path, found: Iterable[str]) -> None:
    """Refuse a table with other columns, such as a file of an older version.

    Raises:
        UserError: A column is missing or unknown.
    """
    names = list(found)
    problems = [f"column {name} is missing" for name in COLUMNS if name not in names]
    problems += [f"column {name} is unknown" for name in names if name not in COLUMNS]
    if problems:
        raise UserError(f"{path}: {', '.join(problems)}; expected {', '.join(COLUMNS)}.", AGAIN, EXIT_FAILED)
