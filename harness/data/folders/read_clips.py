"""Reader of a custom dataset: the clips of a folder or a table, with class and side of the split."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from harness.base.errors import EXIT_FAILED, UserError
from harness.base.text_files import composed
from harness.data.files.frame_folder import has_frames
from harness.data.files.video_names import VIDEO_EXTENSIONS, is_skipped, is_video
from harness.data.folders.class_ids import labels_file, labels_of, named
from harness.data.folders.clip import NOTHING_GIVEN, Clip, ClipSource, GivenFiles
from harness.data.folders.table_clips import clips_of_table
from harness.data.folders.tables import FORMS, SPLIT_NAMES, SUFFIXES, TRAIN, VAL


def read_clips(path: Path) -> tuple[Clip, ...]:
    """All clips of a folder of class folders or of a .csv, .tsv or .txt table, sorted by path.

    Raises:
        UserError: The path does not exist, or its layout is not that of a dataset.
    """
    return read_source(path, NOTHING_GIVEN).clips


def read_source(path: Path, given: GivenFiles) -> ClipSource:
    """A folder of class folders or a table of clips, with class names and notes.

    Raises:
        UserError: The path does not exist, or its layout is not that of a dataset.
    """
    # Names go into records, which are UTF-8: refused here, not after hours of computing.
    _require_utf8(path.resolve().name, path)
    if path.is_dir():
        source = _Folder(path, given).read()
    elif path.is_file():
        source = _table_of_a_side(path, given)
    else:
        raise UserError(f"{path} does not exist.", f"Give a folder of class folders, or a table. {FORMS}")
    clips = sorted(source.clips, key=lambda clip: clip.path)
    for before, clip in pairwise(clips):
        if (before.path, before.label) == (clip.path, clip.label):
            reason = "is in two tables" if before.file == clip.file else "names two files, in NFC and in NFD"
            raise UserError(f"{path}: {clip.path!r} {reason}, expected each clip once.", "Remove or rename one.")
    return replace(source, clips=tuple(clips))


def _table_of_a_side(path: Path, given: GivenFiles) -> ClipSource:
    """The clips of a table. A table `test.csv` without a column for the split is an evaluation list as a whole."""
    side = SPLIT_NAMES.get(path.stem.lower(), "")
    source = clips_of_table(path, given, side)
    if not side or any(clip.split != side for clip in source.clips):
        return source
    kind = "training" if side == "train" else "evaluation"
    note = f"{path.name}: all clips are {kind} clips, by the name of the table; a column split states other sides"
    return replace(source, notes=(*source.notes, note))


def _require_utf8(name: str, path: Path) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise UserError(f"The name of {shown} is not UTF-8.", "Rename it, for example with: convmv -f latin1") from None


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


class _Folder:
    """Reads a dataset folder, and keeps the names of the folders that it skips.

    Args:
        root: The dataset's folder.
        given: Class names and, for tables in the folder, the video root.
    """

    def __init__(self, root: Path, given: GivenFiles) -> None:
        self._root = root
        self._given = given
        self._skipped: dict[str, None] = {}

    def read(self) -> ClipSource:
        """The clips of all class folders, or of the tables `train.csv` and `val.csv`.

        Raises:
            UserError: The folder is neither.
        """
        children, tables = self._folders(self._root), self._tables()
        if tables and (not children or len(tables) > 1):  # the folders beside two tables hold their videos
            return self._of_tables(tables)
        if not children:
            loose = sum(is_video(p.name) for p in self._root.iterdir())
            content = f"{loose} loose videos and no folder" if loose else "no folder"
            raise UserError(
                f"{self._root} holds {content}, expected one folder for each class.",
                "Put the videos of each class into a folder named after the class, or give a CSV with the columns "
                "path,class.",
            )
        clips = list(self._clips(children))
        folders = {clip.label: f"{self._root}, folder {clip.label}" for clip in clips}
        labels = labels_of(self._root, self._given) if self._given.labels or all(map(str.isdecimal, folders)) else None
        names = named([(where, name) for name, where in folders.items()], self._root, labels)
        name_of = dict(zip(folders, names, strict=True))
        return ClipSource(tuple(replace(clip, label=name_of[clip.label]) for clip in clips), labels, self._notes())

    def _notes(self) -> tuple[str, ...]:
        if not self._skipped:
            return ()
        names = list(self._skipped)
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return (f"{self._root}: folders that are skipped: {', '.join(names[:5])}{more}",)

    def _folders(self, path: Path) -> list[Path]:
        """The sub-folders of a folder, without hidden ones and those of other systems."""
        children = sorted(path.iterdir())
        for child in [child for child in children if is_skipped(child.name)]:
            children.remove(child)
            if child.is_dir():
                self._skip(child)
        for child in children:
            _require_utf8(child.name, child)
            _refuse_loop(child, (path.resolve(),))
        return [child for child in children if child.is_dir()]

    def _skip(self, folder: Path) -> None:
        self._skipped[folder.relative_to(self._root).as_posix()] = None

    def _tables(self) -> dict[str, Path]:
        """The tables of the folder that are named `train`, `val`, `validation` or `test`, by lower-case name."""
        return {
            file.stem.lower(): file
            for file in sorted(self._root.iterdir())
            if file.stem.lower() in SPLIT_NAMES and file.suffix.lower() in SUFFIXES and file.is_file()
        }

    def _of_tables(self, tables: Mapping[str, Path]) -> ClipSource:
        """The clips of the tables of the two sides."""
        self._require_one_evaluation(set(tables))
        given = replace(self._given, labels=self._given.labels or labels_file(self._root))
        read = [clips_of_table(file, given, SPLIT_NAMES[side]) for side, file in tables.items()]
        clips = tuple(clip for source in read for clip in source.clips)
        return ClipSource(clips, read[0].labels, tuple(note for source in read for note in source.notes))

    def _require_one_evaluation(self, sides: set[str]) -> None:
        if len(evaluated := sides & set(VAL)) > 1:
            raise UserError(
                f"{self._root} holds {', '.join(sorted(sides))}: more than one evaluation folder or table, expected "
                "at most one.",
                f"Keep train and one of {', '.join(sorted(evaluated))}; move the others out.",
            )

    def _clips(self, children: Sequence[Path]) -> Iterator[Clip]:
        by_name = {child.name.lower(): child for child in children}
        sides = set(by_name) & set(SPLIT_NAMES)
        others = [child for name, child in by_name.items() if name not in sides]
        if others and sides & set(TRAIN) and sides & set(VAL):
            # Folders of annotations may lie beside the two sides; with videos they might be classes.
            with_videos = [child.name for child in others if _holds_videos(child)]
            if with_videos:
                raise UserError(
                    f"{self._root} holds {', '.join(sorted(sides))} and also {', '.join(with_videos[:5])} with videos, "
                    "expected either class folders or the sides of a split.",
                    "Move the class folders into train/ and val/, or rename the class folders of these names.",
                )
            for child in others:
                self._skip(child)
        elif others or not sides:
            for folder in children:
                yield from self._class(folder, "")
            return
        self._require_one_evaluation(sides)
        for side in sorted(sides):
            for folder in self._folders(by_name[side]):
                yield from self._class(folder, SPLIT_NAMES[side])

    def _class(self, folder: Path, split: str) -> Iterator[Clip]:
        """The clips of a class folder, sub-folders included."""
        count = other = 0
        resolved: dict[str, tuple[Path, ...]] = {str(folder): (self._root.resolve(), folder.resolve())}
        for parent, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
            for name in [name for name in folders if is_skipped(name)]:
                self._skip(Path(parent) / name)
            folders[:] = sorted(name for name in folders if not is_skipped(name))
            for name in folders:
                path = Path(parent) / name
                _require_utf8(name, path)
                _refuse_loop(path, resolved[parent])
                resolved[str(path)] = (*resolved[parent], path.resolve())
            if not folders and has_frames(files) and not any(is_video(name) for name in files):
                count += 1
                yield _frames_as_clip(self._root, folder, Path(parent), split)
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
                yield Clip(composed(file.relative_to(self._root).as_posix()), folder.name, split, file)
        if not count:
            content = f"but {other} other files" if other else "it is empty"
            raise UserError(
                f"The class folder {folder} holds no videos, {content}.",
                f"Remove the folder, or add videos to it ({', '.join(sorted(VIDEO_EXTENSIONS))}).",
            )


def _holds_videos(folder: Path) -> bool:
    return any(
        has_frames(files) or any(is_video(name) for name in files if not name.startswith("."))
        for _, _, files in os.walk(folder)
    )


def _frames_as_clip(root: Path, folder: Path, frames: Path, split: str) -> Clip:
    if frames == folder:
        raise UserError(
            f"The class folder {folder} holds frames, expected videos or one folder of frames for each clip.",
            f"Move the frames of each clip into a folder of their own: {folder.name}/CLIP/img_00001.jpg.",
        )
    return Clip(composed(frames.relative_to(root).as_posix()), folder.name, split, frames)


def _refuse(error: OSError) -> None:
    """Raise the error of a sub-folder: `os.walk` would leave it out without a message, and the lists be shorter."""
    raise UserError(
        f"The folder {error.filename} cannot be read ({error.strerror}).",
        "Change its permissions, or move it out of the dataset.",
        EXIT_FAILED,
    )
