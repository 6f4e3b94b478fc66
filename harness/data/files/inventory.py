"""Where videos lie: a root indexed once by base name without extension, whatever the layout."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.errors import EXIT_FAILED, UserError
from harness.data.files.video_names import is_video
from harness.data.lists.grammar import base_name

SCHEMA = 1
# A folder changed in the same tick as it was read could change again unseen: such folders are read anew next time.
_SETTLE_NS = 2_000_000_000
_KINETICS = re.compile(r"([A-Za-z0-9_-]{11})_[0-9]{6}_[0-9]{6}")


@dataclass(frozen=True)
class Found:
    """The answer for one list path.

    Args:
        file: The video, or None if it is missing or ambiguous.
        candidates: Paths relative to the root where several files have the name; empty otherwise.
        how: `path` (as the list says), `name` (same base name), `case` (base name in other letter case), `id`
            (Kinetics: the YouTube id alone), or empty.
    """

    file: Path | None
    candidates: tuple[str, ...] = ()
    how: str = ""


class Inventory:
    """An index of the video files below a root.

    Rules: the path as the list has it wins; then a unique file of the same base name, extension aside, anywhere below
    the root; then one in another letter case; then, for Kinetics names, a file named by the YouTube id alone. Several
    files of a name are ambiguous unless their bytes are equal, and an ambiguous video counts as missing: a wrong video
    is never taken silently.

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
            stem = base_name(path)
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
        """The inventory of a root; with a cache folder only folders that changed since the last time are read.

        Raises:
            UserError: The root is no folder, or cannot be read.
        """
        if not root.is_dir():
            raise UserError(
                f"The video folder {root} does not exist.",
                "Correct the data root (harness.toml, HARNESS_DATA_<NAME> or a flag).",
            )
        resolved = root.resolve()
        file = None
        if cache is not None:
            file = cache / "inventory" / f"{hashlib.sha256(str(resolved).encode()).hexdigest()[:16]}.json"
        known = _read_cache(file, resolved) if file else {}
        now = time.time_ns()
        try:
            scanned = _scan(resolved, known)
        except OSError as error:
            raise UserError(
                f"{error.filename or root} cannot be read ({error.strerror or error}).",
                "Change its permissions, or check the mount.",
                EXIT_FAILED,
            ) from None
        if file is not None and scanned != known:
            settled = {
                folder: entry if entry[0] < now - _SETTLE_NS else (0, *entry[1:]) for folder, entry in scanned.items()
            }
            content = {"schema": SCHEMA, "root": str(resolved), "folders": settled}
            write_bytes(file, json.dumps(content, separators=(",", ":")).encode())
        return cls(root, {folder: names for folder, (_, _, names) in scanned.items()})

    def find(self, path: str) -> Found:
        """Where the video of a list path lies."""
        if path in self._all:
            return Found(self.root / path, how="path")
        stem = base_name(path)
        for how, paths in (
            ("name", self._by_stem.get(stem)),
            ("case", self._by_case.get(stem.casefold())),
            ("id", self._by_id(stem)),
        ):
            if paths:
                return self._choose(paths, how)
        return Found(None)

    def _by_id(self, stem: str) -> list[str] | None:
        match = _KINETICS.fullmatch(stem)
        return self._by_stem.get(match[1]) if match else None

    def _choose(self, paths: list[str], how: str) -> Found:
        if len(paths) > 1 and not self._equal(paths):
            return Found(None, tuple(paths))
        return Found(self.root / paths[0], how=how)

    def _equal(self, paths: list[str]) -> bool:
        """Whether the files have equal bytes: copies of a video are not ambiguous."""
        files = [self.root / path for path in paths]
        try:
            if len({file.stat().st_size for file in files}) > 1:
                return False
            return len({hashlib.sha256(file.read_bytes()).digest() for file in files}) == 1
        except OSError:
            return False


Entry = tuple[int, list[str], list[str]]  # modification time in ns, names of sub-folders, names of video files


def _scan(root: Path, known: Mapping[str, Entry]) -> dict[str, Entry]:
    """Every folder below the root; a folder whose modification time is the known one is not read again."""
    found: dict[str, Entry] = {}
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        path = root / folder if folder else root
        status = path.stat()
        if (status.st_dev, status.st_ino) in seen:  # a link back to a folder already read
            continue
        seen.add((status.st_dev, status.st_ino))
        entry = known.get(folder)
        if entry is None or entry[0] != status.st_mtime_ns:
            entry = _read_folder(path, status.st_mtime_ns)
        found[folder] = entry
        waiting += [f"{folder}/{name}" if folder else name for name in reversed(entry[1])]
    return found


def _read_folder(path: Path, modified: int) -> Entry:
    folders: list[str] = []
    files: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif is_video(entry.name) and entry.is_file():
                files.append(entry.name)
    return modified, sorted(folders), sorted(files)


def _read_cache(file: Path, root: Path) -> dict[str, Entry]:
    """The folders of an earlier scan; empty if there is none, or it is damaged or of another root."""
    try:
        content = json.loads(file.read_bytes())
        if content["schema"] != SCHEMA or content["root"] != str(root):
            return {}
        return {
            folder: (int(modified), list(folders), list(files))
            for folder, (modified, folders, files) in content["folders"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
