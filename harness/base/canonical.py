"""Canonical JSON text of a value and its hash, from which keys of cells are made and can be recomputed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
"""A value that JSON can hold."""
FILE_HASH = "sha256:"
"""Start of a recorded value that stands for the content of a file."""
# One encoder for all calls: `json.dumps` would make one in each call.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical_json(value: JsonValue) -> str:
    """JSON with sorted keys and no blanks: equal values give equal text, for any order of keys."""
    return _encode(value)


def fingerprint(value: JsonValue, length: int = 64) -> str:
    """The first `length` hex digits of the sha256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def is_file_hash(text: str) -> bool:
    """Whether a recorded value is the hash of a file."""
    digits = text.removeprefix(FILE_HASH)
    return text.startswith(FILE_HASH) and len(digits) == 64 and set(digits) <= set("0123456789abcdef")


def labels_sha256(names: Iterable[str]) -> str:
    """sha256 of the lines `id,name` (LF) of a label set, for any quoting and line ends of its file."""
    return hashlib.sha256("".join(f"{i},{name}\n" for i, name in enumerate(names)).encode()).hexdigest()


def rows_sha256(rows: Iterable[tuple[str, int]]) -> str:
    """sha256 of the lines `path label` (LF) of a list, for any line ends on disk."""
    return hashlib.sha256("".join(f"{path} {label}\n" for path, label in rows).encode()).hexdigest()


def row_set_sha256(rows: Iterable[tuple[str, int]]) -> str:
    """sha256 of the sorted lines `name label` of a list: the same for other folders, extensions and orders."""
    # Sorted, and without folders and extensions: copies of a list differ in these and name the same videos.
    return hashlib.sha256("".join(sorted(_named_lines(rows))).encode()).hexdigest()


def row_order_sha256(rows: Iterable[tuple[str, int]]) -> str:
    """sha256 of the lines `name label` of a list in its order: the same for other folders and extensions."""
    return hashlib.sha256("".join(_named_lines(rows)).encode()).hexdigest()


def _named_lines(rows: Iterable[tuple[str, int]]) -> list[str]:
    """Lines of base names without extension and labels."""
    lines = []
    for path, label in rows:
        name = path.rpartition("/")[2]
        lines.append(f"{name.rpartition('.')[0] or name} {label}\n")
    return lines
