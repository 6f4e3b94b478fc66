"""Hashes of the tensors of weights that were read on this machine, so that a plan knows them without reading weights.

An entry is keyed by architecture and tag, and valid while the file keeps its size, times and inode. The index may be
deleted at any time.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from harness.base.atomic import write_json
from results.measurement import RANDOM, ModelId
from results.measurement_words import model_text

SCHEMA = 1
_SUFFIXES = (".safetensors", ".pt", ".bin")


class WeightsIndex:
    """The index in a cache folder.

    Args:
        cache: Folder of the caches.
        weights: Folder in which the files of a tag are looked for before anything else.
    """

    def __init__(self, cache: Path, weights: Path) -> None:
        self._file = cache / "weights-index.json"
        self._weights = weights
        self.unread: list[str] = []
        """Names of the tags that were asked for and are not known."""

    def needs(self, model: ModelId) -> bool:
        """Whether the tensors of a model can change behind its name."""
        return not (model.config or model.weights == RANDOM or model.weights.startswith("sha256:"))

    def of(self, model: ModelId) -> str:
        """Hash of the tensors of a model known by a tag; empty if it is not known, or if the key of a cell holds it."""
        if not self.needs(model):
            return ""
        found, name = self.tensors_sha256(model.arch, model.weights), model_text(model)
        if not found and name not in self.unread:
            self.unread.append(name)
        return found

    def tensors_sha256(self, arch: str, tag: str) -> str:
        """Hash of the tensors of a tag; empty if its file was not read yet, or changed or moved since."""
        entry = self._read().get(f"{arch}/{tag}")
        if not isinstance(entry, dict):
            return ""
        path = next((p for p in self._candidates(arch, tag, entry.get("name")) if p.is_file()), None)
        path = path or Path(str(entry.get("path")))
        return str(entry["tensors_sha256"]) if entry.get("stamp") == _stamp(path) else ""

    def remember(self, arch: str, tag: str, path: Path, tensors_sha256: str) -> None:
        """Note the hash of the tensors that were read from a file; a cache that cannot be written is left as it is."""
        stamp = _stamp(path.resolve())
        content = self._read()
        entry = {"path": str(path.resolve()), "name": path.name, "stamp": stamp, "tensors_sha256": tensors_sha256}
        if stamp is None or content.get(f"{arch}/{tag}") == entry:
            return
        with contextlib.suppress(OSError):
            write_json(self._file, {**content, "schema": SCHEMA, f"{arch}/{tag}": entry})

    def _candidates(self, arch: str, tag: str, name: object) -> list[Path]:
        """The places in which the loader looks before its own cache."""
        names = [f"{arch}-{tag}{suffix}" for suffix in _SUFFIXES] + ([str(name)] if name else [])
        return [self._weights / name for name in names]

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._file.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) and content.get("schema") == SCHEMA else {}


def _stamp(path: Path) -> list[int] | None:
    """Size, times of modification and change, and inode of a file; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
