"""Right or wrong per video, read from prediction files quickly enough for a board of ten thousand records."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.base.errors import EXIT_FAILED, UserError
from results.predictions import AGAIN, COLUMNS, check_columns

_HEADER = ",".join(COLUMNS).encode()
_COMMA, _MINUS, _ZERO = b","[0], b"-"[0], b"0"[0]


@dataclass(frozen=True)
class Outcome:
    """Right and wrong answers of a model on one list, in list order.

    Args:
        hits: (N,) whether the first predicted id is the label.
        data: The file as it is, for `videos_of` and `clusters_of`.
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
        UserError: The file is missing, was changed, has other columns, or does not hold `expected` videos.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"The predictions file {path} is missing.", AGAIN, EXIT_FAILED) from None
    except OSError as error:
        raise UserError(f"The predictions file {path} cannot be read: {error}.", AGAIN, EXIT_FAILED) from None
    if hashlib.sha256(data).hexdigest() != sha256:
        message = f"The predictions {path} are not those of their record: their sha256 is another."
        raise UserError(message, f"See: python -m harness score {path}", EXIT_FAILED)
    try:
        text = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"The predictions file {path} cannot be read: {error}.", AGAIN, EXIT_FAILED) from None
    header, _, rows = text.partition(b"\n")
    if header != _HEADER:
        check_columns(path, header.decode(errors="replace").replace('"', "").split(","))
    fields = _quick(rows) if b'"' not in text else None
    if fields is None:
        try:
            fields = np.array([(int(row[1]), int(row[2])) for row in _parsed(text)], dtype=np.int64).reshape(-1, 2)
        except (ValueError, IndexError, csv.Error) as error:
            message = f"{path}: label and ids must be whole numbers, found: {error}."
            raise UserError(message, AGAIN, EXIT_FAILED) from None
    if len(fields) != expected:
        raise UserError(f"{path} holds {len(fields)} videos, the record says {expected}.", AGAIN, EXIT_FAILED)
    return Outcome(fields[:, 0] == fields[:, 1], data)


def videos_of(outcome: Outcome) -> list[bytes]:
    """The list paths of an outcome."""
    return _column(outcome, 0)


def clusters_of(outcome: Outcome) -> list[bytes]:
    """The clusters of the videos of an outcome, empty where unknown."""
    return _column(outcome, -1)


def _column(outcome: Outcome, place: int) -> list[bytes]:
    """The first or the last column, as text."""
    text = gzip.decompress(outcome.data)
    if b'"' in text:
        return [row[place].encode() for row in _parsed(text)]
    lines = text.split(b"\n")[1:-1]
    return [line.split(b",", 1)[0] if place == 0 else line.rpartition(b",")[2] for line in lines]


def _parsed(text: bytes) -> list[list[str]]:
    """All rows of a table with quoted names, which may hold commas, quotes and line ends."""
    return list(csv.reader(io.StringIO(text.decode(), newline="")))[1:]


def _quick(text: bytes) -> NDArray[np.int64] | None:
    """(N, 2) label and first id of a table without quotes, found by counting commas; None where rows are cut."""
    raw = np.frombuffer(text, dtype=np.uint8)
    commas = np.flatnonzero(raw == _COMMA)
    lines = text.count(b"\n")
    if not lines or len(commas) != lines * (len(COLUMNS) - 1):
        return None
    places = commas.reshape(lines, -1)
    return np.stack([_whole(raw, places[:, k] + 1, places[:, k + 1]) for k in (0, 1)], axis=1)


def _whole(raw: NDArray[np.uint8], start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) whole numbers that stand as decimal digits between two places each."""
    negative = raw[start] == _MINUS
    start = start + negative
    value = np.zeros(len(start), dtype=np.int64)
    for digit in range(int((stop - start).max(initial=0))):
        inside = start + digit < stop
        value = np.where(inside, 10 * value + raw[np.where(inside, start + digit, 0)] - _ZERO, value)
    return np.where(negative, -value, value)
