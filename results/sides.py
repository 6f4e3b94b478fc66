"""The two sides of a comparison: chosen records and their rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.base.errors import UserError, unknown_name
from harness.spec.options import split_method
from results.generations import Dated, Row, Superseded, generations
from results.measurement import FieldValue, ListId, Measurement, leaves
from results.measurement_words import Difference, plain
from results.record import RECORD_SUFFIX, Record, find_records, read_record
from results.record_times import RecordTimes
from results.row_settings import row_settings

ROW = "row"
"""Name of the setting that chooses a row by its key."""


@dataclass(frozen=True)
class Stored:
    """A record, its file, the time that orders generations (see `results.record_times`), and whether it is accepted."""

    record: Record
    path: Path
    time: str
    accepted: bool = False

    @property
    def dated(self) -> Dated[Stored]:
        """The record with all that orders generations."""
        return Dated(self, self.record.measurement, self.time, self.record.predictions.sha256, self.accepted)


@dataclass(frozen=True)
class Choice:
    """The choice of records of one side.

    Args:
        paths: Record files, and folders that are searched recursively.
        method: Name of a method; empty for every method.
        settings: Values as text, by the name of a method option, recipe setting or view setting; `row` for a row key.
        name: The user's name of the side, for messages.
    """

    paths: tuple[Path, ...]
    method: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    name: str = ""


def choice_of(text: str, runs: Path) -> Choice:
    """The records that an argument names: those of a path, or those of a method in the run folder.

    Raises:
        UserError: The argument is a path that does not exist, or an option is not `SETTING=VALUE`.
    """
    path = Path(text)
    # A folder without records may be the source folder of a method with the same name.
    if path.is_file() or (path.is_dir() and any(path.rglob(f"*{RECORD_SUFFIX}"))):
        return Choice((path,), name=text)
    if path.name.endswith(RECORD_SUFFIX) or ("/" in text.partition(":")[0] and not path.exists()):
        raise UserError(f"There is no file or folder {text}.", "Name a record, a folder of records, or a method.")
    if not runs.is_dir():
        hint = "Name another with --runs DIR, or fill it: python -m harness run"
        raise UserError(f"The run folder {runs} does not exist.", hint)
    name, settings = split_method(text)
    return Choice((runs,), name, settings, text)


@dataclass(frozen=True)
class Filters:
    """Protocols, datasets and architectures of both sides; empty for all."""

    protocols: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    archs: tuple[str, ...] = ()

    def keep(self, m: Measurement) -> bool:
        """True if all filters allow a measurement."""
        listed = m.evaluation.list
        return (
            (not self.protocols or m.protocol.name in self.protocols)
            and (not self.datasets or bool({listed.dataset, dataset_and_root(listed)} & set(self.datasets)))
            and (not self.archs or m.model.arch in self.archs)
        )


@dataclass(frozen=True)
class Table:
    """A table: a protocol on a dataset. Custom datasets of the same name differ by `own_lists`."""

    protocol: str
    dataset: str
    own_lists: str = ""


@dataclass(frozen=True)
class Side:
    """The rows of one side by table, and its superseded records."""

    choice: Choice
    tables: Mapping[Table, tuple[Row[Stored], ...]]
    superseded: tuple[Superseded[Stored], ...]


def dataset_and_root(listed: ListId) -> str:
    """Name of a dataset; for a custom dataset with the digits that distinguish two folders of the same name."""
    return f"{listed.dataset} ({listed.root})" if listed.root else listed.dataset


def table_of(m: Measurement) -> Table:
    """The table of a measurement."""
    listed = m.evaluation.list
    own = m.protocol.scope.evaluation_lists if listed.origin == "own" else ""
    return Table(m.protocol.name, listed.dataset, own)


class Reader:
    """Reads each record file once and collects the messages on files that cannot be read."""

    def __init__(self) -> None:
        self.damaged: dict[Path, str] = {}
        self._records: dict[Path, Stored] = {}

    @property
    def records(self) -> tuple[Stored, ...]:
        """All records that were read."""
        return tuple(self._records.values())

    def stored(self, paths: Iterable[Path]) -> list[Stored]:
        """The records of files and folders; files that cannot be read are added to `damaged`."""
        files = [file for path in paths for file in (find_records(path) if path.is_dir() else [path])]
        unread = [f for f in dict.fromkeys(files) if f not in self._records and f not in self.damaged]
        times = RecordTimes(unread)
        self.damaged |= {file: error.message for file, error in times.damaged}
        for file in unread:
            try:
                record = read_record(file)
            except UserError as error:
                self.damaged[file] = error.message
            else:
                self._records[file] = Stored(record, file, times.of(file, record), times.accepted(file))
        return [self._records[file] for file in dict.fromkeys(files) if file in self._records]


def read_side(choice: Choice, filters: Filters, reader: Reader) -> Side:
    """The current rows of one side.

    Raises:
        UserError: No record has the method and the settings and passes the filters.
    """
    stored = reader.stored(choice.paths)
    folder = " and ".join(dict.fromkeys(str(path) for path in choice.paths[:2])) or "The folder"
    if not stored:
        hint = next(iter(reader.damaged.values()), "Name a folder that `run` wrote records to.")
        raise UserError(f"{folder} contains no readable record.", hint)
    named = [s for s in stored if not choice.method or s.record.measurement.method.name == choice.method]
    if not named:
        known = {s.record.measurement.method.name for s in stored}
        error = unknown_name("method", choice.method, known)
        raise UserError(f"{folder} contains no record of method {choice.method!r}.", error.hint)
    chosen = [s for s in named if _has(s.record.measurement, choice.settings)]
    if not chosen:
        name = choice.name or choice.method or "these settings"
        raise UserError(f"{folder} contains no record of {name}.", _known_settings(named, choice.settings))
    kept = [s for s in chosen if filters.keep(s.record.measurement)]
    if not kept:
        tables = sorted({_table_text(s.record.measurement) for s in chosen})
        raise UserError(
            f"{choice.name or folder}: no record has the requested protocols, datasets and architectures.",
            f"Available: {'; '.join(tables[:8])}.",
        )
    current = generations(stored.dated for stored in kept)
    by_table: dict[Table, list[Row[Stored]]] = defaultdict(list)
    for row in current.rows:
        by_table[table_of(row.records[0].measurement)].append(row)
    return Side(choice, {table: tuple(rows) for table, rows in by_table.items()}, current.superseded)


def _table_text(m: Measurement) -> str:
    return f"{m.protocol.name} on {dataset_and_root(m.evaluation.list)} with {m.model.arch}"


def settings_of(m: Measurement) -> dict[str, FieldValue]:
    """Settings of a measurement by short name; an option hides a recipe or view setting of the same name."""
    settings: dict[str, FieldValue] = {}
    for path, value in leaves(m):
        if path.startswith(("training.recipe.", "evaluation.views.")):
            settings[path.rpartition(".")[2]] = value
    return {**settings, **m.method.evaluation_options, **m.method.options}


def _has(m: Measurement, settings: Mapping[str, str]) -> bool:
    """True if a measurement has the values of all settings."""
    own = settings_of(m)
    return all(
        m.keys.row.startswith(text) if name == ROW else name in own and _equal(own[name], text)
        for name, text in settings.items()
    )


def _equal(value: FieldValue, text: str) -> bool:
    """True if a text stands for a value: numbers are compared by value, all other values as text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return plain(value) == text


def _known_settings(named: Sequence[Stored], settings: Mapping[str, str]) -> str:
    """A hint with the available values of the chosen settings, or with the available settings."""
    values: dict[str, set[str]] = defaultdict(set)
    for stored in named:
        m = stored.record.measurement
        for name, value in settings_of(m).items():
            values[name].add(plain(value))
        values[ROW].add(m.keys.row)
    for name in settings:
        if name not in values:
            return f"No record has a setting {name!r}; available settings: {', '.join(sorted(values))}."
    shown = (f"{name}: {', '.join(sorted(values[name]))}" for name in settings)
    return f"Available values: {'; '.join(shown)}."


# --- several rows of one table


def variants_text(side: Side, table: Table) -> tuple[str, str]:
    """The differences of a side's rows in one table, and the arguments that choose each row."""
    rows = side.tables[table]
    apart = row_settings(rows)
    labels = [
        ", ".join(difference.short for difference in own.values()) or f"row {row.keys.row}"
        for row, own in zip(rows, apart, strict=True)
    ]
    names = [_name(side.choice, row, own) for row, own in zip(rows, apart, strict=True)]
    if len(set(names)) < len(names):
        names = [_spec(side.choice, row, {ROW: row.keys.row}) for row in rows]
    source = (
        "" if side.choice.method else f", with --runs {side.choice.paths[0]}; or name a record or the folder of a fit"
    )
    return "; ".join(labels), " or ".join(names) + source


def _name(choice: Choice, row: Row[Stored], own: Mapping[str, Difference]) -> str:
    """The arguments that choose a row: the method with the settings that distinguish the row."""
    m = row.records[0].measurement
    known, settings, flags = settings_of(m), dict(choice.settings), []
    for path, difference in own.items():
        name = path.split(".", 2)[2] if "options." in path else path.rpartition(".")[2]
        if path == "model.arch":
            flags.append(f"--arch {m.model.arch}")
        # Only settings that `settings_of` knows can be typed; the row key stands for all other differences.
        elif name in known and path.startswith(("method.", "training.recipe.", "evaluation.views.")):
            settings[name] = plain(difference.a)
        elif path != "method.name":
            settings[ROW] = row.keys.row
    return " ".join([_spec(choice, row, settings), *flags])


def _spec(choice: Choice, row: Row[Stored], settings: Mapping[str, str]) -> str:
    """`NAME:SETTING=VALUE,...` as `compare` reads it, quoted for a shell if necessary."""
    name = choice.method or row.records[0].measurement.method.name
    pairs = [f"{key}={_quoted(value)}" for key, value in settings.items()]
    spec = name + (f":{','.join(pairs)}" if pairs else "")
    return f'"{spec}"' if any(character in spec for character in " '{}()&;|<>*?$") else spec


def _quoted(value: str) -> str:
    return f"'{value}'" if any(character in value for character in ",:'\"= ") else value
