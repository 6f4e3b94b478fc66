"""Predictions tables from untrusted bytes: bounded decompression and a strict reader."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pandas as pd

from results.predictions import COLUMNS, ID_COLUMNS, PROBABILITY_COLUMNS
from results.submission.contents import MIB

TABLE_LIMIT = 64 * MIB
"""Largest size of a predictions table in bytes; the longest evaluation list (24,777 videos) needs 3 MiB."""


class TooLargeError(ValueError):
    """A gzip file that expands beyond the limit."""


def decompress(data: bytes, limit: int = TABLE_LIMIT) -> bytes:
    """Decompress a gzip file with one member.

    Raises:
        TooLargeError: The content has more than `limit` bytes; decompression stops there.
        ValueError: The file is incomplete, or data follows the first member.
    """
    # `gzip.decompress` has no size limit and accepts several members.
    reader = zlib.decompressobj(wbits=31)  # 31: gzip format with the largest window
    text = reader.decompress(data, limit + 1)
    if len(text) > limit:
        raise TooLargeError(f"more than {limit} bytes when decompressed")
    if not reader.eof or reader.unused_data or reader.unconsumed_tail:
        raise ValueError("an incomplete gzip file, or data after it")
    return text


def parse_table(text: bytes) -> pd.DataFrame:
    """Parse a predictions table strictly: exactly the known columns, integer ids and finite probabilities.

    Raises:
        ValueError: The text is not such a table.
    """
    header = text.partition(b"\n")[0]
    # Compared as bytes before pandas reads: pandas would rename repeated columns.
    if header != ",".join(COLUMNS).encode():
        raise ValueError(f"the header {header[:120]!r}")
    types = {"video": "str", "cluster": "str"} | dict.fromkeys(["label", *ID_COLUMNS], "int64")
    types |= dict.fromkeys(PROBABILITY_COLUMNS, "float64")
    frame = pd.read_csv(
        # pandas would read a video called NA as missing, and a row with one field too many as having an index.
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
