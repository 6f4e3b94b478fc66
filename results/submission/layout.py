"""What each JSON file of a submission holds, as JSON Schema: closed objects, so that an unknown entry is an error.

Entries that differ from method to method (options, recipe, costs, packages) are open in their names and closed in
their types.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from results.record import STATUSES
from results.schema import REPEAT_KINDS
from results.submission.contents import printable

Schema = dict[str, Any]
SCHEMA = 1
"""Version of the layout of submission.json, card.json and environment.json."""

TEXT: Schema = {"type": "string", "maxLength": 2000}
NAME: Schema = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}\Z"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
PERCENT: Schema = {"type": "number", "minimum": 0, "maximum": 100}
SHA256: Schema = {"type": "string", "pattern": r"^[0-9a-f]{64}\Z"}
KEY: Schema = {"type": "string", "pattern": r"^[0-9a-f]{16}\Z"}
BOOL: Schema = {"type": "boolean"}
VERSION: Schema = {"anyOf": [{"type": "integer", "minimum": 0}, NAME]}
PLAIN: Schema = {"type": ["string", "number", "boolean", "null"]}
OPEN: Schema = {"type": "object"}


def _object(optional: Schema | None = None, **required: Schema) -> Schema:
    return {
        "type": "object", "properties": {**required, **(optional or {})}, "required": sorted(required),
        "additionalProperties": False,
    }  # fmt: skip


def _list(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def _map(values: Schema) -> Schema:
    return {"type": "object", "propertyNames": {"maxLength": 100}, "additionalProperties": values}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


VALUE: Schema = {"anyOf": [PLAIN, _list(PLAIN)]}
REPEAT = _object(kind={"enum": list(REPEAT_KINDS)}, index={"type": "integer", "minimum": 1})
TRAIN = _object(
    {"labels": TEXT, "variant": TEXT, "n_used": COUNT, "content": SHA256},
    dataset=TEXT, list=TEXT, sha256=SHA256, n=COUNT,
)
ENVIRONMENT = _object(
    {"cpus": _or_null(COUNT), "threads": COUNT, "processes": COUNT, "compiled": BOOL},
    python=TEXT, platform=TEXT, packages=_map(TEXT), device=TEXT, dtype=TEXT,
    git=_object({"dirty": {"type": ["boolean", "null"]}}, commit={"type": ["string", "null"]}),
)  # fmt: skip
AUDIT = _object(
    train=TEXT, test=TEXT, same_classes=BOOL, classes=COUNT, source=TEXT, strict_relations=_list(TEXT),
    seen_ids=_list(COUNT), seen=_list(_object(id=COUNT, name=TEXT, relation=TEXT, counterparts=_list(TEXT))),
)  # fmt: skip

RECORD = _object(
    schema=COUNT, cell=KEY, signature=TEXT, identity=OPEN, status={"enum": list(STATUSES)}, created=TEXT,
    protocol=_object(
        id=NAME, version=COUNT, division={"enum": ["closed", "open"]}, part=TEXT, incomplete=_list(TEXT),
        columns=_list(_object({"part": TEXT, "metric": TEXT, "harmonic_of": _list(TEXT)}, name=TEXT), 1),
    ),
    data=_object(
        dataset=TEXT, list=TEXT, list_sha256=SHA256, list_origin={"enum": ["published", "generated", "own"]},
        labels=TEXT, labels_sha256=SHA256, label_variant={"enum": ["published", "corrected", "split"]},
        classes=_list(TEXT, 1), n_expected={"type": "integer", "minimum": 1}, n_evaluated=COUNT, n_undecodable=COUNT,
        undecodable=_list(_object(video=TEXT, reason=TEXT)), embedded=BOOL,
    ),
    method=_object(
        name=NAME, title=TEXT, version=VERSION, family=TEXT, origin=TEXT, source_sha256=SHA256, options=_map(VALUE),
        class_text=TEXT, extra_data=_list(TEXT), params_total=COUNT, params_trained=COUNT, unverified=TEXT,
        paper=TEXT, source=TEXT,
    ),
    backbone=_object(name=TEXT, arch=TEXT, weights=TEXT, weights_sha256=SHA256, image_size=COUNT),
    fit=_or_null(_object(
        key=KEY, name=TEXT, train=TRAIN, repeat=REPEAT, shots=_or_null(COUNT), seed=COUNT, recipe=_map(VALUE),
        effective_batch=COUNT, updates=COUNT, init=TEXT, selection=TEXT, weights_sha256=SHA256,
    )),
    repeat=REPEAT,
    views=_object(
        frames=COUNT, clips=COUNT, crops=COUNT, sampling=TEXT, normalize=TEXT, reader=TEXT, size=COUNT, text=TEXT,
    ),
    metrics=_object(top1=PERCENT, top5=PERCENT, mean_class=PERCENT),
    overlap=_object(
        {"audits": _list(AUDIT)}, train_videos=COUNT, seen_classes=_list(TEXT), top1_strict=_or_null(PERCENT),
    ),
    cost=_map({"type": ["number", "null"]}),
    environment=ENVIRONMENT,
    predictions=_object(file=TEXT, sha256=SHA256),
)  # fmt: skip

SUBMISSION = _object(
    schema=COUNT, method=NAME, version=VERSION, title=TEXT, submitter=TEXT, code=TEXT, harness=TEXT,
    files=_map(_object(sha256=SHA256, bytes=COUNT)),
    scores=_list(_object(
        row=TEXT, protocol=TEXT, dataset=TEXT, column=TEXT, mean=PERCENT, spread=_or_null(NUMBER), n=COUNT,
        kind=TEXT, low=PERCENT, high=PERCENT,
    )),
)  # fmt: skip
CARD = _object(
    schema=COUNT, name=NAME, title=TEXT, version=VERSION, family=TEXT, class_text=TEXT, extra_data=_list(TEXT),
    unverified=TEXT, paper=TEXT, source=TEXT,
)  # fmt: skip
ENVIRONMENTS = _object(schema=COUNT, environments=_list(ENVIRONMENT, 1))
FIT = _object(
    schema=COUNT, key=KEY, name=TEXT, identity=OPEN, recipe=_map(VALUE), train=TRAIN,
    weights=_object(file=TEXT, sha256=SHA256), outcome=_map({"anyOf": [PLAIN, _list(NUMBER)]}),
    parameters=_object(total=COUNT, trained=COUNT), environment=ENVIRONMENT, created=TEXT,
)  # fmt: skip

SCHEMAS = {
    "submission.json": SUBMISSION, "card.json": CARD, "environment.json": ENVIRONMENTS, "record": RECORD, "fit": FIT,
}  # fmt: skip


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(SCHEMAS[name])


def layout_problems(name: str, value: Any) -> Iterator[tuple[str, str, str, str]]:
    """What is wrong with a JSON file's entries, as (rule, place, found, expected).

    Args:
        name: Of `SCHEMAS`.
        value: As read.
    """
    for error in _validator(name).iter_errors(value):
        yield _problem(error)


def _problem(error: Any) -> tuple[str, str, str, str]:
    """One validation error; of alternatives the one that fails deepest inside."""
    while error.validator == "anyOf" and error.context:
        error = max(error.context, key=lambda inner: len(inner.absolute_path))
    place = ".".join(map(str, error.absolute_path)) or "top level"
    if error.validator == "additionalProperties" and error.schema["additionalProperties"] is False:
        unknown = sorted(set(error.instance) - set(error.schema["properties"]))
        return "F011", place, ", ".join(unknown), f"only {', '.join(sorted(error.schema['properties']))}"
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(error.instance))
        return "F012", place, f"without {', '.join(missing)}", "an entry for each"
    return "F012", place, printable(repr(error.instance), 100), _words(error.validator, error.validator_value)


def _words(validator: str, wanted: Any) -> str:
    names = {
        "type": "a {}", "enum": "one of {}", "pattern": "text of the form {}", "minimum": "at least {}",
        "maximum": "at most {}", "minItems": "at least {} entries", "maxLength": "at most {} characters",
    }  # fmt: skip
    shown = " or ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)
    return names.get(validator, f"{validator} {{}}").format(shown)
