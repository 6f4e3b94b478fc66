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


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """The videos of files, folders and tables, in order and each path once; a missing file is kept.

    A folder stands for all videos below it, sorted by path; a folder of frames is a video. A table (.csv, .tsv, .txt)
    has one path per line, relative to the folder of the table, in its column `path` or in its first column.

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
            videos += _in_table(path)
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


def _in_table(table: Path) -> list[Path]:
    try:
        text = table.read_text(encoding="utf-8-sig")
        rows = [row for row in _cells(text, table) if any(cell.strip() for cell in row)]
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
    return [table.parent / row[column].strip() for row in rows]


def _cells(text: str, table: Path) -> list[list[str]]:
    """The cells of each line. In a .txt table the last words may be class or id, as in drawn lists."""
    separator = TABLES[table.suffix.lower()]
    if separator:
        return list(csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True))
    rows = []
    for line in filter(None, map(str.strip, text.splitlines())):
        # A path may contain blanks: the longest beginning of the line that is a file is the path.
        words = line.split("\t") if "\t" in line else line.split(" ")
        lengths = range(len(words), 0, -1)
        path = next((" ".join(words[:n]) for n in lengths if (table.parent / " ".join(words[:n])).is_file()), words[0])
        rows.append([path])
    return rows
