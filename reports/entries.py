"""Records of a folder, with the times that order their generations. Damaged records are left out and reported."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.errors import UserError
from results.measurement import Measurement
from results.record import Record, find_records, read_record
from results.record_times import RecordTimes


@dataclass(frozen=True)
class Entry:
    """A record on disk.

    Args:
        path: File of the record.
        name: The file relative to the run folder, with `/`.
        record: Content of the file.
        time: UTC time that orders generations: the time of acceptance for a record of an accepted submission, the time
            of completion for any other record. Empty if the time is not known.
        accepted: Whether the record belongs to an accepted submission.
    """

    path: Path
    name: str
    record: Record
    time: str
    accepted: bool = False

    @property
    def measurement(self) -> Measurement:
        """The measurement of the record."""
        return self.record.measurement

    @property
    def predictions(self) -> Path:
        """The predictions file of the record, in the same folder."""
        return self.path.with_name(self.record.predictions.file)

    def without_paths(self, message: str) -> str:
        """A message about the record or its predictions, with file names instead of absolute paths."""
        return message.replace(str(self.path), self.name).replace(f"{self.path.parent}{os.sep}", "")


@dataclass(frozen=True)
class Damaged:
    """A file that is left out of a report.

    Args:
        name: The file relative to the run folder, with `/`.
        message: The error, with the file's name instead of its absolute path, because boards are published.
        hint: The command or action that fixes it.
    """

    name: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"left out: {self.message} {self.hint}".strip()


@dataclass(frozen=True)
class Entries:
    """The readable records of one or several run folders, sorted by path.

    Args:
        entries: The records.
        damaged: Files that are left out.
        root: The folder that names of files are relative to: the run folder, or the folder that contains all of them.
    """

    entries: tuple[Entry, ...]
    damaged: tuple[Damaged, ...] = ()
    root: Path = Path()


def read_entries(runs: Path | Sequence[Path], allow_none: bool = False) -> Entries:
    """All records below run folders.

    A record that lies in two folders counts once: `results.generations` takes one record for each part and repeat.

    Args:
        runs: A run folder, or the run folders of several machines.
        allow_none: Whether a single run folder may contain no record file.

    Raises:
        UserError: A folder is missing, contains no record file, or lies in another one.
    """
    if isinstance(runs, Path):
        return entries_of(_records_in(runs, allow_none), runs)
    # Absolute, because the names of files are relative to the folder that contains all run folders.
    folders = [folder.resolve() for folder in dict.fromkeys(runs)]
    if len(folders) == 1:
        return read_entries(runs[0], allow_none)
    for inner, outer in itertools.permutations(folders, 2):
        if inner.is_relative_to(outer):
            raise UserError(
                f"The run folder {inner} is or lies in the run folder {outer}: its records would be shown twice.",
                f"Name {outer} alone.",
            )
    root = Path(os.path.commonpath(folders))
    found = entries_of([path for folder in folders for path in _records_in(folder, False)], root)
    return replace(found, entries=tuple(sorted(found.entries, key=lambda entry: entry.name)))


def _records_in(runs: Path, allow_none: bool) -> list[Path]:
    if not runs.is_dir():
        raise UserError(
            f"The run folder {runs} does not exist.", "Choose another folder, or create records: python -m harness run"
        )
    paths = find_records(runs)
    if not paths and not allow_none:
        raise UserError(
            f"The run folder {runs} contains no record (*.record.json).", "Create records: python -m harness run"
        )
    return paths


def entries_of(paths: Iterable[Path], runs: Path) -> Entries:
    """The records in the files `paths`, which are below the folder `runs`."""
    paths = list(paths)
    times = RecordTimes(paths, runs)
    damaged = [_damaged(path, runs, error) for path, error in times.damaged]
    entries = []
    for path in paths:
        name = path.relative_to(runs).as_posix()
        try:
            record = read_record(path)
        except UserError as error:
            damaged.append(_damaged(path, runs, error))
            continue
        entries.append(Entry(path, name, record, times.of(path, record), times.accepted(path)))
    return Entries(tuple(entries), tuple(damaged), runs)


def _damaged(path: Path, runs: Path, error: UserError) -> Damaged:
    name = path.relative_to(runs).as_posix()
    message = error.message.replace(str(path), name)
    return Damaged(name, message if name in message else f"{name}: {message}", error.hint)
