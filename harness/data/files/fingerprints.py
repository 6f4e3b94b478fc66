"""Fingerprints of the videos of a custom dataset, kept in a cache.

An official video is known by its name. A custom video is not: two folders may hold different videos under equal paths.
A fingerprint covers a file's size, its first and its last 64 KiB. Containers keep the sizes or offsets of all frames in
one of these parts, so that a different video of the same length has a different fingerprint, without reading terabytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.base.atomic import write_bytes
from harness.base.errors import EXIT_FAILED, UserError
from harness.data.files.frame_folder import clip_files, clip_state

SCHEMA = 1
END_BYTES = 64 * 1024
_SETTLE_NS = 2_000_000_000  # a file changed this recently may change again without a new time stamp
_THREADS = 8  # reading waits for a disk or a file server, not for a processor

Entry = tuple[int, int, str]  # size in bytes, time of the last change in ns, fingerprint


@dataclass(frozen=True)
class _CacheFile:
    """The cached index of one dataset.

    Args:
        schema: `SCHEMA`.
        root: Resolved path of the dataset.
        files: Entry of each list path.
    """

    schema: int
    root: str
    files: dict[str, Entry]


def file_fingerprint(file: Path) -> str:
    """Hex fingerprint of a file's size and both ends; a constant for pipes and devices, which are never opened.

    That of a frame folder covers names and sizes of all frames, and the ends of the first, middle and last frame.

    Raises:
        OSError: The file does not exist or cannot be read.
    """
    if file.is_dir():
        return _folder_fingerprint(file)
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would block until another process opens it for writing
        return "not a regular file"
    size = status.st_size
    digest = hashlib.sha256(f"{size}\n".encode())
    with file.open("rb") as stream:
        digest.update(stream.read(END_BYTES))
        if size > END_BYTES:
            # Of a file below twice this size, the second part begins where the first one ended.
            stream.seek(max(END_BYTES, size - END_BYTES))
            digest.update(stream.read(END_BYTES))
    return digest.hexdigest()[:32]


def _folder_fingerprint(folder: Path) -> str:
    frames = clip_files(folder)
    lines = [f"{frame.name}\0{frame.stat().st_size}\n" for frame in frames]
    chosen = dict.fromkeys(frames[i] for i in (0, len(frames) // 2, -1)) if frames else {}
    lines += [file_fingerprint(frame) for frame in chosen]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:32]


class FingerprintIndex:
    """The fingerprints of the files of one dataset. A file is read again only if its size or time changed.

    Args:
        root: The dataset's folder or table; names the cache file.
        cache: Folder that keeps the index; with None it is not kept.
    """

    def __init__(self, root: Path, cache: Path | None) -> None:
        self._root = str(root.resolve())
        name = f"content-{hashlib.sha256(os.fsencode(self._root)).hexdigest()[:16]}.json"
        self._file = cache / "inventory" / name if cache is not None else None
        self._entries: dict[str, Entry] = {}

    def list_fingerprint(self, files: Mapping[str, Path], paths: Iterable[str]) -> str:
        """The fingerprint of the videos of a list: a hash of (path, file fingerprint) in path order.

        Args:
            files: File of each list path.
            paths: Paths of the list.

        Raises:
            UserError: A video no longer exists or cannot be read.
        """
        ordered = sorted(set(paths))
        self._add(files, [path for path in ordered if path not in self._entries])
        lines = "".join(f"{path}\0{self._entries[path][2]}\n" for path in ordered)
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()

    def of(self, files: Mapping[str, Path], paths: Iterable[str]) -> dict[str, str]:
        """The fingerprint of each video of a list by path; empty videos and devices are left out.

        Raises:
            UserError: A video no longer exists or cannot be read.
        """
        ordered = sorted(set(paths))
        self._add(files, [path for path in ordered if path not in self._entries])
        # Entries of pipes and devices have a constant instead of a hash, and size 0 as empty files have.
        return {path: self._entries[path][2] for path in ordered if self._entries[path][0]}

    def _add(self, files: Mapping[str, Path], paths: list[str]) -> None:
        """Add the entries of files, reading those that changed.

        Each file is looked at once in a process, so that all cells of a run agree about its content.
        """
        if not paths:
            return
        cached = self._read_cache()
        with ThreadPoolExecutor(_THREADS) as pool:
            entries = list(pool.map(lambda path: _entry(files[path], cached.get(path)), paths))
        self._entries.update(zip(paths, entries, strict=True))
        now = time.time_ns()
        settled = {path: entry for path, entry in zip(paths, entries, strict=True) if entry[1] < now - _SETTLE_NS}
        if any(cached.get(path) != entry for path, entry in settled.items()):
            self._write_cache({**cached, **settled})

    def _read_cache(self) -> dict[str, Entry]:
        """The entries of an earlier run; none if the cache file is absent, damaged or of another dataset."""
        if self._file is None:
            return {}
        try:
            content = msgspec.json.decode(self._file.read_bytes(), type=_CacheFile)
        except (OSError, ValueError, RecursionError):
            return {}
        return content.files if (content.schema, content.root) == (SCHEMA, self._root) else {}

    def _write_cache(self, entries: Mapping[str, Entry]) -> None:
        if self._file is None:
            return
        content = {"schema": SCHEMA, "root": self._root, "files": entries}
        try:
            write_bytes(self._file, json.dumps(content, separators=(",", ":")).encode())
        except OSError:  # without the cache file the next run reads the videos again, with equal results
            return


def _entry(file: Path, cached: Entry | None) -> Entry:
    try:
        state = clip_state(file)
        if cached is not None and cached[:2] == state:
            return cached
        return *state, file_fingerprint(file)
    except OSError as error:
        raise UserError(
            f"The video {file} cannot be read: {error.strerror or error}.", "Restore or remove the file.", EXIT_FAILED
        ) from None
