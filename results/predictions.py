"""One prediction per video of a scored list, stored next to its record as `*.predictions.csv.gz`.

Columns: `video` (the list's path), `label` (true id), `id1..id5` (predicted ids, best first; -1 where there is none)
and `p1..p5` (their probabilities; 0 where there is none). A row of -1 is a video that could not be decoded.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from results.metrics import NO_PREDICTION

DEPTH = 5
ID_COLUMNS = [f"id{k}" for k in range(1, DEPTH + 1)]
PROBABILITY_COLUMNS = [f"p{k}" for k in range(1, DEPTH + 1)]
COLUMNS = ["video", "label", *ID_COLUMNS, *PROBABILITY_COLUMNS]


def predictions_frame(
    videos: list[str], labels: NDArray[np.int64], ids: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> pd.DataFrame:
    """The predictions table of a list, padded to five columns where there are fewer than five classes.

    Args:
        videos: N list paths.
        labels: (N,) true ids.
        ids: (N, k) predicted ids, best first; k <= 5.
        probabilities: (N, k) their probabilities, stored with 6 decimals.
    """
    pad = DEPTH - ids.shape[1]
    ids = np.pad(ids, ((0, 0), (0, pad)), constant_values=NO_PREDICTION)
    probabilities = np.pad(np.round(probabilities, 6), ((0, 0), (0, pad)))
    frame = pd.DataFrame({"video": videos, "label": labels})
    frame[ID_COLUMNS] = ids
    frame[PROBABILITY_COLUMNS] = probabilities
    return frame


def encode_predictions(frame: pd.DataFrame) -> bytes:
    """The gzipped CSV bytes of a predictions table; equal tables give equal bytes (no time stamp inside)."""
    text = frame[COLUMNS].to_csv(index=False, float_format="%.6f", lineterminator="\n")
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="") as file:
        file.write(text.encode())
    return buffer.getvalue()


def write_predictions(path: Path, frame: pd.DataFrame) -> str:
    """Write a predictions table atomically and return the file's sha256."""
    data = encode_predictions(frame)
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def read_predictions(path: Path) -> pd.DataFrame:
    """The predictions table of a file, checked for its columns and types.

    Raises:
        UserError: The file is missing, not a gzipped CSV, or lacks columns.
    """
    try:
        frame = pd.read_csv(path, compression="gzip", keep_default_na=False, dtype={"video": str})
    except FileNotFoundError:
        raise UserError(f"The predictions file {path} is missing.", "Restore it, or run the eval again.") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise UserError(f"The predictions file {path} cannot be read: {error}") from None
    missing = [name for name in COLUMNS if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in COLUMNS]
    if missing or unknown:
        raise UserError(f"{path}: columns missing {missing}, unknown {unknown}; expected {COLUMNS}.")
    try:
        types = dict.fromkeys(["label", *ID_COLUMNS], "int64") | dict.fromkeys(PROBABILITY_COLUMNS, "float64")
        return frame[COLUMNS].astype(types)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{path}: ids must be integers and probabilities numbers: {error}") from None
