"""Files and archives of forged submissions."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd

from results.predictions import encode_predictions

_encoded: dict[bytes, bytes] = {}


def encode_table(frame: pd.DataFrame) -> bytes:
    """`encode_predictions`, once for equal tables."""
    key = pickle.dumps(frame)  # equal bytes mean equal tables
    if key not in _encoded:
        _encoded[key] = encode_predictions(frame)
    return _encoded[key]


def tensors(value: float = 1.0, count: int = 2) -> bytes:
    """A safetensors file with one tensor of `count` equal float32 values."""
    header = json.dumps({"pool.weight": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    return struct.pack("<Q", len(header)) + header + count * struct.pack("<f", value)


def seal(path: Path, files: dict[str, bytes], manifest: dict[str, Any]) -> Path:
    """A zip file of files and a manifest, which then lists them, whatever it says."""
    members = [*sorted(files.items()), ("submission.json", json_bytes_loose(listed(files, manifest)))]
    return write_zip(path, [(plain_entry(name), data) for name, data in members])


def json_bytes_loose(value: Any) -> bytes:
    """JSON of a manifest that may hold anything."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def plain_entry(name: str) -> zipfile.ZipInfo:
    """A member as `submit pack` writes it."""
    info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
    info.external_attr = 0o100644 << 16
    info.create_system = 3
    return info


def listed(files: dict[str, bytes], manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest with the hashes of files."""
    hashes = {n: {"sha256": hashlib.sha256(d).hexdigest(), "bytes": len(d)} for n, d in files.items()}
    return {**manifest, "files": hashes}


def write_zip(path: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    """A zip file of exactly these members, in this order, whatever they are."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path
