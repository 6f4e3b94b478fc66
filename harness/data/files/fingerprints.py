"""What the videos of a custom dataset are, not only what they are called: a fingerprint of each file, kept in a cache.

An official video is known by its name. A custom one is not: two folders may hold other videos under equal paths. The
fingerprint takes a file's size, its first and its last 64 KiB: containers keep the sizes or places of all frames in one
of them, so that another video of the same length is told apart without reading terabytes.
"""

from __future__ import annotations

import hashlib
import json
import stat
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.errors import EXIT_FAILED, UserError

SCHEMA = 1
END_BYTES = 64 * 1024
_SETTLE_NS = 2_000_000_000  # a file changed this recently may change again without a new time stamp
_READERS = 8  # files wait for a disk or a server, not for a processor

Note = tuple[int, int, str]  # size, time of change in ns, fingerprint


def file_fingerprint(file: Path) -> str:
    """Hex fingerprint of a file's size and ends; a constant for what is no regular file, which is never opened.

    Raises:
        OSError: The file is not there or cannot be read.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for somebody to write into it
        return "not a regular file"
    size = status.st_size
    digest = hashlib.sha256(f"{size}\n".encode())
    with file.open("rb") as stream:
        digest.update(stream.read(END_BYTES))
        if size > END_BYTES:
            stream.seek(max(END_BYTES, size - END_BYTES))
            digest.update(stream.read(END_BYTES))
    return digest.hexdigest()[:32]


class ContentIndex:
    """The fingerprints of the files of one dataset, each read once for as long as its size and time stay the same.

    Args:
        root: The dataset's folder or table; names the cache file.
        cache: Folder that keeps the index, None for none.
    """

    def __init__(self, root: Path, cache: Path | None) -> None:
        self._root = str(root.resolve())
        name = f"content-{hashlib.sha256(self._root.encode()).hexdigest()[:16]}.json"
        self._file = cache / "inventory" / name if cache is not None else None
        self._seen: dict[str, Note] = {}

    def of(self, files: Mapping[str, Path], paths: Iterable[str]) -> str:
        """The fingerprint of the videos of a list: a hash of (path, content) in path order.

        Args:
            files: Where each path lies.
            paths: Of the list.

        Raises:
            UserError: A video has gone or cannot be read.
        """
        wanted = sorted(set(paths))
        self._look(files, [path for path in wanted if path not in self._seen])
        lines = "".join(f"{path}\0{self._seen[path][2]}\n" for path in wanted)
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()

    def _look(self, files: Mapping[str, Path], paths: list[str]) -> None:
        """Take the notes of files, reading those that changed; once a process, so that all its cells agree."""
        if not paths:
            return
        known = self._read()
        with ThreadPoolExecutor(_READERS) as pool:
            found = list(pool.map(lambda path: _note(files[path], known.get(path)), paths))
        self._seen.update(zip(paths, found, strict=True))
        now = time.time_ns()
        settled = {path: note for path, note in zip(paths, found, strict=True) if note[1] < now - _SETTLE_NS}
        if any(known.get(path) != note for path, note in settled.items()):
            self._write({**known, **settled})

    def _read(self) -> dict[str, Note]:
        """The notes of an earlier run; none if there are none, or they are damaged or of another place."""
        if self._file is None:
            return {}
        try:
            content = json.loads(self._file.read_bytes())
            if content["schema"] != SCHEMA or content["root"] != self._root:
                return {}
            return {path: (int(size), int(time), str(mark)) for path, (size, time, mark) in content["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}

    def _write(self, notes: Mapping[str, Note]) -> None:
        if self._file is None:
            return
        content = {"schema": SCHEMA, "root": self._root, "files": notes}
        try:
            write_bytes(self._file, json.dumps(content, separators=(",", ":")).encode())
        except OSError:  # a cache that cannot be kept costs time, and nothing else
            return


def _note(file: Path, known: Note | None) -> Note:
    try:
        status = file.stat()
        if known is not None and known[:2] == (status.st_size, status.st_mtime_ns):
            return known
        return status.st_size, status.st_mtime_ns, file_fingerprint(file)
    except OSError as error:
        raise UserError(
            f"The video {file} cannot be read: {error.strerror or error}.", "Restore or remove it.", EXIT_FAILED
        ) from None
