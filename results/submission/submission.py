"""A submission as data: manifest, records with their predictions, fits, weights; read once, with format findings."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness.base.canonical import fingerprint
from harness.base.errors import UserError
from results.migrations import migrate
from results.predictions import COLUMNS
from results.record import PREDICTIONS_SUFFIX, RECORD_SUFFIX, Record
from results.record import SCHEMA as RECORD_SCHEMA
from results.schema import section_problems
from results.submission.contents import MAX_TOTAL, Contents, Entry, printable
from results.submission.documents import DocumentError, read_json
from results.submission.layout import SCHEMA, layout_problems
from results.submission.rules import Finding
from results.submission.safetensors import safetensors_problem
from results.submission.tables import TABLE_LIMIT, TooLargeError, decompress, parse_table

MANIFEST = "submission.json"
WEIGHTS = "weights/"


@dataclass
class Measured:
    """A record with its predictions.

    Args:
        name: Of the record's file in the submission.
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
    def place(self) -> tuple[str, str, str, int]:
        """Which of the protocol's evaluations it is: part, list, kind and index of the repeat."""
        record = self.record
        return (
            str(record.protocol["part"]), str(record.data["list"]), str(record.repeat["kind"]),
            int(record.repeat["index"]),
        )  # fmt: skip


@dataclass
class Submission:
    """Everything that the rules look at.

    Args:
        path: File or folder.
        manifest: Content of submission.json; empty if it cannot be read.
        card, environments: Content of the two other files.
        measured: Records that are well formed.
        fits: Content of the fits' files by key.
        weights: Weight files by fit key.
        hashes: sha256 of every admitted file.
        table_bytes: Of all predictions tables so far, decompressed.
        complete: Whether every record could be read; if not, what is missing is not reported a second time.
        findings: Of the format rules.
    """

    path: Path
    manifest: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    environments: dict[str, Any] = field(default_factory=dict)
    measured: list[Measured] = field(default_factory=list)
    fits: dict[str, dict[str, Any]] = field(default_factory=dict)
    weights: dict[str, Entry] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    table_bytes: int = 0
    complete: bool = True
    findings: list[Finding] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Hash of all listed hashes: names it in acceptances and reproductions, with its weights or without."""
        listed = {name: entry["sha256"] for name, entry in self.manifest.get("files", {}).items()}
        return fingerprint(listed or self.hashes)

    @property
    def name(self) -> str:
        """Method and version, as the folders of a board are named."""
        return f"{self.manifest.get('method', self.path.stem)}/v{self.manifest.get('version', '?')}"

    def rows(self) -> dict[str, list[Measured]]:
        """The records of each table row, by a key of what they share."""
        rows: dict[str, list[Measured]] = {}
        for one in self.measured:
            rows.setdefault(row_key(one.record), []).append(one)
        return rows

    def row_name(self, members: list[Measured]) -> str:
        """A row for people: method, protocol, dataset, views."""
        record = members[0].record
        views = record.views
        shown = f"{views['frames']}x{views['clips']}x{views['crops']}"
        return f"{record.method['name']} {record.protocol['id']} {record.data['dataset']} {shown}"

    def note(self, rule: str, where: str, found: object, expected: object) -> None:
        """Add a finding."""
        self.findings.append(Finding(rule, printable(where), printable(str(found)), printable(str(expected))))


def row_key(record: Record) -> str:
    """Twelve hex digits shared by the records that a table averages."""
    method = record.identity.get("method")
    views = {name: record.views.get(name) for name in record.views}
    fit = record.fit or {}
    return fingerprint(
        [
            record.protocol["id"], record.protocol["version"], record.protocol["division"], record.data["dataset"],
            record.data["label_variant"], method, views, record.method["class_text"], fit.get("init"),
            fit.get("selection"), bool(fit),
        ],
        12,
    )  # fmt: skip


def load_submission(contents: Contents) -> Submission:
    """The submission in an open container, with the findings of all format rules. Never raises for what is inside."""
    submission = Submission(contents.path, findings=list(contents.findings))
    refused = {finding.where for finding in contents.findings}
    if MANIFEST in contents.entries:
        submission.manifest = _document(submission, contents.entries[MANIFEST], MANIFEST) or {}
    elif MANIFEST not in refused and contents.complete:
        submission.note("F008", contents.path.name, f"no {MANIFEST} at the top level", MANIFEST)
    refused |= _hash(submission, contents, refused)
    for name, target in (("card.json", "card"), ("environment.json", "environments")):
        if name in contents.entries:
            setattr(submission, target, _document(submission, contents.entries[name], name) or {})
        elif submission.manifest and name not in refused:
            submission.note("F008", name, "no such file", "one in every submission")
    for entry in contents.of("fit"):
        if fit := _document(submission, entry, "fit"):
            submission.fits[fit["key"]] = fit
            if entry.name != f"fits/{fit['key']}.json":
                submission.note("F016", entry.name, f"the fit {fit['key']}", f"fits/{fit['key']}.json")
    for entry in contents.of("weights"):
        if problem := safetensors_problem(entry):
            submission.note("F014", entry.name, problem, "header, tensors and size that agree")
        submission.weights[entry.name.removeprefix("weights/").removesuffix(".safetensors")] = entry
    tables = {entry.name: entry for entry in contents.of("predictions")}
    for entry in contents.of("record"):
        if value := _document(submission, entry, "record"):
            _record(submission, entry, value, tables, refused)
    if submission.manifest and not contents.of("record"):
        submission.note("F008", "records/", "no record", "at least one")
    records = {entry.name for entry in contents.of("record")} | refused
    records |= {name for name in submission.manifest.get("files", ()) if name.endswith(RECORD_SUFFIX)}
    wanted = {name for name in records if name.endswith(RECORD_SUFFIX)}
    submission.complete = wanted <= {one.name for one in submission.measured} and contents.complete
    owned = {f"records/{one.record.predictions['file']}" for one in submission.measured}
    for name in sorted(set(tables) - owned):
        if name.removesuffix(PREDICTIONS_SUFFIX) + RECORD_SUFFIX not in records:
            submission.note("F008", name, "predictions without a record", "the record beside them")
    _fits(submission, contents, refused)
    return submission


def _hash(submission: Submission, contents: Contents, refused: set[str]) -> set[str]:
    """Compare all files with the manifest's list (rule F013); returns listed files that are not there.

    Weights may be left out, as a repository does: their hashes stay in the list.
    """
    listed = submission.manifest.get("files")
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
        elif listed[name] != {"sha256": digest.hexdigest(), "bytes": entry.size}:
            submission.note("F013", name, f"sha256 {digest.hexdigest()}", f"sha256 {listed[name]['sha256']}")
    missing = set(listed or ()) - set(contents.entries) - refused
    for name in sorted(name for name in missing if not name.startswith(WEIGHTS)):
        submission.note("F013", name, "no such file", "the file that submission.json lists")
    return missing


def _document(submission: Submission, entry: Entry, schema: str) -> dict[str, Any] | None:
    """A JSON file that meets its schema, or None with findings."""
    try:
        value = read_json(entry.read())
    except UserError as error:
        submission.note("F001", entry.name, error.message, "a file that can be read")
        return None
    except DocumentError as error:
        expected = "finite numbers" if error.rule == "F012" else "one UTF-8 JSON object, each key once"
        submission.note(error.rule, entry.name, error, expected)
        return None
    if schema == "record":
        try:
            value = migrate(value, Path(entry.name), RECORD_SCHEMA)
        except Exception as error:  # a step meets whatever an unchecked record of an older version holds
            submission.note("F010", entry.name, f"{type(error).__name__}: {error}", f"schema {RECORD_SCHEMA} or older")
            return None
    elif value.get("schema") != SCHEMA or isinstance(value.get("schema"), bool):
        submission.note("F010", entry.name, f"schema {value.get('schema')!r}", f"schema {SCHEMA}")
        return None
    problems = list(layout_problems(schema, value))
    for rule, place, found, expected in problems:
        submission.note(rule, f"{entry.name} {place}", found, expected)
    return None if problems else value


def _record(
    submission: Submission, entry: Entry, value: dict[str, Any], tables: dict[str, Entry], refused: set[str]
) -> None:
    """Take up one record that meets its schema, and its predictions."""
    problems = section_problems(value)
    for problem in problems:
        submission.note("F012", entry.name, problem, "a record as `run` writes it")
    if problems:
        return
    record = Record(**value)
    one = Measured(entry.name, record)
    submission.measured.append(one)
    data, protocol = record.data, record.protocol
    stem = f"{protocol['id']}-{data['dataset']}-{data['list']}-{protocol['part']}-{record.cell[:8]}"
    file = entry.name.removeprefix("records/").removesuffix(RECORD_SUFFIX)
    if file != stem or record.predictions["file"] != file + PREDICTIONS_SUFFIX:
        submission.note("F016", entry.name, f"{file}, predictions {record.predictions['file']}", f"{stem} for both")
        return
    table = f"records/{record.predictions['file']}"
    if table in tables:
        read_table(submission, one, tables[table])
    elif table not in refused:
        submission.note("F008", table, "no such file", "the predictions of the record beside it")


def read_table(submission: Submission, one: Measured, entry: Entry) -> None:
    """Read the predictions of a record (rule F015)."""
    try:
        data = entry.read()
        text = decompress(data, min(TABLE_LIMIT, MAX_TOTAL - submission.table_bytes))
        submission.table_bytes += len(text)
        one.frame = parse_table(text)
    except TooLargeError as error:
        submission.note("F002", entry.name, error, "a table of predictions")
        return
    except (UserError, ValueError, OverflowError, zlib.error) as error:
        message = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        submission.note("F015", entry.name, message, f"gzip of a table with {', '.join(COLUMNS)}")
        return
    one.table_sha256 = hashlib.sha256(text).hexdigest()


def _fits(submission: Submission, contents: Contents, refused: set[str]) -> None:
    """Each fit that a record or another fit starts from is there, and no other (rules F008, F006)."""
    needed = {str(one.record.fit["key"]): one.name for one in submission.measured if one.record.fit}
    for key, fit in submission.fits.items():
        if key in needed and (parent := parent_of(fit)):
            needed.setdefault(parent, f"fits/{key}.json")
    for key, where in sorted(needed.items()):
        if key not in submission.fits and f"fits/{key}.json" not in {*contents.entries, *refused}:
            submission.note("F008", where, f"no fits/{key}.json", "the fit that it rests on")
    for key in sorted(set(submission.fits) - set(needed)) if submission.complete else ():
        submission.note("F006", f"fits/{key}.json", "a fit that no record rests on", "only fits of the records")
    for key in sorted(set(submission.weights) - set(submission.fits)):
        if f"fits/{key}.json" not in contents.entries:
            name = f"weights/{key}.safetensors"
            submission.note("F006", name, "weights without their fit", "only weights of the fits")


def parent_of(fit: dict[str, Any]) -> str:
    """The key of the fit that a fit starts from, or an empty text."""
    init = fit["identity"].get("init", "clip")
    return init if isinstance(init, str) and init != "clip" else ""


def keys_of(submissions: Iterable[Submission]) -> set[tuple[str, str]]:
    """The (protocol, dataset) pairs that are measured."""
    found = set()
    for submission in submissions:
        found |= {(str(m.record.protocol["id"]), str(m.record.data["dataset"])) for m in submission.measured}
    return found
