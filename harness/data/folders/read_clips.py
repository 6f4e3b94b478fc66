"""Reader of a custom dataset: the clips of a folder or a table, with class and side of the split."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import EXIT_FAILED, UserError
from harness.data.files.frame_folder import has_frames, is_frame_folder
from harness.data.files.video_names import VIDEO_EXTENSIONS, is_video

_TRAIN = {"train": "train", "training": "train"}
_VAL = {"val": "val", "validation": "val", "test": "val"}
SPLIT_NAMES = {**_TRAIN, **_VAL}
GROUP_COLUMN = "group"
"""Name of the column of a table that states the source of each clip."""
_COLUMNS = ("path", "class")


@dataclass(frozen=True)
class Clip:
    """A clip of a custom dataset.

    Args:
        path: The path in lists: relative to the dataset's root, with forward slashes.
        label: Class name.
        split: `train`, `val`, or empty where the dataset states no split.
        file: The file on disk, or the folder of its frames.
        group: Source of the clip, unique in the dataset; empty where the table does not state it.
    """

    path: str
    label: str
    split: str
    file: Path
    group: str = ""


def read_clips(path: Path) -> tuple[Clip, ...]:
    """All clips of a folder of class folders or of a .csv, .tsv or .txt table, sorted by path.

    Raises:
        UserError: The path does not exist, or its layout is not that of a dataset.
    """
    # Names go into records, which are UTF-8: refused here, not after hours of computing.
    _require_utf8(path.resolve().name, path)
    if path.is_dir():
        return tuple(sorted(_read_folder(path), key=lambda clip: clip.path))
    if path.is_file():
        return tuple(sorted(_read_table(path), key=lambda clip: clip.path))
    raise UserError(f"{path} does not exist.", "Give a folder of class folders, or a CSV with the columns path,class.")


def _require_utf8(name: str, path: Path) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise UserError(f"The name of {shown} is not UTF-8.", "Rename it, for example with: convmv -f latin1") from None


def _folders(path: Path) -> list[Path]:
    children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    for child in children:
        _require_utf8(child.name, child)
        _refuse_loop(child, (path.resolve(),))
    return [child for child in children if child.is_dir()]


def _refuse_loop(path: Path, parents: tuple[Path, ...]) -> None:
    """Refuse a link to a folder that contains the link: its clips would be listed up to 40 times, each as a new path.

    Args:
        path: A file, folder or link.
        parents: The resolved folders that lead to it. They need not be parents of each other: links may lie between.
    """
    if not path.is_symlink():
        return
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # Python 3.11 and 3.12 raise RuntimeError for a link to itself
        if isinstance(error, RuntimeError) or error.errno == errno.ELOOP:
            raise _loop(path, "itself") from None
        return  # a link to a missing file: reported when the clip is read
    if any(target == parent or target in parent.parents for parent in parents):
        raise _loop(path, str(target))


def _loop(path: Path, target: str) -> UserError:
    return UserError(f"{path} is a link to {target}, which contains it: a loop.", f"Remove the link: rm {path}")


def _read_folder(root: Path) -> Iterator[Clip]:
    children = _folders(root)
    if not children:
        loose = sum(is_video(p.name) for p in root.iterdir())
        content = f"{loose} loose videos and no folder" if loose else "no folder"
        raise UserError(
            f"{root} holds {content}, expected one folder for each class.",
            "Put the videos of each class into a folder named after the class, or give a CSV with the columns "
            "path,class.",
        )
    sides = {child.name.lower() for child in children}
    if sides <= set(SPLIT_NAMES):
        if len(sides & set(_VAL)) > 1:
            raise UserError(
                f"{root} holds {', '.join(sorted(sides))}: more than one evaluation folder, expected at most one.",
                f"Keep train and one of {', '.join(sorted(sides & set(_VAL)))}; move the other folders out.",
            )
        for child in children:
            for folder in _folders(child):
                yield from _read_class(root, folder, SPLIT_NAMES[child.name.lower()])
        return
    for folder in children:
        yield from _read_class(root, folder, "")


def _read_class(root: Path, folder: Path, split: str) -> Iterator[Clip]:
    count = other = 0
    resolved: dict[str, tuple[Path, ...]] = {str(folder): (root.resolve(), folder.resolve())}
    for parent, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            path = Path(parent) / name
            _require_utf8(name, path)
            _refuse_loop(path, resolved[parent])
            resolved[str(path)] = (*resolved[parent], path.resolve())
        if not folders and has_frames(files) and not any(is_video(name) for name in files):
            count += 1
            yield _frames_as_clip(root, folder, Path(parent), split)
            continue
        for name in sorted(files):
            if name.startswith("."):
                continue
            _require_utf8(name, Path(parent) / name)
            _refuse_loop(Path(parent) / name, ())
            if not is_video(name):
                other += 1
                continue
            count += 1
            file = Path(parent) / name
            yield Clip(file.relative_to(root).as_posix(), folder.name, split, file)
    if not count:
        content = f"but {other} other files" if other else "it is empty"
        raise UserError(
            f"The class folder {folder} holds no videos, {content}.",
            f"Remove the folder, or add videos to it ({', '.join(sorted(VIDEO_EXTENSIONS))}).",
        )


def _frames_as_clip(root: Path, folder: Path, frames: Path, split: str) -> Clip:
    if frames == folder:
        raise UserError(
            f"The class folder {folder} holds frames, expected videos or one folder of frames for each clip.",
            f"Move the frames of each clip into a folder of their own: {folder.name}/CLIP/img_00001.jpg.",
        )
    return Clip(frames.relative_to(root).as_posix(), folder.name, split, frames)


def _refuse(error: OSError) -> None:
    """Raise the error of a sub-folder: `os.walk` would leave it out without a message, and the lists be shorter."""
    raise UserError(
        f"The folder {error.filename} cannot be read ({error.strerror}).",
        "Change its permissions, or move it out of the dataset.",
        EXIT_FAILED,
    )


def _read_table(table: Path) -> Iterator[Clip]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            if table.suffix.lower() == ".csv":
                rows = [(reader.line_num, row) for reader in [csv.reader(file, strict=True)] for row in reader]
            elif table.suffix.lower() == ".tsv":
                rows = [(reader.line_num, row) for reader in [csv.reader(file, "excel-tab")] for row in reader]
            elif table.suffix.lower() == ".txt":
                rows = _split_lines(table, [(i, line.strip()) for i, line in enumerate(file, 1) if line.strip()])
            else:
                raise UserError(f"{table} is neither a folder nor a .csv, .tsv or .txt table.")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} cannot be read: {error}", "Expected UTF-8 text of path,class.") from None
    rows = [(line, [cell.strip() for cell in row]) for line, row in rows if any(cell.strip() for cell in row)]
    columns: tuple[str, ...] = ()
    if rows and rows[0][1][0].lower() in ("path", "video", "file", "filename"):
        columns = _named_columns(table, *rows[0])
        rows = rows[1:]
    if not rows:
        raise UserError(f"{table} has no rows.", "Expected the columns path,class and, optionally, split and group.")
    width = len(columns or rows[0][1])
    columns = columns or (*_COLUMNS, "split")[:width]
    seen: dict[str, int] = {}
    for line, row in rows:
        where = f"{table}, line {line}"
        if len(row) != width or not 2 <= width <= len(columns) or not all(row):
            expected = ",".join(columns) if GROUP_COLUMN in columns else "path,class or path,class,split"
            raise UserError(f"{where}: {row}, expected {expected}, the same on every line.")
        cells = dict(zip(columns, row, strict=True))
        split = cells.get("split", "").lower()
        if split and split not in SPLIT_NAMES:
            raise UserError(f"{where}: split {cells['split']!r}, expected one of {', '.join(SPLIT_NAMES)}.")
        path = _portable(row[0])
        if path in seen:
            raise UserError(f"{where}: {path!r} is a duplicate of line {seen[path]}, expected each clip once.")
        seen[path] = line
        video = table.parent / row[0]
        if not _is_clip(video):
            raise UserError(
                f"{where}: the file {str(video)[:300]} does not exist.", "Give paths relative to the table's folder."
            )
        yield Clip(path, row[1], SPLIT_NAMES.get(split, ""), video, cells.get(GROUP_COLUMN, ""))


def _named_columns(table: Path, line: int, header: list[str]) -> tuple[str, ...]:
    """The columns of a table whose header names the column `group`; empty for any other header.

    Raises:
        UserError: The header has the column `group` and a column that is not known, or is separated by blanks.
    """
    names = [name.lower() for name in header]
    if not any(name.split()[-1:] == [GROUP_COLUMN] for name in names[1:]):
        return ()
    further = names[2:]
    if sorted(further) not in ([GROUP_COLUMN], [GROUP_COLUMN, "split"]):
        raise UserError(
            f"{table}, line {line}: columns {', '.join(header)}, expected path, class, group and, optionally, split.",
            "Separate the columns of a .txt table by tabs.",
        )
    return (*_COLUMNS, *further)


def _split_lines(table: Path, lines: list[tuple[int, str]]) -> list[tuple[int, list[str]]]:
    """The cells of a text table: separated by tabs, or path, class and split by blanks.

    A class name may contain blanks. The last word is a split only if every line ends in one: `board train` may be a
    class.
    """
    if any("\t" in line for _, line in lines):
        return [(number, line.split("\t")) for number, line in lines]
    rows = [(number, line.split(None, 1)) for number, line in lines]
    ends = [row[1].rsplit(None, 1) if len(row) == 2 else [] for _, row in rows]
    has_split = [len(end) == 2 and end[1].lower() in SPLIT_NAMES for end in ends]
    if rows and all(has_split):
        return [(number, [row[0], *end]) for (number, row), end in zip(rows, ends, strict=True)]
    if any(has_split):
        with_split, without = has_split.index(True), has_split.index(False)
        raise UserError(
            f"{table}, line {rows[without][0]}: no split, but line {rows[with_split][0]} ends in "
            f"{ends[with_split][1]!r}, expected a split on every line or on none.",
            "Separate the columns by tabs if the word is part of a class name.",
        )
    return rows


def _is_clip(path: Path) -> bool:
    """Return whether a path is a file or a frame folder; False for names that are too long for a file system."""
    try:
        return path.is_file() or is_frame_folder(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def _portable(path: str) -> str:
    """The path in lists: of an absolute path only the last two parts, so that lists are equal on all machines."""
    parts = Path(path).parts
    return "/".join(parts[-2:]) if Path(path).is_absolute() else Path(path).as_posix()
