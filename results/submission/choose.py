"""The rows of a method that `submit pack` takes: whole rows of one recipe, never a mixture."""

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
    """The rows to take.

    Args:
        method: Registered name.
        protocols, datasets: Only these; empty for all.
        options: Only rows with these values of the method's options, as typed.
        recipe: Only rows with these recipe settings, as typed.
        rows: Only rows whose keys begin with one of these; all of them are taken.
        version: Version of the method; None for the highest that was measured.
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
    """The rows that are taken, and everything that is not, with the reasons.

    Args:
        rows: One for each protocol and dataset, unless rows were named.
        left_out: Records that are not taken, with the reason.
        damaged: Files that cannot be used, with the reason; whether they belong to the method is not known.
    """

    rows: list[StoredRow] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def choose(runs: Path, choice: Choice, fits: FitFiles) -> Chosen:
    """The rows of a method below a run folder.

    Raises:
        UserError: No record of the method, none that the choice leaves, or several variants to choose from.
    """
    chosen = Chosen()
    mine = _of_method(runs, choice, chosen)
    for test in (_version(mine, choice), _selected(choice), _named(choice), _whole, _of_present_fits(fits)):
        mine = _kept(mine, test, chosen.left_out)
    mine = _kept(mine, _newest_protocols(mine), chosen.left_out)
    mine = _kept(mine, _one_fit(mine), chosen.left_out)
    if not mine:
        message = f"No record of {choice.method!r} is left by this choice."
        raise UserError(message, "\n  ".join((chosen.left_out + chosen.damaged)[:8]))
    found = generations(Dated(one, one.m, one.record.created) for one in mine)
    chosen.left_out += [f"{lost.record.item.path}: superseded: {lost.reason}" for lost in found.superseded]
    chosen.rows = list(found.rows) if choice.rows else one_variant(found.rows, choice.method, chosen.left_out)
    return chosen


Reason = Callable[[Stored], str]
"""The reason why a record is not taken; empty if it may be."""


def _kept(records: Iterable[Stored], reason: Reason, left_out: list[str]) -> list[Stored]:
    kept = []
    for one in records:
        if why := reason(one):
            left_out.append(f"{one.path}: {why}")
        else:
            kept.append(one)
    return kept


def _of_method(runs: Path, choice: Choice, chosen: Chosen) -> list[Stored]:
    """The readable records of the method; damaged ones are named and left out."""
    mine, names = [], set()
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
            mine.append(stored)
    if not mine and chosen.damaged:
        hint = "\n  ".join(chosen.damaged[:5])
        raise UserError(f"{runs} holds no record of {choice.method!r} that can be read.", hint, EXIT_FAILED)
    if not mine:
        near = unknown_name("measured method", choice.method, names).hint
        run = f"Measure it first: python -m harness run --method {choice.method} --protocol b2n"
        raise UserError(f"{runs} holds no record of {choice.method!r}.", f"{near} {run}")
    return mine


def _version(records: list[Stored], choice: Choice) -> Reason:
    wanted = max(one.m.method.version for one in records) if choice.version is None else choice.version

    def reason(one: Stored) -> str:
        found = one.m.method.version
        return "" if found == wanted else f"version {found} of the method, packed is {wanted}"

    return reason


def _selected(choice: Choice) -> Reason:
    """Records of the protocols, datasets, options and recipe settings that were asked for."""

    def reason(one: Stored) -> str:
        m = one.m
        if choice.protocols and m.protocol.name not in choice.protocols:
            return f"protocol {m.protocol.name}"
        if choice.datasets and m.evaluation.list.dataset not in choice.datasets:
            return f"dataset {m.evaluation.list.dataset}"
        options = {**m.method.options, **m.method.evaluation_options}
        if other := _other("option", options, choice.options):
            return other
        return _other("recipe setting", vars(m.fitted.recipe) if m.fitted else {}, choice.recipe)

    return reason


def _other(what: str, values: Mapping[str, Value], wanted: Mapping[str, str]) -> str:
    """The first value that is not the one asked for, in words."""
    for name, text in wanted.items():
        if name not in values:
            return f"no {what} {name}"
        if not _says(values[name], text):
            return f"{what} {name} is {plain(values[name])}, asked for is {text}"
    return ""


def _says(value: Value, text: str) -> bool:
    """True if a typed text means a value: `8e-6` means 0.000008, `0.9,0.98` a pair."""
    if isinstance(value, (list, tuple)):
        parts = [part.strip() for part in text.split(",")]
        return len(parts) == len(value) and all(_says(item, part) for item, part in zip(value, parts, strict=True))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    shown = plain(value)
    return text == shown or (isinstance(value, bool) and text.lower() in (shown, str(int(value))))


def _named(choice: Choice) -> Reason:
    def reason(one: Stored) -> str:
        return "" if not choice.rows or one.keys.row.startswith(choice.rows) else f"row {one.keys.row}"

    return reason


def _whole(one: Stored) -> str:
    return f"a sample: {one.m.evaluation.sample}" if one.m.evaluation.sample else ""


def _of_present_fits(fits: FitFiles) -> Reason:
    """Records of the weights that their fit and its parents have now; a missing fit is refused where it is packed."""

    def reason(one: Stored) -> str:
        key, weights = one.keys.fit, one.m.fitted.weights_sha256 if one.m.fitted else ""
        while key and (there := fits.get(key)):
            if (found := file_of(there, weights)) is None:
                path, fit = there[0]
                return f"superseded: the fit {fit.name} was computed again ({path}); run the same command again"
            key, weights = parent_of(found[1]), found[1].described.training.start.weights_sha256
        return ""

    return reason


def _newest_protocols(records: Iterable[Stored]) -> Reason:
    newest: dict[str, int] = {}
    for one in records:
        name, version = one.m.protocol.name, one.m.protocol.version
        newest[name] = max(version, newest.get(name, version))

    def reason(one: Stored) -> str:
        found, wanted = one.m.protocol.version, newest[one.m.protocol.name]
        return "" if found == wanted else f"superseded: version {found} of {one.m.protocol.name}, packed is {wanted}"

    return reason


def _one_fit(records: Iterable[Stored]) -> Reason:
    """One fit for each training list and repeat of a row: the one that covers most parts, of several the newest."""
    places: dict[Hashable, dict[str, list[Stored]]] = defaultdict(lambda: defaultdict(list))
    for one in records:
        if one.m.fitted is not None:
            places[_training_place(one)][one.keys.fit].append(one)
    best = {place: max(fits, key=lambda key: _weight(fits[key])) for place, fits in places.items()}

    def reason(one: Stored) -> str:
        found = one.keys.fit
        wanted = best.get(_training_place(one), found)
        return "" if found == wanted else f"superseded: of the fit {found}, packed is {wanted} of the same list"

    return reason


def _training_place(one: Stored) -> Hashable:
    repeat = one.m.protocol.repeat
    listed = one.m.fitted.list.name if one.m.fitted else ""
    return one.keys.row, listed, None if repeat.kind in OF_ONE_FIT else repeat


def _weight(records: list[Stored]) -> tuple[int, str]:
    covered = {(one.m.protocol.part, one.m.protocol.repeat) for one in records}
    return len(covered), max(one.record.created for one in records)
