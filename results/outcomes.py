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

from harness.base.errors import UserError
from results.predictions import COLUMNS

_ROW = re.compile(rb'^((?:"(?:[^"]|"")*")|[^",\n]*),(-?\d+),(-?\d+),', re.MULTILINE)
_COMMA, _MINUS, _ZERO = b","[0], b"-"[0], b"0"[0]


@dataclass(frozen=True)
class Outcome:
    """What a model got right on one list, in list order.

    Args:
        hits: (N,) whether the first predicted id is the label.
        data: The file as it is, for `videos_of`.
    """

    hits: NDArray[np.bool_]
    data: bytes


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
    fields = _fields(text)
    if fields is None:
        rows = _ROW.findall(text)
        fields = np.array([row[1:] for row in rows], dtype=np.int64).reshape(-1, 2)
    if len(fields) != expected:
        raise UserError(f"{path} holds {len(fields)} videos, the record says {expected}.")
    return Outcome(fields[:, 0] == fields[:, 1], data)


def videos_of(outcome: Outcome) -> list[bytes]:
    """The list paths of an outcome, as bytes as they stand in the file."""
    return [row[0] for row in _ROW.findall(gzip.decompress(outcome.data))]


def _fields(text: bytes) -> NDArray[np.int64] | None:
    """(N, 2) label and first id, found by counting commas; None where a quoted path may hold some."""
    if b'"' in text:
        return None
    raw = np.frombuffer(text, dtype=np.uint8)
    commas = np.flatnonzero(raw == _COMMA)
    lines = text.count(b"\n")
    if not lines or len(commas) != lines * (len(COLUMNS) - 1):
        return None
    commas = commas.reshape(lines, -1)[1:]
    return np.stack([_whole(raw, commas[:, k] + 1, commas[:, k + 1]) for k in (0, 1)], axis=1)


def _whole(raw: NDArray[np.uint8], start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) whole numbers that stand as decimal digits between two places each."""
    negative = raw[start] == _MINUS
    start = start + negative
    value = np.zeros(len(start), dtype=np.int64)
    for digit in range(int((stop - start).max(initial=0))):
        inside = start + digit < stop
        value = np.where(inside, 10 * value + raw[np.where(inside, start + digit, 0)] - _ZERO, value)
    return np.where(negative, -value, value)
