"""Index of the video files below a root by base name without extension, for any folder layout."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.base.atomic import write_bytes
from harness.base.errors import EXIT_FAILED, UserError
from harness.base.text_files import composed
from harness.data.files.video_names import is_skipped, is_video
from harness.data.lists.grammar import base_name

SCHEMA = 1
# A folder that is read in the clock tick of a change may change again with the same time stamp: it is read again.
_SETTLE_NS = 2_000_000_000
_KINETICS = re.compile(r"([A-Za-z0-9_-]{11})_[0-9]{6}_[0-9]{6}")


Entry = tuple[int, list[str], list[str]]  # modification time in ns, names of sub-folders, names of video files


@dataclass(frozen=True)
class Match:
    """The video of one list path.

    Args:
        file: The video, or None if it is missing or ambiguous.
        candidates: Paths relative to the root if several different files match; empty otherwise.
        how: `path` (the path of the list), `name` (same base name), `case` (same base name in a different letter
            case), `id` (Kinetics: the YouTube id alone), or empty if there is no file.
    """

    file: Path | None
    candidates: tuple[str, ...] = ()
    how: str = ""


class Inventory:
    """An index of the video files below a root.

    Names are compared in their composed form (NFC); hidden folders and those of file servers and archives are left out.
    Rules, in order: the path of the list; a file of the same base name without extension, anywhere below the root; a
    file of that name in a different letter case; for Kinetics names, a file named by the YouTube id alone. Several
    files of a name are ambiguous unless their bytes are equal. An ambiguous video counts as missing, because one of
    the files is a wrong video.

    Args:
        root: The folder.
        folders: Names of video files in each folder, by the folder's path relative to the root.
    """

    def __init__(self, root: Path, folders: Mapping[str, Iterable[str]]) -> None:
        self.root = root
        self.paths = tuple(
            sorted(f"{folder}/{name}" if folder else name for folder, names in folders.items() for name in names)
        )
        self._all = frozenset(self.paths)
        self._by_stem: dict[str, list[str]] = {}
        self._by_case: dict[str, list[str]] = {}
        for path in self.paths:
            stem = composed(base_name(path))
            self._by_stem.setdefault(stem, []).append(path)
        for stem, paths in self._by_stem.items():
            self._by_case.setdefault(stem.casefold(), []).extend(paths)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def extensions(self) -> Mapping[str, int]:
        """The number of files of each extension, the most frequent first."""
        return dict(Counter(path.rpartition(".")[2].lower() for path in self.paths).most_common())

    @classmethod
    def open(cls, root: Path, cache: Path | None = None) -> Inventory:
        """Index a root. With a cache folder, only folders that changed since the last scan are read.

        Raises:
            UserError: The root is not a folder, or cannot be read.
        """
        if not root.is_dir():
            raise UserError(
                f"The video folder {root} does not exist.",
                "Correct the folder: --data NAME=DIR, HARNESS_DATA_NAME, or [data] in harness.toml.",
            )
        resolved = root.resolve()
        cache_file = None
        if cache is not None:
            cache_file = cache / "inventory" / f"{hashlib.sha256(str(resolved).encode()).hexdigest()[:16]}.json"
        cached = _read_cache(cache_file, resolved) if cache_file else {}
        now = time.time_ns()
        try:
            scanned = _scan(resolved, cached)
        except OSError as error:
            raise UserError(
                f"{error.filename or root} cannot be read ({error.strerror or error}).",
                "Change its permissions, or check the mount.",
                EXIT_FAILED,
            ) from None
        if cache_file is not None and scanned != cached:
            # Time 0 is never the time of a folder, so a folder that just changed is read again by the next scan.
            settled = {
                folder: entry if entry[0] < now - _SETTLE_NS else (0, *entry[1:]) for folder, entry in scanned.items()
            }
            content = {"schema": SCHEMA, "root": str(resolved), "folders": settled}
            with contextlib.suppress(OSError):  # without the cache file the next run scans the folders again
                write_bytes(cache_file, json.dumps(content, separators=(",", ":")).encode())
        return cls(root, {folder: names for folder, (_, _, names) in scanned.items()})

    def find(self, path: str) -> Match:
        """The video of a list path."""
        if path in self._all:
            return Match(self.root / path, how="path")
        stem = composed(base_name(path))
        for how, paths in (
            ("name", self._by_stem.get(stem)),
            ("case", self._by_case.get(stem.casefold())),
            ("id", self._by_id(stem)),
        ):
            if paths:
                return self._choose(paths, how)
        return Match(None)

    def _by_id(self, stem: str) -> list[str] | None:
        match = _KINETICS.fullmatch(stem)
        return self._by_stem.get(match[1]) if match else None

    def _choose(self, paths: list[str], how: str) -> Match:
        if len(paths) > 1 and not self._equal(paths):
            return Match(None, tuple(paths))
        return Match(self.root / paths[0], how=how)

    def _equal(self, paths: list[str]) -> bool:
        """Return whether the files have equal bytes: copies of a video are not ambiguous."""
        files = [self.root / path for path in paths]
        try:
            if len({file.stat().st_size for file in files}) > 1:
                return False
            return len({hashlib.sha256(file.read_bytes()).digest() for file in files}) == 1
        except OSError:
            return False


@dataclass(frozen=True)
class _CacheFile:
    """The cached index of one root: `SCHEMA`, resolved root, and the entry of each folder by relative path."""

    schema: int
    root: str
    folders: dict[str, Entry]


def _scan(root: Path, cached: Mapping[str, Entry]) -> dict[str, Entry]:
    """The entries of all folders below the root; a folder with its cached modification time is not read again."""
    entries: dict[str, Entry] = {}
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        path = root / folder if folder else root
        status = path.stat()
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder that was already read
            continue
        seen.add((status.st_dev, status.st_ino))
        entry = cached.get(folder)
        # The time of a folder changes if a name is added, removed or changed, and only names are kept here.
        if entry is None or entry[0] != status.st_mtime_ns:
            entry = _read_folder(path, status.st_mtime_ns)
        entries[folder] = entry
        # Reversed, because the last entry is read next: of several links to a folder the first by name counts.
        waiting += [f"{folder}/{name}" if folder else name for name in reversed(entry[1])]
    return entries


def _read_folder(path: Path, modified: int) -> Entry:
    folders: list[str] = []
    files: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if is_skipped(entry.name):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif is_video(entry.name) and entry.is_file():
                files.append(entry.name)
    return modified, sorted(folders), sorted(files)


def _read_cache(file: Path, root: Path) -> dict[str, Entry]:
    """The entries of an earlier scan; none if the cache file is absent, damaged or of another root."""
    try:
        content = msgspec.json.decode(file.read_bytes(), type=_CacheFile)
    except (OSError, ValueError, RecursionError):
        return {}
    return content.folders if (content.schema, content.root) == (SCHEMA, str(root)) else {}
