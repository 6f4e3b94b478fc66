"""Dataclasses of the JSON files of a submission, and the JSON Schema of all files, derived from the dataclasses.

Schemas are closed: an unknown field is an error. Because submissions are not trusted, texts and names have a largest
length, which files of a run do not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import jsonschema_rs
from msgspec import Meta

from results.codec import JsonObject, JsonValue, json_schema
from results.fit_file import FitFile
from results.measurement import Count, Positive, Sha256
from results.measurement_parts import END
from results.provenance import Environment
from results.record import Record
from results.statistics.metric_values import Percent
from results.submission.contents import printable

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

SCHEMA = 1
"""Version of the layout of submission.json, card.json and environment.json."""
LONGEST_TEXT = 2000
LONGEST_KEY = 100
"""Largest length of a key of a mapping, such as the name of a package or an option."""
LONGEST_PATH = 240
MOST_PROBLEMS = 20
"""Largest number of reported problems of one file."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}" + END
Name = Annotated[str, Meta(pattern=_NAME)]


@dataclass(frozen=True)
class ListedFile:
    """A file of the submission as the manifest lists it."""

    sha256: Sha256
    bytes: Count


@dataclass(frozen=True)
class Score:
    """A table cell in percent: the mean over repeats, or the harmonic mean of two such means.

    Args:
        row: Row key of the records.
        protocol: Name of the protocol.
        dataset: Name of the dataset.
        column: Name of the column.
        mean: Mean over repeats, not rounded.
        spread: Standard deviation over repeats; None for a single repeat and for harmonic means.
        n: Number of repeats.
        kind: Kind of the repeats.
        low, high: 95 % interval for other videos; None without readable predictions, or if all videos have one source.
    """

    row: str
    protocol: str
    dataset: str
    column: str
    mean: Percent
    spread: float | None
    n: Count
    kind: str
    low: Percent | None
    high: Percent | None


@dataclass(frozen=True)
class Manifest:
    """The content of `submission.json`.

    Args:
        method: Name of the method.
        version: Version of the method.
        title: Display name of the method.
        submitter: Name of the submitter.
        code: Address of the public code of the method.
        harness: Version of the harness that packed the submission.
        scores: All table cells of the records.
        files: sha256 and size of every other file, by path.
        schema: Version of this layout.
    """

    method: Name
    version: Positive
    title: str
    submitter: str
    code: Annotated[str, Meta(pattern=r"^(https?://[!-~]{1,1900})?" + END)]
    harness: str
    scores: tuple[Score, ...]
    files: dict[Annotated[str, Meta(max_length=LONGEST_PATH)], ListedFile] = field(default_factory=dict)
    schema: int = SCHEMA


@dataclass(frozen=True)
class Card:
    """The content of `card.json`: a readable description of the method."""

    name: Name
    title: str
    version: Positive
    family: str
    class_text: str
    extra_data: tuple[str, ...]
    unverified: str
    paper: str
    source: str
    schema: int = SCHEMA


@dataclass(frozen=True)
class Environments:
    """The content of `environment.json`: the different environments of the records."""

    environments: Annotated[tuple[Environment, ...], Meta(min_length=1)]
    schema: int = SCHEMA


KINDS: dict[str, type] = {
    "submission.json": Manifest, "card.json": Card, "environment.json": Environments, "record": Record, "fit": FitFile,
}  # fmt: skip
"""The dataclass of each kind of JSON file."""
_NAMED = {"MethodId": "name", "ProtocolId": "name"}
"""Fields of measurements that must have the form `Name` in a submission, by dataclass."""


@cache
def schema_of(kind: str) -> JsonObject:
    """JSON Schema of a kind of JSON file, with the limits of submissions."""
    schema = json_schema(KINDS[kind])
    for part, name in _NAMED.items():
        if (field_schema := _below(schema, "$defs", part, "properties", name)) is not None:
            field_schema["pattern"] = _NAME
    _limit(schema)
    return schema


def _below(node: JsonObject, *path: str) -> JsonObject | None:
    """The object at a path below a node; None where there is none."""
    for name in path:
        child = node.get(name)
        if not isinstance(child, dict):
            return None
        node = child
    return node


def _limit(node: JsonValue) -> None:
    """Limit the length of all texts and mapping keys below a node of a schema."""
    if isinstance(node, list):
        for item in node:
            _limit(item)
    if not isinstance(node, dict):
        return
    if node.get("type") == "string" and "pattern" not in node:
        node.setdefault("maxLength", LONGEST_TEXT)
    # A mapping with free keys, such as options: the limits of values do not bind its keys.
    if isinstance(node.get("additionalProperties"), dict):
        node.setdefault("propertyNames", {"maxLength": LONGEST_KEY})
    for item in node.values():
        _limit(item)


@cache
def _quick(kind: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema_of(kind))


@cache
def _validator(kind: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # needed only for a file with a problem

    return Draft202012Validator(schema_of(kind))


def layout_problems(kind: str, value: JsonValue) -> Iterator[tuple[str, str, str, str]]:
    """The first problems of a JSON file, as (rule, field, found, expected).

    Args:
        kind: Key of `KINDS`.
        value: Content of the file.
    """
    # jsonschema_rs validates a record in microseconds; jsonschema takes milliseconds and names the wrong field.
    if _quick(kind).is_valid(value):
        return
    for error in islice(_validator(kind).iter_errors(value), MOST_PROBLEMS):
        yield _problem(error)


def _problem(error: ValidationError) -> tuple[str, str, str, str]:
    """A validation error; of several alternatives the error that is nested deepest."""
    # jsonschema reports only that no alternative matched; the deepest error names the wrong field.
    while error.validator == "anyOf" and error.context:
        error = max(error.context, key=lambda inner: len(inner.absolute_path))
    field_path = ".".join(map(str, error.absolute_path)) or "top level"
    if error.validator == "additionalProperties" and error.schema["additionalProperties"] is False:
        unknown = sorted(set(error.instance) - set(error.schema["properties"]))
        return "F011", field_path, ", ".join(unknown), f"only {', '.join(sorted(error.schema['properties']))}"
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(error.instance))
        return "F012", field_path, f"without {', '.join(missing)}", "an entry for each"
    return "F012", field_path, printable(repr(error.instance), 100), _words(error.validator, error.validator_value)


def _words(validator: str, wanted: JsonValue) -> str:
    names = {
        "type": "a {}", "enum": "one of {}", "pattern": "text of the form {}", "minimum": "at least {}",
        "maximum": "at most {}", "minItems": "at least {} entries", "maxLength": "at most {} characters",
    }  # fmt: skip
    shown = " or ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)
    return names.get(validator, f"{validator} {{}}").format(shown)


_PLACE = re.compile(r"[^A-Za-z0-9._+-]")


def record_stem(record: Record) -> str:
    """File name of a record in a submission, without suffix: measured list, part, and first digits of the key."""
    m = record.measurement
    parts = (m.protocol.name, m.evaluation.list.dataset, m.evaluation.list.name, m.protocol.part, record.key[:8])
    # The end and not the beginning is kept, because the key at the end makes the name unique.
    stem = _PLACE.sub("_", "-".join(parts))[-150:]
    return stem if stem[0].isalnum() else f"x{stem}"
