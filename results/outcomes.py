"""Correct and wrong predictions per video, read fast enough for a board of ten thousand records."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.base.errors import EXIT_FAILED, UserError
from results.predictions import AGAIN, COLUMNS, DEPTH, check_columns

MOST_DIGITS = 18
"""Largest number of digits of an id, so that it fits 64 bits."""
_WHOLE = re.compile(r"-?[1-9][0-9]{0,17}|0")
_HEADER = ",".join(COLUMNS).encode()
_COMMA, _MINUS, _ZERO = b","[0], b"-"[0], b"0"[0]


@dataclass(frozen=True)
class Outcome:
    """Correct and wrong predictions on one list, in list order.

    Args:
        hits: (N,) True where the first predicted id equals the label.
        labels: (N,) true ids.
        clustered: Whether the last video has a cluster; a dataset has clusters for all of its videos or for none.
        data: Bytes of the file, for `videos_of` and `clusters_of`.
        top5: (N,) True where one of the five predicted ids equals the label; None if it was not requested.
    """

    hits: NDArray[np.bool_]
    labels: NDArray[np.int64]
    clustered: bool
    data: bytes
    top5: NDArray[np.bool_] | None = None


def read_outcome(path: Path, sha256: str, expected: int, top5: bool = False) -> Outcome:
    """Read the outcome of a predictions file and check the hash from its record.

    Args:
        path: The `*.predictions.csv.gz` file.
        sha256: sha256 of the file, from the record.
        expected: Number of videos in the record.
        top5: Whether to read the second to fifth predicted ids, too.

    Raises:
        UserError: The file is missing, was changed, has other columns, or does not contain `expected` videos.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"The predictions file {path} is missing.", AGAIN, EXIT_FAILED) from None
    except OSError as error:
        raise UserError(f"The predictions file {path} cannot be read: {error}.", AGAIN, EXIT_FAILED) from None
    if hashlib.sha256(data).hexdigest() != sha256:
        message = f"The predictions {path} differ from the predictions of the record: the sha256 values differ."
        raise UserError(message, f"See: python -m harness score {path}", EXIT_FAILED)
    try:
        text = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"The predictions file {path} cannot be read: {error}.", AGAIN, EXIT_FAILED) from None
    header, _, rows = text.partition(b"\n")
    if header != _HEADER:
        check_columns(path, header.decode(errors="replace").replace('"', "").split(","))
    # Quoted names can contain commas, so only tables without quotes can be read by counting commas.
    try:
        columns = 1 + DEPTH if top5 else 2
        fields = _quick(rows, columns) if b'"' not in text else None
        if fields is None:
            rows_of_ids = [[_whole(value) for value in row[1 : 1 + columns]] for row in _parsed(text)]
            fields = np.array(rows_of_ids, dtype=np.int64).reshape(-1, columns)
    except (ValueError, IndexError, csv.Error) as error:
        message = f"{path}: label and ids must be whole numbers, found: {error}."
        raise UserError(message, AGAIN, EXIT_FAILED) from None
    if len(fields) != expected:
        raise UserError(f"{path} contains {len(fields)} videos, the record states {expected}.", AGAIN, EXIT_FAILED)
    clustered = not text.rstrip(b"\n").endswith((b",", b',""'))
    labels = fields[:, 0]
    right = fields[:, 1:] == labels[:, None]
    # Copies, because views would keep the arrays of all columns in memory.
    return Outcome(right[:, 0].copy(), labels.copy(), clustered, data, right.any(axis=1) if top5 else None)


def videos_of(outcome: Outcome) -> list[bytes]:
    """Paths of the videos in list order."""
    return _column(outcome, 0)


def clusters_of(outcome: Outcome) -> list[bytes]:
    """Clusters of the videos in list order, empty where unknown."""
    return _column(outcome, -1)


def _column(outcome: Outcome, index: int) -> list[bytes]:
    """The first (0) or the last (-1) column as text."""
    text = gzip.decompress(outcome.data)
    if b'"' in text:
        return [row[index].encode() for row in _parsed(text)]
    lines = text.split(b"\n")[1:-1]
    return [line.split(b",", 1)[0] if index == 0 else line.rpartition(b",")[2] for line in lines]


def _whole(text: str) -> int:
    """A whole number in the form in which `run` writes it: `int` also reads ` 2`, `+2` and `02`.

    Raises:
        ValueError: The text has another form.
    """
    if not _WHOLE.fullmatch(text):
        raise ValueError(repr(text[:40]))
    return int(text)


def _parsed(text: bytes) -> list[list[str]]:
    """All rows of a table with quoted names, which may contain commas, quotes and line ends."""
    return list(csv.reader(io.StringIO(text.decode(), newline="")))[1:]


def _quick(text: bytes, columns: int) -> NDArray[np.int64] | None:
    """(N, `columns`) label and predicted ids of a table without quotes, located by commas; None for incomplete rows."""
    raw = np.frombuffer(text, dtype=np.uint8)
    commas = np.flatnonzero(raw == _COMMA)
    lines = text.count(b"\n")
    if not lines or len(commas) != lines * (len(COLUMNS) - 1):
        return None
    offsets = commas.reshape(lines, -1)
    return _integers(raw, offsets[:, :columns] + 1, offsets[:, 1 : columns + 1])


def _integers(raw: NDArray[np.uint8], start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """Integers, parsed from the decimal digits between the offsets `start` and `stop`, in the shape of the offsets."""
    # All columns at once: a table of a small list has few rows, so that the number of calls decides the time.
    negative = raw[start] == _MINUS
    start = start + negative
    value = np.zeros(start.shape, dtype=np.int64)
    length = stop - start
    longest = int(length.max(initial=0))
    if longest > MOST_DIGITS:
        raise ValueError(f"a number of more than {MOST_DIGITS} digits")
    for digit in range(longest):
        inside = start + digit < stop
        found = raw[np.where(inside, start + digit, 0)] - _ZERO  # unsigned: a character below 0 becomes large
        if (found[inside] > 9).any():
            raise ValueError("another character than a digit")
        value = np.where(inside, 10 * value + found, value)
    # One text for each number: no empty field, no leading zero, no -0.
    if (length < 1).any() or ((length > 1) & (raw[start] == _ZERO)).any() or (negative & (value == 0)).any():
        raise ValueError("an empty field or a leading zero")
    return np.where(negative, -value, value)
