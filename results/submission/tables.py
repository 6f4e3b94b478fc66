"""Predictions tables from bytes of unknown origin: bounded decompression and a strict reader."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pandas as pd

from results.predictions import COLUMNS, ID_COLUMNS, PROBABILITY_COLUMNS
from results.submission.contents import MIB

TABLE_LIMIT = 64 * MIB
"""Bytes of a predictions table; the longest evaluation list (24,777 videos) needs 3 MiB."""


class TooLargeError(ValueError):
    """A gzip file that grows beyond the limit."""


def decompress(data: bytes, limit: int = TABLE_LIMIT) -> bytes:
    """The content of a gzip file of one member.

    Raises:
        TooLargeError: More than `limit` bytes; no more are decompressed.
        ValueError: A second member or anything behind the first, or a cut file.
    """
    reader = zlib.decompressobj(wbits=31)
    text = reader.decompress(data, limit + 1)
    if len(text) > limit:
        raise TooLargeError(f"more than {limit} bytes when decompressed")
    if not reader.eof or reader.unused_data or reader.unconsumed_tail:
        raise ValueError("a cut gzip file, or data behind it")
    return text


def parse_table(text: bytes) -> pd.DataFrame:
    """The predictions table of CSV text, strictly: exactly the known columns, whole ids, finite probabilities.

    Raises:
        ValueError: Anything else.
    """
    header = text.partition(b"\n")[0]
    if header != ",".join(COLUMNS).encode():
        raise ValueError(f"the header {header[:120]!r}")
    types = {"video": "str", "cluster": "str"} | dict.fromkeys(["label", *ID_COLUMNS], "int64")
    types |= dict.fromkeys(PROBABILITY_COLUMNS, "float64")
    frame = pd.read_csv(
        io.BytesIO(text), dtype=types, keep_default_na=False, index_col=False, on_bad_lines="error", low_memory=False,
        skip_blank_lines=False, encoding="utf-8",
    )  # fmt: skip
    if not np.isfinite(frame[PROBABILITY_COLUMNS].to_numpy()).all():
        raise ValueError("a probability that is not finite")
    if not len(frame):
        raise ValueError("a table without rows")
    for column in ("video", "cluster"):
        if not all(len(name) <= 1000 and name.isprintable() for name in frame[column]):
            raise ValueError(f"a {column} name with control characters, or too long")
    return frame
