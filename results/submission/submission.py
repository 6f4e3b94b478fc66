"""A submission as data: manifest, records with their predictions, fits, weights; read once, with format findings."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pandas as pd

from harness.base.canonical import fingerprint
from harness.base.errors import UserError
from results.codec import DecodeError, JsonObject, decode, encode
from results.fit_file import SCHEMA as FIT_SCHEMA
from results.fit_file import FitFile, fit_file_of
from results.measurement import Expected, Keys, Measurement, cell_key, fit_key, keys_of
from results.measurement_words import signature, views_text
from results.predictions import COLUMNS
from results.record import PREDICTIONS_SUFFIX, RECORD_SUFFIX, Record, record_of
from results.record import SCHEMA as RECORD_SCHEMA
from results.submission.contents import MAX_TOTAL, Contents, Entry, printable
from results.submission.documents import DocumentError, read_json
from results.submission.layout import SCHEMA, Card, Environments, Manifest, layout_problems, record_stem
from results.submission.rules import Finding
from results.submission.safetensors import safetensors_problem
from results.submission.tables import TABLE_LIMIT, TooLargeError, decompress, parse_table

T = TypeVar("T")
MANIFEST = "submission.json"
WEIGHTS = "weights/"


@dataclass
class Measured:
    """A record with its predictions.

    Args:
        name: Name of the record's file in the submission.
        record: As read.
        frame: The predictions table, None if it cannot be read.
        table_sha256: Of the uncompressed table: equal predictions have equal values.
        failed: Rules that this record does not meet; what follows from them is not reported again.
    """

    name: str
    record: Record
    frame: pd.DataFrame | None = None
    table_sha256: str = ""
    failed: set[str] = field(default_factory=set)

    @property
    def m(self) -> Measurement:
        """The record's measurement."""
        return self.record.measurement

    @cached_property
    def keys(self) -> Keys:
        """Keys of the measurement."""
        return keys_of(self.m)

    @property
    def place(self) -> Expected:
        """The part and the repeat that it measures."""
        return Expected(self.m.protocol.part, self.m.protocol.repeat)

    @property
    def weights(self) -> str:
        """Hash of the weights of the evaluated fit; empty for an untrained method."""
        return self.m.fitted.weights_sha256 if self.m.fitted else ""


@dataclass
class Submission:
    """Everything that the rules look at.

    Args:
        path: File or folder.
        manifest: Content of submission.json; None if it cannot be read.
        card, environments: Content of the two other files; None if they cannot be read.
        measured: Records that are valid.
        fits: Content of the valid fits' files by key.
        weights: Weight files by fit key.
        hashes: sha256 of every admitted file.
        table_bytes: Of all predictions tables so far, decompressed.
        complete: Whether every record could be read; if not, what is missing is not reported a second time.
        findings: Of the format rules.
    """

    path: Path
    manifest: Manifest | None = None
    card: Card | None = None
    environments: Environments | None = None
    measured: list[Measured] = field(default_factory=list)
    fits: dict[str, FitFile] = field(default_factory=dict)
    weights: dict[str, Entry] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    table_bytes: int = 0
    complete: bool = True
    findings: list[Finding] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Hash that names the submission in acceptances and reproductions, with its weights or without.

        It covers the hashes of all files, and who handed them in.
        """
        return fingerprint(self.hashes if self.manifest is None else encode(self.manifest))

    @property
    def name(self) -> str:
        """Method and version, as the folders of a board are named."""
        return f"{self.path.stem}/v?" if self.manifest is None else f"{self.manifest.method}/v{self.manifest.version}"

    def rows(self) -> dict[str, list[Measured]]:
        """The records of each table row, by row key."""
        rows: dict[str, list[Measured]] = {}
        for one in self.measured:
            rows.setdefault(one.keys.row, []).append(one)
        return rows

    def row_name(self, members: list[Measured]) -> str:
        """A row for people: method, protocol, dataset, views, and its key."""
        m = members[0].m
        where = f"{m.method.name} {m.protocol.name} {m.evaluation.list.dataset}"
        return f"{where} {views_text(m.evaluation.views)} (row {members[0].keys.row})"

    def note(self, rule: str, where: str, found: str, expected: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(rule, printable(where), printable(found), printable(expected)))

    def note_of(self, one: Measured, rule: str, found: str, expected: str) -> None:
        """Add a finding on one record."""
        one.failed.add(rule)
        self.note(rule, one.name, found, expected)


def load_submission(contents: Contents) -> Submission:
    """The submission in an open container, with the findings of all format rules. Never raises for what is inside."""
    submission = Submission(contents.path, findings=list(contents.findings))
    refused = {finding.where for finding in contents.findings}
    if MANIFEST in contents.entries:
        submission.manifest = _of_kind(submission, contents.entries[MANIFEST], Manifest)
    elif MANIFEST not in refused and contents.complete:
        submission.note("F008", contents.path.name, f"no {MANIFEST} at the top level", MANIFEST)
    refused |= _hash(submission, contents, refused)
    for name in ("card.json", "environment.json"):
        if name not in contents.entries and submission.manifest and name not in refused:
            submission.note("F008", name, "no such file", "one in every submission")
    if "card.json" in contents.entries:
        submission.card = _of_kind(submission, contents.entries["card.json"], Card)
    if "environment.json" in contents.entries:
        submission.environments = _of_kind(submission, contents.entries["environment.json"], Environments)
    for entry in contents.of("fit"):
        if (value := _document(submission, entry, "fit")) is not None:
            _fit(submission, entry, value)
    for entry in contents.of("weights"):
        if problem := safetensors_problem(entry):
            submission.note("F014", entry.name, problem, "header, tensors and size that agree")
        submission.weights[entry.name.removeprefix("weights/").removesuffix(".safetensors")] = entry
    _records(submission, contents, refused)
    _fits(submission, contents, refused)
    return submission


def _records(submission: Submission, contents: Contents, refused: set[str]) -> None:
    """Read all records with their predictions."""
    tables = {entry.name: entry for entry in contents.of("predictions")}
    for entry in contents.of("record"):
        if (value := _document(submission, entry, "record")) is not None:
            _record(submission, entry, value, tables, refused)
    if submission.manifest and not contents.of("record"):
        submission.note("F008", "records/", "no record", "at least one")
    listed = submission.manifest.files if submission.manifest else ()
    wanted = {name for name in (*contents.entries, *refused, *listed) if name.endswith(RECORD_SUFFIX)}
    submission.complete = wanted <= {one.name for one in submission.measured} and contents.complete
    owned = {f"records/{one.record.predictions.file}" for one in submission.measured}
    for name in sorted(set(tables) - owned):
        if name.removesuffix(PREDICTIONS_SUFFIX) + RECORD_SUFFIX not in wanted:
            submission.note("F008", name, "predictions without a record", "the record beside them")


def _hash(submission: Submission, contents: Contents, refused: set[str]) -> set[str]:
    """Compare all files with the manifest's list (rule F013); returns listed files that are not there.

    Weights may be left out, as a repository does: their hashes stay in the list.
    """
    listed = None if submission.manifest is None else submission.manifest.files
    for name, entry in sorted(contents.entries.items()):
        digest = hashlib.sha256()
        try:
            for piece in entry.pieces():
                digest.update(piece)
        except UserError as error:
            submission.note("F001", name, error.message, "a file that can be read")
            continue
        submission.hashes[name] = digest.hexdigest()
        if listed is None or name == MANIFEST:
            continue
        if name not in listed:
            submission.note("F013", name, "a file that submission.json does not list", "every file listed")
        elif (listed[name].sha256, listed[name].bytes) != (digest.hexdigest(), entry.size):
            found, expected = f"sha256 {digest.hexdigest()}, {entry.size} bytes", listed[name]
            submission.note("F013", name, found, f"sha256 {expected.sha256}, {expected.bytes} bytes")
    missing = set(listed or ()) - set(contents.entries) - refused
    for name in sorted(name for name in missing if not name.startswith(WEIGHTS)):
        submission.note("F013", name, "no such file", "the file that submission.json lists")
    return missing


_SCHEMAS = {"record": RECORD_SCHEMA, "fit": FIT_SCHEMA}


def _document(submission: Submission, entry: Entry, kind: str) -> JsonObject | None:
    """A JSON file that meets its schema, or None with findings."""
    try:
        value = read_json(entry.read())
    except UserError as error:
        submission.note("F001", entry.name, error.message, "a file that can be read")
        return None
    except DocumentError as error:
        expected = "finite numbers" if error.rule == "F012" else "one UTF-8 JSON object, each key once"
        submission.note(error.rule, entry.name, str(error), expected)
        return None
    schema, found = _SCHEMAS.get(kind, SCHEMA), value.get("schema", "no schema")
    if found != schema or isinstance(found, bool):
        submission.note("F010", entry.name, f"schema {found!r}", f"schema {schema}")
        return None
    problems = list(layout_problems(kind, value))
    for rule, place, shown, expected in problems:
        submission.note(rule, f"{entry.name} {place}", shown, expected)
    return None if problems else value


def _of_kind(submission: Submission, entry: Entry, kind: type[T]) -> T | None:
    """A file of the submission's own as its dataclass, or None with findings."""
    value = _document(submission, entry, entry.name)
    try:
        return None if value is None else decode(value, kind)
    except DecodeError as error:
        submission.note("F012", entry.name, str(error), f"a {entry.name} as `submit pack` writes it")
    return None


def _fit(submission: Submission, entry: Entry, value: JsonObject) -> None:
    """Take up one fit that meets its schema; the reader of `fit.json` decides whether it is valid."""
    try:
        fit = fit_file_of(value)
    except DecodeError as error:
        readable = _decoded(value, FitFile)
        rule = "A011" if readable is not None and readable.key != fit_key(readable.described) else "F012"
        submission.note(rule, entry.name, str(error), "a fit as `run` writes it")
        return
    submission.fits[fit.key] = fit
    if entry.name != f"fits/{fit.key}.json":
        submission.note("F016", entry.name, f"the fit {fit.key}", f"fits/{fit.key}.json")


def _record(
    submission: Submission, entry: Entry, value: JsonObject, tables: dict[str, Entry], refused: set[str]
) -> None:
    """Take up one record that meets its schema, and its predictions; the reader of records decides."""
    try:
        record = record_of(value)
    except DecodeError as error:
        submission.note(_rule_of(value), entry.name, str(error), "a record as `run` writes it")
        return
    one = Measured(entry.name, record)
    submission.measured.append(one)
    file, stem = entry.name.removeprefix("records/").removesuffix(RECORD_SUFFIX), record_stem(record)
    if file != stem or record.predictions.file != file + PREDICTIONS_SUFFIX:
        submission.note("F016", entry.name, f"{file}, predictions {record.predictions.file}", f"{stem} for both")
        return
    table = f"records/{record.predictions.file}"
    if table in tables:
        read_table(submission, one, tables[table])
    elif table not in refused:
        submission.note("F008", table, "no such file", "the predictions of the record beside it")


def _rule_of(value: JsonObject) -> str:
    """The rule that a record breaks which `record_of` refuses."""
    record = _decoded(value, Record)
    if record is None:
        return "F012"
    if record.key != cell_key(record.measurement):
        return "A011"
    return "A013" if record.signature != signature(record.measurement) else "F012"


def _decoded(value: JsonObject, kind: type[T]) -> T | None:
    """An instance of a dataclass whose fields may contradict each other; None if it cannot be read."""
    try:
        return decode(value, kind)
    except DecodeError:
        return None


def read_table(submission: Submission, one: Measured, entry: Entry) -> None:
    """Read the predictions of a record (rule F015)."""
    try:
        data = entry.read()
        text = decompress(data, min(TABLE_LIMIT, MAX_TOTAL - submission.table_bytes))
        submission.table_bytes += len(text)
        one.frame = parse_table(text)
    except TooLargeError as error:
        submission.note("F002", entry.name, str(error), "a table of predictions")
        return
    except (UserError, ValueError, OverflowError, zlib.error) as error:
        message = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        submission.note("F015", entry.name, message, f"gzip of a table with {', '.join(COLUMNS)}")
        return
    one.table_sha256 = hashlib.sha256(text).hexdigest()


def _fits(submission: Submission, contents: Contents, refused: set[str]) -> None:
    """Each fit that a record or another fit starts from is there, and no other (rules F008, F006)."""
    needed = {one.keys.fit: one.name for one in submission.measured if one.keys.fit}
    pending = list(needed)
    while pending:
        fit = submission.fits.get(key := pending.pop())
        if fit is not None and (parent := parent_of(fit)) and parent not in needed:
            needed[parent] = f"fits/{key}.json"
            pending.append(parent)
    for key, where in sorted(needed.items()):
        if key not in submission.fits and f"fits/{key}.json" not in {*contents.entries, *refused}:
            submission.note("F008", where, f"no fits/{key}.json", "the fit that it rests on")
    for key in sorted(set(submission.fits) - set(needed)) if submission.complete else ():
        submission.note("F006", f"fits/{key}.json", "a fit that no record rests on", "only fits of the records")
    for key in sorted(set(submission.weights) - set(submission.fits)):
        if f"fits/{key}.json" not in contents.entries:
            name = f"weights/{key}.safetensors"
            submission.note("F006", name, "weights without their fit", "only weights of the fits")


def parent_of(fit: FitFile) -> str:
    """The key of the fit that a fit starts from, or an empty text."""
    start = fit.described.training.start
    return start.key if start.kind == "fit" else ""


def pairs_of(submissions: Iterable[Submission]) -> set[tuple[str, str]]:
    """The (protocol, dataset) pairs that are measured."""
    return {(m.m.protocol.name, m.m.evaluation.list.dataset) for one in submissions for m in one.measured}
