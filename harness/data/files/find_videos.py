"""The video files that a user names: files, folders of videos, and tables with one path per line."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import UserError
from harness.data.files.frame_folder import has_frames, is_frame_folder
from harness.data.files.video_names import VIDEO_EXTENSIONS, is_video

TABLES = {".csv": ",", ".tsv": "\t", ".txt": ""}
"""Suffixes of tables, with the separator of their columns; empty: a tab, else a blank."""
PATH_COLUMNS = ("path", "video", "file", "filename")


def find_videos(paths: Sequence[Path], root: Path | None = None) -> list[Path]:
    """The videos of files, folders and tables, in order and each path once; a missing file is kept.

    A folder stands for all videos below it, sorted by path; a folder of frames is a video. A table (.csv, .tsv, .txt)
    has one path per line, in its column `path` or in its first column.

    Args:
        paths: Files, folders and tables.
        root: Folder that paths in tables are relative to; None for the folder of each table.

    Raises:
        UserError: A folder holds no video, or a table cannot be read or is empty.
    """
    videos: list[Path] = []
    for path in paths:
        if is_frame_folder(path):
            videos.append(path)
        elif path.is_dir():
            videos += _in_folder(path)
        elif path.suffix.lower() in TABLES and path.is_file():
            videos += _in_table(path, root or path.parent)
        else:
            videos.append(path)
    return list(dict.fromkeys(videos))


def _in_folder(folder: Path) -> list[Path]:
    videos: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = [Path(parent) / name for name in names if is_video(name) and not name.startswith(".")]
        is_of_frames = not inside and not folders and has_frames(names)
        videos += [Path(parent)] if is_of_frames else inside
    if not videos:
        raise UserError(
            f"The folder {folder} holds no video file.",
            f"Give a folder with files that end in {', '.join(sorted(VIDEO_EXTENSIONS))}, or name the files.",
        )
    return sorted(videos)


def _in_table(table: Path, root: Path) -> list[Path]:
    try:
        text = table.read_text(encoding="utf-8-sig")
        rows = [row for row in _cells(text, TABLES[table.suffix.lower()], root) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"The table {table} cannot be read: {error}.", "Expected UTF-8 text with one video path per line."
        ) from None
    column = 0
    names = [cell.strip().lower() for cell in rows[0]] if rows else []
    if known := [name for name in PATH_COLUMNS if name in names]:
        column, rows = names.index(known[0]), rows[1:]
    if not rows:
        raise UserError(f"The table {table} names no video.", "Expected one video path per line.")
    for row in rows:
        if len(row) <= column or not row[column].strip():
            raise UserError(f"{table}: the line {row} has no path in column {column + 1}.", "Add the path of a video.")
    return [root / row[column].strip() for row in rows]


def _cells(text: str, separator: str, root: Path) -> list[list[str]]:
    """The cells of each line; without a separator the path alone."""
    if separator:
        return list(csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True))
    return [[_path_of(line.strip(), root)] for line in text.splitlines() if line.strip()]


def _path_of(line: str, root: Path) -> str:
    """The path at the begin of a line of a list, which may end in a class or its id; paths may hold blanks."""
    if "\t" in line:
        return line.partition("\t")[0]
    words = line.split(" ")
    # The longest beginning of the line that is a file.
    for n in range(len(words), 0, -1):
        if (root / (beginning := " ".join(words[:n]))).is_file():
            return beginning
    path, blank, label = line.rpartition(" ")
    return path if blank and label.isdecimal() else line
