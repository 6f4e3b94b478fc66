"""The rows that `submit pack` takes: whole rows with one recipe each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.base.errors import EXIT_FAILED, UserError, unknown_name
from results.generations import Dated, generations
from results.measurement import Value
from results.measurement_words import plain
from results.record import find_records, read_record
from results.submission.check_rows import OF_ONE_FIT
from results.submission.stored import FitFiles, Stored, StoredRow, file_of, in_folder_of, predictions_problem
from results.submission.submission import parent_of
from results.submission.variants import one_variant


@dataclass(frozen=True)
class Choice:
    """The choice of rows.

    Args:
        method: Registered name.
        protocols, datasets: Names to include; empty for all.
        options: Required values of the options of the method, as typed.
        recipe: Required values of recipe settings, as typed.
        rows: First digits of row keys; all matching rows are taken.
        version: Version of the method; None for the highest measured version.
    """

    method: str
    protocols: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[str, ...] = ()
    version: int | None = None


@dataclass
class Chosen:
    """The chosen rows, and all other records with the reasons.

    Args:
        rows: One row for each protocol and dataset, unless rows were named.
        left_out: Records that were not chosen, with the reason.
        damaged: Files that cannot be read or used, with the reason; they may belong to the method.
    """

    rows: list[StoredRow] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def choose(runs: Path, choice: Choice, fits: FitFiles) -> Chosen:
    """Choose the rows of a method below a run folder.

    Raises:
        UserError: There is no record of the method, no matching record, or several variants to choose from.
    """
    chosen = Chosen()
    records = _of_method(runs, choice, chosen)
    for test in (_version(records, choice), _selected(choice), _named(choice), _whole, _of_present_fits(fits)):
        records = _kept(records, test, chosen.left_out)
    # Order matters: versions and fits are compared only among the records that the choice left.
    records = _kept(records, _newest_protocols(records), chosen.left_out)
    records = _kept(records, _one_fit(records), chosen.left_out)
    if not records:
        message = f"No record of {choice.method!r} matches this choice."
        raise UserError(message, "\n  ".join((chosen.left_out + chosen.damaged)[:8]))
    current = generations(Dated(stored, stored.m, stored.record.created) for stored in records)
    chosen.left_out += [f"{lost.record.item.path}: superseded: {lost.reason}" for lost in current.superseded]
    chosen.rows = list(current.rows) if choice.rows else one_variant(current.rows, choice.method, chosen.left_out)
    return chosen


Reason = Callable[[Stored], str]
"""The reason why a record is not chosen; empty if it can be chosen."""


def _kept(records: Iterable[Stored], reason: Reason, left_out: list[str]) -> list[Stored]:
    kept = []
    for stored in records:
        if why := reason(stored):
            left_out.append(f"{stored.path}: {why}")
        else:
            kept.append(stored)
    return kept


def _of_method(runs: Path, choice: Choice, chosen: Chosen) -> list[Stored]:
    """The readable records of the method; damaged records are added to `chosen.damaged`."""
    records, names = [], set()
    for path in find_records(runs):
        try:
            stored = Stored(path, read_record(path))
        except UserError as error:
            belongs = " It may belong to the packed method." if in_folder_of(path, runs, choice.method) else ""
            chosen.damaged.append(f"{error.message}{belongs}")
            continue
        names.add(stored.m.method.name)
        if stored.m.method.name != choice.method:
            continue
        if problem := predictions_problem(stored):
            chosen.damaged.append(f"{path}: {problem}.")
        else:
            records.append(stored)
    if not records and chosen.damaged:
        hint = "\n  ".join(chosen.damaged[:5])
        raise UserError(f"{runs} contains no readable record of {choice.method!r}.", hint, EXIT_FAILED)
    if not records:
        near = unknown_name("measured method", choice.method, names).hint
        run = f"Measure it first: python -m harness run --method {choice.method} --protocol b2n"
        raise UserError(f"{runs} contains no record of {choice.method!r}.", f"{near} {run}")
    return records


def _version(records: list[Stored], choice: Choice) -> Reason:
    wanted = max(stored.m.method.version for stored in records) if choice.version is None else choice.version

    def reason(stored: Stored) -> str:
        found = stored.m.method.version
        return "" if found == wanted else f"version {found} of the method, packed is {wanted}"

    return reason


def _selected(choice: Choice) -> Reason:
    """Select the requested protocols, datasets, options and recipe settings."""

    def reason(stored: Stored) -> str:
        m = stored.m
        if choice.protocols and m.protocol.name not in choice.protocols:
            return f"protocol {m.protocol.name}"
        if choice.datasets and m.evaluation.list.dataset not in choice.datasets:
            return f"dataset {m.evaluation.list.dataset}"
        options = {**m.method.options, **m.method.evaluation_options}
        if other := _other("option", options, choice.options):
            return other
        return _other("recipe setting", vars(m.fitted.recipe) if m.fitted else {}, choice.recipe)

    return reason


def _other(kind: str, values: Mapping[str, Value], chosen: Mapping[str, str]) -> str:
    """The first value that differs from the requested value, in words."""
    for name, text in chosen.items():
        if name not in values:
            return f"no {kind} {name}"
        if not _matches(values[name], text):
            return f"{kind} {name} is {plain(values[name])}, requested is {text}"
    return ""


def _matches(value: Value, text: str) -> bool:
    """True if a typed text stands for a value: `8e-6` for 0.000008, `0.9,0.98` for a pair."""
    if isinstance(value, (list, tuple)):
        parts = [part.strip() for part in text.split(",")]
        return len(parts) == len(value) and all(_matches(item, part) for item, part in zip(value, parts, strict=True))
    # In Python, True equals 1.
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    shown = plain(value)
    return text == shown or (isinstance(value, bool) and text.lower() in (shown, str(int(value))))


def _named(choice: Choice) -> Reason:
    def reason(stored: Stored) -> str:
        return "" if not choice.rows or stored.keys.row.startswith(choice.rows) else f"row {stored.keys.row}"

    return reason


def _whole(stored: Stored) -> str:
    return f"a sample: {stored.m.evaluation.sample}" if stored.m.evaluation.sample else ""


def _of_present_fits(fits: FitFiles) -> Reason:
    """Select records whose fits and parent fits still have the recorded weights; `pack` reports missing fits."""

    def reason(stored: Stored) -> str:
        # Along the chain of parent fits: a parent that was fitted again makes its children's records outdated, too.
        key, weights = stored.keys.fit, stored.m.fitted.weights_sha256 if stored.m.fitted else ""
        while key and (copies := fits.get(key)):
            if (found := file_of(copies, weights)) is None:
                path, fit = copies[0]
                return f"superseded: the fit {fit.name} was computed again ({path}); run the same command again"
            key, weights = parent_of(found[1]), found[1].described.training.start.weights_sha256
        return ""

    return reason


def _newest_protocols(records: Iterable[Stored]) -> Reason:
    newest: dict[str, int] = {}
    for stored in records:
        name, version = stored.m.protocol.name, stored.m.protocol.version
        newest[name] = max(version, newest.get(name, version))

    def reason(stored: Stored) -> str:
        found, wanted = stored.m.protocol.version, newest[stored.m.protocol.name]
        return "" if found == wanted else f"superseded: version {found} of {stored.m.protocol.name}, packed is {wanted}"

    return reason


def _one_fit(records: Iterable[Stored]) -> Reason:
    """Select one fit for each training list and repeat: the fit with most parts, then the newest fit."""
    by_place: dict[Hashable, dict[str, list[Stored]]] = defaultdict(lambda: defaultdict(list))
    for stored in records:
        if stored.m.fitted is not None:
            by_place[_training_place(stored)][stored.keys.fit].append(stored)
    best = {slot: max(fits, key=lambda key: _weight(fits[key])) for slot, fits in by_place.items()}

    def reason(stored: Stored) -> str:
        found = stored.keys.fit
        wanted = best.get(_training_place(stored), found)
        return "" if found == wanted else f"superseded: fit {found}; the packed fit of the same list is {wanted}"

    return reason


def _training_place(stored: Stored) -> Hashable:
    """Row, training list and repeat of a record; the packed records of one such place come from one fit."""
    repeat = stored.m.protocol.repeat
    listed = stored.m.fitted.list.name if stored.m.fitted else ""
    return stored.keys.row, listed, None if repeat.kind in OF_ONE_FIT else repeat


def _weight(records: list[Stored]) -> tuple[int, str]:
    """Number of parts and repeats that the records of a fit cover, and the time of the newest record."""
    covered = {(stored.m.protocol.part, stored.m.protocol.repeat) for stored in records}
    return len(covered), max(stored.record.created for stored in records)
