"""Near copies: how similar the predictions of two fits on one list are, beyond changes that keep the order of classes.

A copy can be disguised by noise, by another temperature, or by other predictions for some videos. The distance of two
tables is therefore the median difference of the log probabilities of the classes that both tables name for a video,
centred for each video and in units of their spread: a temperature and a factor for each video do not change it, and
other predictions for less than half of the videos hardly change it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.base.canonical import rows_sha256
from results.predictions import ids_of, parse_table, probabilities_of

SMALLEST_DISTANCE = 0.03
"""Independent fits are not nearer to each other, see docs/submitting.md for the measured distances."""
LEAST = 60
"""Smallest number of compared probabilities; a distance of fewer is not computed."""
SMALLEST_P = 1e-5
"""Smaller probabilities are not compared: they are stored with six decimals."""
MOST_PAIRS = 300
"""Largest number of pairs that are compared; the pairs with most equal first predictions come first."""


@dataclass(frozen=True)
class Sketch:
    """The part of a predictions table that is compared.

    Args:
        rows: Hash of the videos and labels in order.
        ids: (N, 5) predicted ids.
        logs: (N, 5) logarithms of their probabilities; NaN for probabilities that are too small.
    """

    rows: str
    ids: NDArray[np.int32]
    logs: NDArray[np.float32]


def sketch_of(frame: pd.DataFrame) -> Sketch:
    """The sketch of a predictions table."""
    ids, p = ids_of(frame).astype(np.int32), probabilities_of(frame).astype(np.float64)
    usable = (p >= SMALLEST_P) & (ids >= 0)
    logs = np.log(np.where(usable, p, 1.0))
    logs[~usable] = np.nan
    rows = rows_sha256(zip(frame["video"].tolist(), frame["label"].tolist(), strict=True))
    return Sketch(rows, ids, logs.astype(np.float32))


def distance(a: Sketch, b: Sketch) -> float | None:
    """Distance of two tables of one list, from 0 for copies; None if too few probabilities can be compared."""
    # (N, 5, 5): whether class i of one table is class j of the other.
    same = (a.ids[:, :, None] == b.ids[:, None, :]) & ~np.isnan(a.logs)[:, :, None] & ~np.isnan(b.logs)[:, None, :]
    row, first, second = np.nonzero(same)
    # A single class of a video gives no difference after centring.
    kept = np.bincount(row, minlength=len(a.ids))[row] > 1
    row, first, second = row[kept], first[kept], second[kept]
    if len(row) < LEAST:
        return None
    centred = [_standardised(sketch.logs[row, column], row) for sketch, column in ((a, first), (b, second))]
    return float(np.median(np.abs(centred[0] - centred[1])))


def _standardised(logs: NDArray[np.float32], row: NDArray[np.intp]) -> NDArray[np.float64]:
    """Log probabilities without the mean of each video, divided by their median size."""
    counts = np.bincount(row)
    means = np.bincount(row, weights=logs) / np.maximum(counts, 1)
    centred = logs - means[row]
    # Equal probabilities of all classes have no spread; two such tables are equal.
    return np.asarray(centred / max(float(np.median(np.abs(centred))), 1e-9))


def nearest(sketches: Sequence[Sketch], others: Sequence[Sketch] | None = None) -> Iterator[tuple[float, int, int]]:
    """Pairs of tables of one list that are nearer than independent fits, as (distance, first index, second index).

    Args:
        sketches: Sketches.
        others: Sketches to compare with; None compares the first ones with each other.
    """
    pairs: list[tuple[float, int, int]] = []
    second = sketches if others is None else others
    for i, a in enumerate(sketches):
        for j, b in enumerate(second):
            if (others is not None or i < j) and a.rows == b.rows:
                pairs.append((float((a.ids[:, 0] == b.ids[:, 0]).mean()), i, j))
    # A hostile submission can have so many repeats that the comparison of all pairs takes minutes.
    for _, i, j in sorted(pairs, reverse=True)[:MOST_PAIRS]:
        apart = distance(sketches[i], second[j])
        if apart is not None and apart < SMALLEST_DISTANCE:
            yield apart, i, j


def list_of(text: bytes) -> bytes:
    """A short text that is equal for the predictions tables of one list, read without parsing the table."""
    lines = text.split(b"\n", 2)
    return b"%d %s" % (text.count(b"\n"), b",".join(lines[1].split(b",")[:2]) if len(lines) > 1 else b"")


class KnownTables:
    """Predictions tables of other rows: of the board, and of submissions that were checked before."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._by_list: dict[bytes, list[tuple[str, Callable[[], Sketch]]]] = defaultdict(list)

    def add(self, owner: str, text: bytes) -> None:
        """Add the uncompressed table of a row; the first owner of equal tables stays.

        Args:
            owner: Method and version.
            text: The table.
        """
        if self._owners.setdefault(hashlib.sha256(text).hexdigest(), owner) == owner:
            # Parsed when a table of the same list is checked: a board has many lists.
            packed = zlib.compress(text, 1)
            self._by_list[list_of(text)].append((owner, cache(lambda: sketch_of(parse_table(zlib.decompress(packed))))))

    def owner(self, table_sha256: str) -> str:
        """Method and version of an equal table; empty if there is none."""
        return self._owners.get(table_sha256, "")

    def of_list(self, text: bytes) -> list[tuple[str, Sketch]]:
        """Owner and sketch of each table of the list of a table."""
        return [(owner, sketch()) for owner, sketch in self._by_list.get(list_of(text), ())]
