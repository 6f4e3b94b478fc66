"""Reader of a table of clips: columns by the names of the header, or by their content where there is no header.

Accepted are comma, semicolon, tab and vertical bar between the cells, and lists `path label` with blanks: the label is
everything behind the extension of a video, or behind the last blank if it is a number.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError
from harness.base.text_files import composed, read_text
from harness.data.files.video_names import VIDEO_EXTENSIONS, is_video

TRAIN = {"train": "train", "training": "train"}
VAL = {"val": "val", "validation": "val", "test": "val", "valid": "val", "testing": "val"}
SPLIT_NAMES = {**TRAIN, **VAL}
SUFFIXES = (".csv", ".tsv", ".txt")
"""Suffixes of tables of videos."""
GROUP_COLUMN = "group"
"""Name of the column of a table that states the source of each clip."""
_PATHS = ("path", "video", "file", "filename", "video_path", "file_path", "filepath", "video_name", "file_name", "clip")
_CLASSES = ("class", "label", "action", "category", "class_name", "label_name", "classname", "activity", "action_name")
_IDS = ("class_id", "label_id", "class_index", "label_index", "class_idx", "label_idx", "target")
_SPLITS = ("split", "subset", "set", "partition")
COLUMNS = {"path": _PATHS, "class": (*_CLASSES, *_IDS), "split": _SPLITS, "group": (GROUP_COLUMN,)}
"""Accepted names of each column."""
_KNOWN = {name for names in COLUMNS.values() for name in names}
FORMS = (
    f"Expected rows of path,class and, optionally, split and {GROUP_COLUMN}; a header names its columns "
    f"{' or '.join(_PATHS[:4])}, and {' or '.join(_CLASSES[:4])}."
)
"""The accepted forms, for hints."""
_AFTER_VIDEO = re.compile(rf"(.*\.(?:{'|'.join(sorted(VIDEO_EXTENSIONS))}))\s+(\S.*)", re.IGNORECASE)
_EXCEL_MARK = re.compile(r"sep=([,;\t|])(?=\n)")
"""First line by which Excel states the mark between cells."""
_RAW_FRAMES = re.compile(rf"(?!.*\.(?:{'|'.join(sorted(VIDEO_EXTENSIONS))})\s).*\S\s+\d+\s+\d+", re.IGNORECASE)
"""A row of mmaction2's lists of frame folders: folder, number of frames, class id."""
_Line = tuple[int, list[str]]  # line number in the file, and cells


@dataclass(frozen=True)
class Row:
    """A row of a table, with the texts of its cells.

    Args:
        line: Number of its line in the file.
        path: Path of the clip.
        label: Name or id of the class.
        split: `train`, `val`, or empty.
        group: Source of the clip, or empty.
    """

    line: int
    path: str
    label: str
    split: str = ""
    group: str = ""


@dataclass(frozen=True)
class Table:
    """The rows of a table, and the names of the columns that were not read."""

    rows: tuple[Row, ...]
    ignored: tuple[str, ...] = ()


def read_table(table: Path) -> Table:
    """Read a .csv, .tsv or .txt table.

    Raises:
        UserError: The file is missing, not text, or not a table of paths and classes; the message names the line.
    """
    if table.suffix.lower() not in SUFFIXES:
        raise UserError(f"{table} is neither a folder nor a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} table.", FORMS)
    text = read_text(table, "The table", FORMS).replace("\r\n", "\n").replace("\r", "\n")
    stated = _EXCEL_MARK.match(text)
    if stated is not None:  # the number of lines stays
        text = text[stated.end() :]
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise UserError(f"{table} has no rows.", FORMS)
    delimiter = stated[1] if stated is not None else _delimiter(table, [line for _, line in lines])
    if delimiter:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            rows = [(reader.line_num, [composed(cell.strip()) for cell in row]) for row in reader]
        except csv.Error as error:
            raise UserError(f"{table} cannot be read: line {reader.line_num}: {error}.", FORMS) from None
        rows = [(line, row) for line, row in rows if any(row)]
    else:
        rows = [(line, [composed(cell) for cell in row]) for line, row in _words(table, lines)]
    return _with_columns(table, rows)


def _delimiter(table: Path, lines: Sequence[str]) -> str:
    """The mark between the cells of a table; empty for blanks."""
    head = lines[0]
    for mark in "\t,;|":
        cells = [cell.strip(' "') for cell in head.split(mark)]
        if len(cells) > 1 and (_is_header(cells) or any(map(is_video, cells))):
            return mark
    suffix = table.suffix.lower()
    if suffix == ".tsv" or any("\t" in line for line in lines):
        return "\t"
    if suffix == ".txt":
        return ""
    present = [mark for mark in ",;|" if mark in head]
    # A list `path label` may have the suffix .csv.
    return present[0] if present else "" if " " in head.strip() else ","


def _is_header(cells: Sequence[str]) -> bool:
    """Whether a row names the column of the paths; the path of a clip has no such name."""
    return any(_column_name(cell) in _PATHS for cell in cells) and not any(map(is_video, cells))


def _column_name(cell: str) -> str:
    """A header cell in the spelling of the accepted names: `Video Path` is `video_path`."""
    return cell.strip().lower().replace(" ", "_").replace("-", "_")


def _words(table: Path, lines: Sequence[tuple[int, str]]) -> list[_Line]:
    """The cells of a table that is separated by blanks: path, class and, if every line ends in one, split.

    Class names and paths may contain blanks. A number at the end of every line is the id of a class. The last word is
    a split only if every line ends in one: `board train` may be a class.
    """
    rows: list[_Line] = []
    header = lines[0][1].split()
    if _is_header(header):
        if len(header) > 2 and [name.lower() for name in header[2:]] != ["split"]:
            raise UserError(
                f"{table}, line {lines[0][0]}: columns {', '.join(header)} between blanks, expected path, class and, "
                "optionally, split.",
                "Separate the columns of a .txt table by tabs.",
            )
        rows.append((lines[0][0], header))
        lines = lines[1:]
    if lines and all(map(_RAW_FRAMES.fullmatch, (line for _, line in lines))):
        return [*rows, *((number, [line.rsplit(None, 2)[0], line.rsplit(None, 1)[1]]) for number, line in lines)]
    ends = [line.rsplit(None, 1) for _, line in lines]
    has_split = [len(end) == 2 and end[1].lower() in SPLIT_NAMES for end in ends]
    if any(has_split) and not all(has_split):
        with_split, without = has_split.index(True), has_split.index(False)
        raise UserError(
            f"{table}, line {lines[without][0]}: no split, but line {lines[with_split][0]} ends in "
            f"{ends[with_split][1]!r}, expected a split on every line or on none.",
            "Separate the columns by tabs if the word is part of a class name.",
        )
    for (number, line), end in zip(lines, ends, strict=True):
        rows.append((number, [*_path_and_class(end[0]), end[1]] if all(has_split) else _path_and_class(line)))
    return rows


def _path_and_class(line: str) -> list[str]:
    """The path and the class of a line, split as the module states, or at the first blank."""
    if match := _AFTER_VIDEO.fullmatch(line):
        return [match[1], match[2]]
    words = line.rsplit(None, 1)
    return words if len(words) == 2 and words[1].isdecimal() else line.split(None, 1)


@dataclass(frozen=True)
class _Columns:
    """Positions of the columns of a table.

    Args:
        path, label, split, group: Positions; -1 for a column that the table does not have.
        width: Number of cells of every row.
        words: The columns in words, for messages.
        ignored: Names of the columns that are not read.
    """

    path: int
    label: int
    split: int
    group: int
    width: int
    words: str
    ignored: tuple[str, ...] = ()


def _with_columns(table: Path, rows: Sequence[_Line]) -> Table:
    """The rows with their cells by column."""
    line, first = rows[0]
    if _is_header(first):
        columns = _named(table, line, first, [row for _, row in rows[1:]])
        rows = rows[1:]
    # A first row without a video, above a row with a video, is a header of unknown names.
    elif not any(map(is_video, first)) and (
        any(_column_name(cell) in _KNOWN for cell in first) or (len(rows) > 1 and any(map(is_video, rows[1][1])))
    ):
        raise _unknown_header(table, line, first, "a column of paths")
    else:
        columns = _by_content(first)
    if not rows:
        raise UserError(f"{table} has no rows.", FORMS)
    read = [index for index in (columns.path, columns.label, columns.split, columns.group) if index >= 0]
    result = []
    for line, row in rows:
        if len(row) != columns.width or columns.width < 2 or not all(row[index] for index in read):
            raise UserError(f"{table}, line {line}: {row}, expected {columns.words}, the same on every line.", FORMS)
        split = row[columns.split].lower() if columns.split >= 0 else ""
        if split and split not in SPLIT_NAMES:
            raise UserError(
                f"{table}, line {line}: split {row[columns.split]!r}, expected one of {', '.join(SPLIT_NAMES)}."
            )
        group = row[columns.group] if columns.group >= 0 else ""
        result.append(Row(line, row[columns.path], row[columns.label], SPLIT_NAMES.get(split, ""), group))
    return Table(tuple(result), columns.ignored)


def _named(table: Path, line: int, header: Sequence[str], rows: Sequence[Sequence[str]]) -> _Columns:
    """The columns of a table by its header.

    Raises:
        UserError: The header names no class, or a column whose name is nearly that of a known one.
    """
    names = [_column_name(name) for name in header]

    def column(kind: str) -> int:
        return next((names.index(name) for name in COLUMNS[kind] if name in names), -1)

    path = column("path")
    classes = [i for i, name in enumerate(names) if name in COLUMNS["class"] and i != path]
    if not classes and len(names) == 2:
        classes = [1 - path]  # the only other column
    if not classes:
        raise _unknown_header(table, line, header, "a column of classes")
    # Of an id and a name, the name: class texts are made of names.
    worded = [i for i in classes if not all(len(row) > i and row[i].isdecimal() for row in rows)]
    label, split, group = (worded or classes)[0], column("split"), column("group")
    ignored = [i for i in range(len(names)) if i not in (path, label, split, group)]
    for name in (names[i] for i in ignored if names[i] not in _KNOWN):
        # A misspelt optional column would be ignored, and the split be drawn instead of taken.
        if near := difflib.get_close_matches(name, (*_SPLITS[:2], GROUP_COLUMN), 1, 0.75):
            raise UserError(
                f"{table}, line {line}: there is no column {name!r}. Did you mean {near[0]!r}?",
                f"Rename the column, or remove it. {FORMS}",
            )
    shown = tuple(header[i] for i in ignored if header[i] and not names[i].startswith("unnamed"))
    return _Columns(path, label, split, group, len(names), ",".join(header), shown)


def _by_content(first: Sequence[str]) -> _Columns:
    """The columns of a table without header: path, class and split, where the path is the cell that names a video.

    A class before the path is accepted in tables of two columns, and so is the row number that pandas writes first.
    """
    words = "path,class or path,class,split"
    path = next((i for i, cell in enumerate(first) if is_video(cell)), 0)
    if path == 1 and len(first) == 2:
        return _Columns(1, 0, -1, -1, 2, "class,path")
    start = 1 if path == 1 and first[0].isdecimal() else 0
    if len(first) - start not in (2, 3):
        return _Columns(start, -1, -1, -1, 0, words)  # no row has this width: the first one is refused
    return _Columns(start, start + 1, start + 2 if len(first) - start == 3 else -1, -1, len(first), words)


def _unknown_header(table: Path, line: int, header: Sequence[str], absent: str) -> UserError:
    hint = f"Name the columns {' or '.join(_PATHS)}, and {' or '.join((*_CLASSES, *_IDS))}; {', '.join(_SPLITS)} and "
    hint += f"{GROUP_COLUMN} are optional, and other columns are not read."
    if {"youtube_id", "time_start"} <= {name.lower() for name in header}:
        hint = "The annotations of Kinetics are read by: python -m harness data prepare k400 --annotations DIR"
    return UserError(f"{table}, line {line}: columns {', '.join(header)}, without {absent}.", hint)
