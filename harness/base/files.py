"""Hashes of files."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes in hex, read in blocks.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def cached_file_sha256(path: Path) -> str:
    """sha256 of a file that does not change while this process runs, such as CLIP's weights; read once.

    Raises:
        OSError: The file cannot be read.
    """
    return file_sha256(path)
