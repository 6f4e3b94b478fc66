"""Hashes of the tensors of weights that were read on this machine, so that a plan knows them without reading weights.

An entry is keyed by architecture and tag, and valid while the file keeps its size, times and inode. The index may be
deleted at any time.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from harness.base.atomic import write_json
from harness.weights.hub import is_current
from harness.weights.sizes import QUICK_SUFFIX
from results.measurement import RANDOM, ModelId
from results.measurement_words import model_text

SCHEMA = 1
_SUFFIXES = (".safetensors", ".pt", ".bin")


def tag_names(arch: str, tag: str) -> list[str]:
    """Names under which the weights folder can hold the file of a tag, first choice first."""
    # `ViT-B-16-quickgelu` is a second name of `ViT-B-16`, with the same files.
    names = dict.fromkeys((arch, arch.removesuffix(QUICK_SUFFIX)))
    return [f"{name}-{tag}{suffix}" for name in names for suffix in _SUFFIXES]


@dataclass(frozen=True)
class _Entry:
    """The tensors of a tag as they were read.

    Args:
        path: File that was read.
        name: Name of the file.
        stamp: Size, times and inode of the file at that time.
        tensors_sha256: Hash of the tensors.
    """

    path: str
    name: str
    stamp: tuple[int, ...]
    tensors_sha256: str


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
        """Names of the models whose tensors were requested and are not known."""

    def needs(self, model: ModelId) -> bool:
        """Whether the tensors of a model can change while its name stays."""
        # A config or a file hash already fixes the values, and random weights come from a fixed seed.
        return not (model.config or model.weights == RANDOM or model.weights.startswith("sha256:"))

    def of(self, model: ModelId) -> str:
        """Hash of the tensors of a tag; empty if it is not known, or if the model's name already fixes the tensors."""
        if not self.needs(model):
            return ""
        digest, name = self.tensors_sha256(model.arch, model.weights), model_text(model)
        if not digest and name not in self.unread:
            self.unread.append(name)
        return digest

    def tensors_sha256(self, arch: str, tag: str) -> str:
        """Hash of the tensors of a tag; empty if its file was not read yet, or changed or moved since."""
        entry = self._read().get(f"{arch}/{tag}")
        if entry is None:
            return ""
        # In the loader's order: a file that was put into the weights folder since comes before the one that was read.
        path = next((p for p in self._candidates(arch, tag, entry.name) if p.is_file()), Path(entry.path))
        return entry.tensors_sha256 if entry.stamp == _stamp(path) and is_current(path) else ""

    def remember(self, arch: str, tag: str, path: Path, tensors_sha256: str) -> None:
        """Store the hash of the tensors that were read from a file. A cache that cannot be written is not an error."""
        # Not resolved: in the hub's cache the name of the folder tells the revision.
        path = path.absolute()
        stamp = _stamp(path)
        if stamp is None:
            return
        entries, entry = self._read(), _Entry(str(path), path.name, stamp, tensors_sha256)
        if entries.get(f"{arch}/{tag}") == entry:
            return
        entries[f"{arch}/{tag}"] = entry
        with contextlib.suppress(OSError):
            write_json(self._file, {"schema": SCHEMA, **{name: asdict(known) for name, known in entries.items()}})

    def _candidates(self, arch: str, tag: str, name: str) -> list[Path]:
        """The files that the loader tries before its own cache."""
        return [self._weights / file for file in (*tag_names(arch, tag), name)]

    def _read(self) -> dict[str, _Entry]:
        """The entries by `ARCH/TAG`; none if the file is missing, damaged or of another schema."""
        try:
            content = msgspec.json.decode(self._file.read_bytes(), type=dict[str, _Entry | int])
        except (OSError, ValueError, RecursionError):
            return {}
        if content.pop("schema", None) != SCHEMA:
            return {}
        return {name: entry for name, entry in content.items() if isinstance(entry, _Entry)}


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Size, times of modification and change, and inode of a file; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    # Also the time of change and the inode: `cp -p` and rsync keep size and time of modification.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
