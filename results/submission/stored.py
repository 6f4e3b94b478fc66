"""Records and fits of a run folder, for `submit pack`."""

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
    """A record and its file."""

    path: Path
    record: Record

    @property
    def m(self) -> Measurement:
        """Measurement of the record."""
        return self.record.measurement

    @cached_property
    def keys(self) -> Keys:
        """Keys of the measurement."""
        return keys_of(self.m)

    @property
    def predictions(self) -> Path:
        """Path of the predictions file of the record."""
        return self.path.with_name(self.record.predictions.file)


StoredRow = Row[Stored]


def in_folder_of(path: Path, runs: Path, method: str) -> bool:
    """True if a parent folder of a file is named `METHOD`, or `METHOD-` and a hash of options."""
    form = re.compile(rf"{re.escape(method)}(-[0-9a-f]{{6}})?")
    return any(form.fullmatch(part) for part in path.relative_to(runs).parts)


def predictions_problem(stored: Stored) -> str:
    """The reason why the predictions of a record cannot be used; empty if they can."""
    try:
        with stored.predictions.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"its predictions {stored.predictions} cannot be read: {error.strerror or error}"
    expected = stored.record.predictions.sha256
    return "" if found == expected else f"its predictions have sha256 {found}, expected {expected}"


FitFiles = Mapping[str, list[tuple[Path, FitFile]]]
"""Finished fits below a run folder by key; one key can have several copies of a fit."""


def finished_fits(runs: Path, damaged: list[str]) -> FitFiles:
    """All finished fits below a run folder; files that cannot be read are added to `damaged`."""
    fits: dict[str, list[tuple[Path, FitFile]]] = defaultdict(list)
    for path in sorted(runs.rglob(FIT_FILE)):
        try:
            if fit := read_fit_file(path.parent):
                fits[fit.key].append((path, fit))
        except UserError as error:
            damaged.append(error.message)
    return fits


def file_of(copies: Iterable[tuple[Path, FitFile]], weights: str) -> tuple[Path, FitFile] | None:
    """The copy of a fit that has the given weights; None if there is none."""
    return next((copy for copy in copies if copy[1].weights.sha256 == weights), None)
