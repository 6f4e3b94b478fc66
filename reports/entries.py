"""Records of a folder, with the times that order their generations. Damaged records are left out and reported."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
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
    """The readable records of a folder, sorted by path, and the files that are left out."""

    entries: tuple[Entry, ...]
    damaged: tuple[Damaged, ...] = ()


def read_entries(runs: Path) -> Entries:
    """All records below a run folder.

    Raises:
        UserError: The folder is missing, or contains no record file.
    """
    if not runs.is_dir():
        raise UserError(
            f"The run folder {runs} does not exist.", "Choose another folder, or create records: python -m harness run"
        )
    paths = find_records(runs)
    if not paths:
        raise UserError(
            f"The run folder {runs} contains no record (*.record.json).", "Create records: python -m harness run"
        )
    return entries_of(paths, runs)


def entries_of(paths: Iterable[Path], runs: Path) -> Entries:
    """The records in the files `paths`, which are below the run folder `runs`."""
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
    return Entries(tuple(entries), tuple(damaged))


def _damaged(path: Path, runs: Path, error: UserError) -> Damaged:
    name = path.relative_to(runs).as_posix()
    message = error.message.replace(str(path), name)
    return Damaged(name, message if name in message else f"{name}: {message}", error.hint)
