"""The records and fits of a run folder as `submit pack` finds them."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.base.errors import UserError
from results.fit_file import FIT_FILE, FitFile, read_fit_file
from results.generations import Row
from results.measurement import Keys, Measurement, keys_of
from results.record import Record


@dataclass(frozen=True)
class Stored:
    """A record with its file."""

    path: Path
    record: Record

    @property
    def m(self) -> Measurement:
        """The record's measurement."""
        return self.record.measurement

    @cached_property
    def keys(self) -> Keys:
        """Keys of the measurement."""
        return keys_of(self.m)

    @property
    def predictions(self) -> Path:
        """The predictions file beside the record."""
        return self.path.with_name(self.record.predictions.file)


StoredRow = Row[Stored]


def in_folder_of(path: Path, runs: Path, method: str) -> bool:
    """True if a file lies in a folder of a method as far as names tell: `METHOD`, or with the options' hash behind."""
    form = re.compile(rf"{re.escape(method)}(-[0-9a-f]{{6}})?")
    return any(form.fullmatch(part) for part in path.relative_to(runs).parts)


def predictions_problem(stored: Stored) -> str:
    """The reason why the predictions beside a record cannot be used; empty if they can."""
    try:
        with stored.predictions.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"its predictions {stored.predictions} cannot be read: {error.strerror or error}"
    expected = stored.record.predictions.sha256
    return "" if found == expected else f"its predictions have sha256 {found}, expected {expected}"


FitFiles = Mapping[str, list[tuple[Path, FitFile]]]
"""The finished fits below a run folder, by key; copies of a fit stand together."""


def finished_fits(runs: Path, damaged: list[str]) -> FitFiles:
    """All finished fits below a run folder; files that cannot be read are added to `damaged`."""
    found: dict[str, list[tuple[Path, FitFile]]] = defaultdict(list)
    for path in sorted(runs.rglob(FIT_FILE)):
        try:
            if fit := read_fit_file(path.parent):
                found[fit.key].append((path, fit))
        except UserError as error:
            damaged.append(error.message)
    return found


def file_of(there: Iterable[tuple[Path, FitFile]], weights: str) -> tuple[Path, FitFile] | None:
    """The finished fit with given weights among copies of one fit; None if there is none."""
    return next((found for found in there if found[1].weights.sha256 == weights), None)
