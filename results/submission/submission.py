"""A submission as data: manifest, records with predictions, fits and weights, with the findings of format rules."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
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
from results.submission.copies import Sketch, sketch_of
from results.submission.documents import DocumentError, read_json
from results.submission.layout import SCHEMA, Card, Environments, Manifest, layout_problems, record_stem
from results.submission.rules import Finding
from results.submission.safetensors import TensorsError, count_elements
from results.submission.tables import TABLE_LIMIT, TooLargeError, decompress, parse_untrusted

T = TypeVar("T")
MANIFEST = "submission.json"
WEIGHTS = "weights/"


@dataclass
class Measured:
    """A record with its predictions.

    Args:
        name: File name of the record in the submission.
        record: The record.
        frame: The predictions table, None if it cannot be read.
        table: Text of the predictions table; empty if it cannot be read.
        failed: Rules that the record violates; rules that depend on them are not checked.
    """

    name: str
    record: Record
    frame: pd.DataFrame | None = None
    table: bytes = field(default=b"", repr=False)
    failed: set[str] = field(default_factory=set)

    @property
    def m(self) -> Measurement:
        """Measurement of the record."""
        return self.record.measurement

    @cached_property
    def keys(self) -> Keys:
        """Keys of the measurement."""
        return keys_of(self.m)

    @cached_property
    def sketch(self) -> Sketch | None:
        """The part of the predictions table that is compared with other tables; None if it cannot be read."""
        return None if self.frame is None else sketch_of(self.frame)

    @cached_property
    def table_sha256(self) -> str:
        """Hash of the predictions table, by which equal predictions are found; empty if it cannot be read."""
        return hashlib.sha256(self.table).hexdigest() if self.table else ""

    @property
    def place(self) -> Expected:
        """Part and repeat of the record."""
        return Expected(self.m.protocol.part, self.m.protocol.repeat)

    @property
    def weights(self) -> str:
        """Hash of the weights of the evaluated fit; empty for an untrained method."""
        return self.m.fitted.weights_sha256 if self.m.fitted else ""


@dataclass
class Submission:
    """The data that the rules check.

    Args:
        path: File or folder of the submission.
        manifest: Content of submission.json; None if it cannot be read.
        card, environments: Content of card.json and environment.json; None if they cannot be read.
        measured: Valid records.
        fits: Valid fits by key.
        weights: Weight files by fit key.
        elements: Number of floating-point values of each tensor of each valid weight file, by fit key.
        entries: Every admitted file by name; the content of all files except weights is in memory.
        hashes: sha256 of every admitted file that can be read.
        table_bytes: Total size of all decompressed predictions tables.
        complete: Whether all records could be read; if not, missing records are not reported again.
        findings: Findings of the format rules.
    """

    path: Path
    manifest: Manifest | None = None
    card: Card | None = None
    environments: Environments | None = None
    measured: list[Measured] = field(default_factory=list)
    fits: dict[str, FitFile] = field(default_factory=dict)
    weights: dict[str, Entry] = field(default_factory=dict)
    elements: dict[str, Mapping[str, int]] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict, repr=False)
    hashes: dict[str, str] = field(default_factory=dict)
    table_bytes: int = 0
    complete: bool = True
    findings: list[Finding] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Hash that identifies the submission in acceptances and reproductions.

        It covers the hashes of all files and the submitter, and does not depend on the presence of weights.
        """
        return fingerprint(self.hashes if self.manifest is None else encode(self.manifest))

    @property
    def name(self) -> str:
        """Method and version, as in the folder names of a board."""
        return f"{self.path.stem}/v?" if self.manifest is None else f"{self.manifest.method}/v{self.manifest.version}"

    def rows(self) -> dict[str, list[Measured]]:
        """The records of each table row, by row key."""
        rows: dict[str, list[Measured]] = {}
        for measured in self.measured:
            rows.setdefault(measured.keys.row, []).append(measured)
        return rows

    def row_name(self, members: list[Measured]) -> str:
        """Readable name of a row: method, protocol, dataset, views and row key."""
        m = members[0].m
        where = f"{m.method.name} {m.protocol.name} {m.evaluation.list.dataset}"
        return f"{where} {views_text(m.evaluation.views)} (row {members[0].keys.row})"

    def note(self, rule: str, where: str, found: str, expected: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(rule, printable(where), printable(found), printable(expected)))

    def note_of(self, measured: Measured, rule: str, found: str, expected: str) -> None:
        """Add a finding on one record."""
        measured.failed.add(rule)
        self.note(rule, measured.name, found, expected)


def load_submission(contents: Contents) -> Submission:
    """Load a submission, with the findings of all format rules. Invalid content never raises an exception."""
    submission = Submission(contents.path, findings=list(contents.findings))
    # A file that was refused is not reported as missing as well.
    refused = {finding.where for finding in contents.findings}
    _read_once(submission, contents)
    submission.entries = contents.entries
    # The manifest comes first, because the checks of hashes and of missing files need its list.
    if MANIFEST in contents.entries:
        submission.manifest = _of_kind(submission, contents.entries[MANIFEST], Manifest)
    elif MANIFEST not in refused and contents.complete:
        submission.note("F008", contents.path.name, f"no {MANIFEST} at the top level", MANIFEST)
    refused |= _hash(submission, contents, refused)
    for name in ("card.json", "environment.json"):
        if name not in contents.entries and submission.manifest and name not in refused:
            submission.note("F008", name, "no such file", "a file in every submission")
    if "card.json" in contents.entries:
        submission.card = _of_kind(submission, contents.entries["card.json"], Card)
    if "environment.json" in contents.entries:
        submission.environments = _of_kind(submission, contents.entries["environment.json"], Environments)
    for entry in contents.of("fit"):
        if (value := _document(submission, entry, "fit")) is not None:
            _fit(submission, entry, value)
    for entry in contents.of("weights"):
        key = entry.name.removeprefix(WEIGHTS).removesuffix(".safetensors")
        try:
            submission.elements[key] = count_elements(entry)
        except TensorsError as error:
            submission.note("F014", entry.name, str(error), "consistent header, tensors and size")
        submission.weights[key] = entry
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
    # If a record is listed or refused but cannot be read, its row would also seem to lack repeats.
    submission.complete = wanted <= {measured.name for measured in submission.measured} and contents.complete
    owned = {f"records/{measured.record.predictions.file}" for measured in submission.measured}
    for name in sorted(set(tables) - owned):
        # The record of such a table was refused, which is reported already.
        if name.removesuffix(PREDICTIONS_SUFFIX) + RECORD_SUFFIX not in wanted:
            submission.note("F008", name, "predictions without a record", "the record of the predictions")


def _read_once(submission: Submission, contents: Contents) -> None:
    """Read and hash every file; rules and acceptance then use the bytes that were hashed.

    A file in a folder can change between two reads, so that one content is hashed, another is checked and a third is
    accepted. Weights are too large to keep: they are hashed, their header is checked, and they are never accepted.
    """
    for name, entry in sorted(contents.entries.items()):
        try:
            if entry.kind == "weights":
                digest = hashlib.sha256()
                for piece in entry.pieces():
                    digest.update(piece)
                submission.hashes[name] = digest.hexdigest()
            else:
                data = entry.read()
                submission.hashes[name] = hashlib.sha256(data).hexdigest()
                contents.entries[name] = replace(entry, opener=partial(io.BytesIO, data))
        except UserError as error:
            submission.note("F001", name, error.message, "a file that can be read")


def _hash(submission: Submission, contents: Contents, refused: set[str]) -> set[str]:
    """Compare all files with the list of the manifest (rule F013); returns listed files that are missing.

    Weights can be missing, because a repository omits them; their hashes stay in the list.
    """
    listed = None if submission.manifest is None else submission.manifest.files
    for name, digest in sorted(submission.hashes.items()):
        if listed is None or name == MANIFEST:
            continue
        size = contents.entries[name].size
        if name not in listed:
            submission.note("F013", name, "a file that submission.json does not list", "every file listed")
        elif (listed[name].sha256, listed[name].bytes) != (digest, size):
            expected = listed[name]
            submission.note(
                "F013", name, f"sha256 {digest}, {size} bytes", f"sha256 {expected.sha256}, {expected.bytes} bytes"
            )
    missing = set(listed or ()) - set(contents.entries) - refused
    for name in sorted(name for name in missing if not name.startswith(WEIGHTS)):
        submission.note("F013", name, "no such file", "the file that submission.json lists")
    return missing


_SCHEMAS = {"record": RECORD_SCHEMA, "fit": FIT_SCHEMA}


def _document(submission: Submission, entry: Entry, kind: str) -> JsonObject | None:
    """The content of a JSON file that matches its schema; None with findings otherwise."""
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
    if found != schema or isinstance(found, bool):  # in Python, True equals 1
        submission.note("F010", entry.name, f"schema {found!r}", f"schema {schema}")
        return None
    problems = list(layout_problems(kind, value))
    for rule, field_path, shown, expected in problems:
        submission.note(rule, f"{entry.name} {field_path}", shown, expected)
    return None if problems else value


def _of_kind(submission: Submission, entry: Entry, kind: type[T]) -> T | None:
    """A JSON file as its dataclass; None with findings if it is not valid."""
    value = _document(submission, entry, entry.name)
    try:
        return None if value is None else decode(value, kind)
    except DecodeError as error:
        submission.note("F012", entry.name, str(error), f"a {entry.name} as `submit pack` writes it")
    return None


def _fit(submission: Submission, entry: Entry, value: JsonObject) -> None:
    """Add a fit that matches its schema; the reader of `fit.json` checks whether it is valid."""
    try:
        fit = fit_file_of(value)
    except DecodeError as error:
        readable = _decoded(value, FitFile)
        # The reader refuses a wrong key, too; the submitter must learn that it is the key and not the layout.
        rule = "A011" if readable is not None and readable.key != fit_key(readable.described) else "F012"
        submission.note(rule, entry.name, str(error), "a fit as `run` writes it")
        return
    submission.fits[fit.key] = fit
    if entry.name != f"fits/{fit.key}.json":
        submission.note("F016", entry.name, f"the fit {fit.key}", f"fits/{fit.key}.json")


def _record(
    submission: Submission, entry: Entry, value: JsonObject, tables: dict[str, Entry], refused: set[str]
) -> None:
    """Add a record that matches its schema, and its predictions; the reader of records checks whether it is valid."""
    try:
        record = record_of(value)
    except DecodeError as error:
        submission.note(_rule_of(value), entry.name, str(error), "a record as `run` writes it")
        return
    measured = Measured(entry.name, record)
    submission.measured.append(measured)
    file, stem = entry.name.removeprefix("records/").removesuffix(RECORD_SUFFIX), record_stem(record)
    if file != stem or record.predictions.file != file + PREDICTIONS_SUFFIX:
        submission.note("F016", entry.name, f"{file}, predictions {record.predictions.file}", f"{stem} for both")
        return
    table = f"records/{record.predictions.file}"
    if table in tables:
        read_table(submission, measured, tables[table])
    elif table not in refused:
        submission.note("F008", table, "no such file", "the predictions of the record")


def _rule_of(value: JsonObject) -> str:
    """The rule that a record violates if `record_of` refuses it."""
    record = _decoded(value, Record)
    if record is None:
        return "F012"
    if record.key != cell_key(record.measurement):
        return "A011"
    return "A013" if record.signature != signature(record.measurement) else "F012"


def _decoded(value: JsonObject, kind: type[T]) -> T | None:
    """A dataclass without checks for contradictions; None if it cannot be decoded."""
    try:
        return decode(value, kind)
    except DecodeError:
        return None


def read_table(submission: Submission, measured: Measured, entry: Entry) -> None:
    """Read the predictions of a record (rule F015)."""
    try:
        data = entry.read()
        # The limit of all tables together: many small files can expand to more than the memory.
        text = decompress(data, min(TABLE_LIMIT, MAX_TOTAL - submission.table_bytes))
        submission.table_bytes += len(text)
        measured.frame = parse_untrusted(text)
    except TooLargeError as error:
        submission.note("F002", entry.name, str(error), "a table of predictions")
        return
    except (UserError, ValueError, OverflowError, zlib.error) as error:
        message = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        submission.note("F015", entry.name, message, f"gzip of a table with {', '.join(COLUMNS)}")
        return
    measured.table = text


def _fits(submission: Submission, contents: Contents, refused: set[str]) -> None:
    """Check that the fits are those of the records and their parent fits (rules F006, F008)."""
    # Parent fits can have parents, so follow the chain from each evaluated fit.
    needed = {measured.keys.fit: measured.name for measured in submission.measured if measured.keys.fit}
    pending = list(needed)
    while pending:
        fit = submission.fits.get(key := pending.pop())
        if fit is not None and (parent := parent_of(fit)) and parent not in needed:
            needed[parent] = f"fits/{key}.json"
            pending.append(parent)
    for key, where in sorted(needed.items()):
        if key not in submission.fits and f"fits/{key}.json" not in {*contents.entries, *refused}:
            submission.note("F008", where, f"no fits/{key}.json", "the fit of the record or of the child fit")
    for key in sorted(set(submission.fits) - set(needed)) if submission.complete else ():
        submission.note("F006", f"fits/{key}.json", "a fit without a record", "only fits of the records")
    for key in sorted(set(submission.weights) - set(submission.fits)):
        if f"fits/{key}.json" not in contents.entries:
            name = f"weights/{key}.safetensors"
            submission.note("F006", name, "weights without a fit", "only weights of the fits")


def parent_of(fit: FitFile) -> str:
    """The key of the parent fit; empty without."""
    start = fit.described.training.start
    return start.key if start.kind == "fit" else ""


def pairs_of(submissions: Iterable[Submission]) -> set[tuple[str, str]]:
    """The measured (protocol, dataset) pairs."""
    return {(m.m.protocol.name, m.m.evaluation.list.dataset) for submission in submissions for m in submission.measured}
