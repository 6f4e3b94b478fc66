"""The clips of a table: its rows with the video file of each path and the name of each class."""

from __future__ import annotations

import errno
import re
from functools import cached_property
from pathlib import Path

from harness.base.errors import UserError
from harness.base.text_files import forms_of
from harness.data.files.frame_folder import is_frame_folder
from harness.data.files.inventory import Inventory
from harness.data.folders.class_ids import labels_of, named
from harness.data.folders.clip import Clip, ClipSource, GivenFiles
from harness.data.folders.tables import Row, read_table


def clips_of_table(table: Path, given: GivenFiles, split: str = "") -> ClipSource:
    """The clips of a table, in the order of its rows.

    Args:
        table: A .csv, .tsv or .txt file.
        given: Video root and class names.
        split: Side of all rows of a table without a column for it: `train` or `val`.

    Raises:
        UserError: The file is not a table of clips, a video is missing, or a class has no name.
    """
    content, videos = read_table(table), _Videos(table, given)
    labels = labels_of(table, given)
    names = named([(f"{table}, line {row.line}", row.label) for row in content.rows], table, labels)
    clips: list[Clip] = []
    missing: list[tuple[Row, str]] = []
    seen: dict[str, int] = {}
    for row, name in zip(content.rows, names, strict=True):
        # First as written: on Linux, a backslash can be part of a file name.
        file, reason = videos.find(row.path)
        path = _portable(row.path if file is not None else _with_slashes(row.path))
        if file is None and path != row.path:
            file, reason = videos.find(_with_slashes(row.path))
        if path in seen:
            raise UserError(
                f"{table}, line {row.line}: {path!r} is a duplicate of line {seen[path]}, expected each clip once.",
                "Remove one of the lines. A clip has one class: several labels of a clip are not supported.",
            )
        seen[path] = row.line
        if file is None:
            missing.append((row, reason))
        else:
            clips.append(Clip(path, name, row.split or split, file, row.group))
    if missing:
        row, reason = missing[0]
        number = f" ({len(missing)} of {len(content.rows)} rows)" if len(missing) > 1 else ""
        raise UserError(
            f"{table}, line {row.line}: the file {reason}{number}.",
            f"Give paths relative to the table's folder, or the folder of the videos: --data {table.stem}=DIR.",
        )
    ignored = f"{table.name}: columns that are not read: {', '.join(content.ignored)}"
    return ClipSource(tuple(clips), labels, (ignored,) if content.ignored else ())


class _Videos:
    """Finds the videos of a table: beside the table, else below the given folder, there also by base name alone."""

    def __init__(self, table: Path, given: GivenFiles) -> None:
        self._table = table
        self._given = given

    @cached_property
    def _inventory(self) -> Inventory | None:
        return Inventory.open(self._given.videos, self._given.cache) if self._given.videos is not None else None

    def find(self, path: str) -> tuple[Path | None, str]:
        """The file of a path, or None and the reason as the end of a sentence.

        Raises:
            UserError: The given folder does not exist.
        """
        folders = [self._table.parent, *([self._given.videos] if self._given.videos else [])]
        reason = ""
        for folder in folders:
            for form in forms_of(path):
                file = folder / form
                try:
                    if file.is_file() or is_frame_folder(file):
                        return file, ""
                except OSError as error:
                    if error.errno != errno.ENAMETOOLONG:  # no file system holds such a name
                        reason = f"{str(file)[:300]} cannot be read: {error.strerror}"
        if self._inventory is not None:
            match = self._inventory.find(path)
            if match.file is not None:
                return match.file, ""
            if match.candidates:
                return None, f"{path} is ambiguous: {', '.join(match.candidates[:3])}"
        also = f", and there is none of its name in {self._given.videos}" if self._given.videos else ""
        return None, reason or f"{str(self._table.parent / path)[:300]} does not exist{also}"


def _with_slashes(path: str) -> str:
    r"""A path of Windows (`C:\videos\a.avi`) with forward slashes and without drive."""
    return re.sub(r"^[A-Za-z]:(?=\\)", "", path).replace("\\", "/") if "\\" in path else path


def _portable(path: str) -> str:
    """The path in lists: of an absolute path only the last two parts, so that lists are equal on all machines."""
    parts = Path(path).parts
    return "/".join(parts[-2:]) if Path(path).is_absolute() else Path(path).as_posix()
