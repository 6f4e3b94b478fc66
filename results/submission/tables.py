"""Predictions tables from untrusted bytes: bounded decompression and a strict reader."""

from __future__ import annotations

import zlib
from functools import lru_cache

import pandas as pd

from results.predictions import parse_table
from results.submission.contents import MIB

TABLE_LIMIT = 4 * MIB
"""Largest size of a predictions table in bytes; the longest evaluation list (24,777 videos) needs 3 MiB."""
SMALL = 64 * 1024
"""Largest size in bytes of a table that is kept after it was parsed."""


class TooLargeError(ValueError):
    """A gzip file that expands beyond the limit."""


def decompress(data: bytes, limit: int = TABLE_LIMIT) -> bytes:
    """Decompress a gzip file with one member.

    Raises:
        TooLargeError: The content has more than `limit` bytes; decompression stops there.
        ValueError: The file is incomplete, or data follows the first member.
    """
    # A name, a comment or a time in the header would be content that nobody checks.
    if data[3:4] != b"\0":
        raise ValueError("a gzip header with a name, a comment or other fields")
    # `gzip.decompress` has no size limit and accepts several members.
    reader = zlib.decompressobj(wbits=31)  # 31: gzip format with the largest window
    text = reader.decompress(data, limit + 1)
    if len(text) > limit:
        raise TooLargeError(f"more than {limit} bytes when decompressed")
    if not reader.eof or reader.unused_data or reader.unconsumed_tail:
        raise ValueError("an incomplete gzip file, or data after it")
    return text


def parse_untrusted(text: bytes) -> pd.DataFrame:
    """Parse an untrusted predictions table.

    Raises:
        ValueError: The text is not the canonical text of a table, or a name cannot be printed.
    """
    # Submissions to one board share tables, e.g. packed again with other fits; a kept table takes about four times the
    # size of its text.
    return _kept(text).copy() if len(text) <= SMALL else _parsed(text)


def _parsed(text: bytes) -> pd.DataFrame:
    """The checked table of a text."""
    frame = parse_table(text)
    if not len(frame):
        raise ValueError("a table without rows")
    for column in ("video", "cluster"):
        if not all(len(name) <= 1000 and name.isprintable() for name in frame[column]):
            raise ValueError(f"a {column} name with control characters, or too long")
    return frame


_kept = lru_cache(maxsize=128)(_parsed)
