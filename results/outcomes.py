"""Right or wrong per video, read from prediction files quickly enough for a board of ten thousand records."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import UserError

_ROW = re.compile(rb'^((?:"(?:[^"]|"")*")|[^",\n]*),(-?\d+),(-?\d+),', re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What a model got right on one list, in list order.

    Args:
        hits: (N,) whether the first predicted id is the label.
        labels: (N,) true ids.
        videos: N list paths, as bytes as they stand in the file.
    """

    hits: NDArray[np.bool_]
    labels: NDArray[np.int64]
    videos: tuple[bytes, ...]


def read_outcome(path: Path, sha256: str, expected: int) -> Outcome:
    """The outcome of a prediction file, checked against the hash in its record.

    Args:
        path: The `*.predictions.csv.gz` file.
        sha256: Of the file, from the record.
        expected: Videos that the file must hold.

    Raises:
        UserError: The file is missing, was changed, or does not hold `expected` videos.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"The predictions {path} cannot be read: {error}") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        hint = f"See: python -m harness score {path}"
        raise UserError(f"The predictions {path} are not those of their record.", hint)
    try:
        text = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"The predictions {path} cannot be read: {error}") from None
    rows = _ROW.findall(text)
    if len(rows) != expected:
        raise UserError(f"{path} holds {len(rows)} videos, the record says {expected}.")
    videos, labels, first = zip(*rows, strict=True)
    truth = np.array(labels, dtype=np.int64)
    return Outcome(np.array(first, dtype=np.int64) == truth, truth, videos)
