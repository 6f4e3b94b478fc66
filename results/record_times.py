"""Times that order the generations of a row: of completion, or of acceptance for records of accepted submissions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from harness.base.errors import UserError
from results.record import Record
from results.submission.accept import ACCEPTANCE, acceptance_times


class RecordTimes:
    """The times of records in several folders.

    Args:
        records: Record files.
        below: Folder whose subfolders may be accepted submissions; None for all folders above the records.
    """

    def __init__(self, records: Iterable[Path], below: Path | None = None) -> None:
        self.damaged: list[tuple[Path, UserError]] = []
        self._accepted: dict[Path, str] = {}
        folders = {path.parent for path in records}
        above = {parent for folder in folders for parent in (folder, *folder.parents)}
        # The outermost `acceptance.json` counts: a submission could bring a file that states its own acceptance.
        for folder in sorted(above, key=lambda folder: len(folder.parts)):
            if below is not None and not folder.is_relative_to(below):
                continue
            if not (folder / ACCEPTANCE).is_file() or any(parent in self._accepted for parent in folder.parents):
                continue
            try:
                self._accepted[folder] = acceptance_times(folder).get(folder, "")
            except UserError as error:
                self._accepted[folder] = ""
                self.damaged.append((folder / ACCEPTANCE, error))

    def of(self, path: Path, record: Record) -> str:
        """UTC time of a record; empty if it is not known.

        Inside an accepted submission, the time that the record states itself does not count.
        """
        folder = self._submission(path)
        return _utc(record.created if folder is None else self._accepted[folder])

    def accepted(self, path: Path) -> bool:
        """Whether a record belongs to an accepted submission."""
        return self._submission(path) is not None

    def _submission(self, path: Path) -> Path | None:
        """The folder of the accepted submission of a record; None if there is none."""
        return next((parent for parent in path.parents if parent in self._accepted), None) if self._accepted else None


def _utc(text: str) -> str:
    """An ISO 8601 time converted to UTC, so that times sort as text; empty for any other text."""
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return ""
