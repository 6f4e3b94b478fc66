"""The quick check of a schema never accepts a value that `jsonschema` refuses, and accepts whole submissions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from results.submission.layout import KINDS, schema_of
from results.submission.quick_schema import compile_schema
from tests.results.submission.corrupted import fresh_files

Json = dict[str, Any]
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 100, 101, 0.0, 0.5, 1.0, 100.5, 2**53, "", "a", "own", "unknown", "a b", "a\n",
    "0" * 16, "f" * 64, "g" * 64, "x" * 100, "x" * 101, "x" * 2001, [], [1], [1, 2], [1, 2, 3], [0.9, 0.98], ["a", "b"],
    ["a", 1], [None], [[]], {}, {"a": 1}, {"a": "b"}, {"a": None}, {"x" * 101: 1}, {"a": []},
)  # fmt: skip


def leaves(node: Any) -> Iterator[Json]:
    """All schemas below a node that refer to no other schema."""
    if isinstance(node, dict):
        if ("type" in node or "anyOf" in node or "enum" in node) and "$ref" not in json.dumps(node):
            yield node
        for entry in node.values():
            yield from leaves(entry)
    for entry in node if isinstance(node, list) else ():
        yield from leaves(entry)


@pytest.mark.parametrize("kind", KINDS)
def test_every_leaf_of_a_schema_accepts_the_same_values_as_jsonschema(kind: str) -> None:
    schemas = {json.dumps(leaf, sort_keys=True): leaf for leaf in leaves(schema_of(kind)) if isinstance(leaf, dict)}
    assert len(schemas) > 5
    for schema in schemas.values():
        quick, whole = compile_schema(schema), Draft202012Validator(schema)
        for value in VALUES:
            # JSON Schema counts 1.0 as an integer; the quick check leaves such a value to jsonschema.
            leftover = isinstance(value, float) and value.is_integer()
            assert quick(value) == whole.is_valid(value) or (leftover and not quick(value)), (schema, value)


def documents() -> Iterator[tuple[str, Json]]:
    """The JSON files of a valid submission with the names of their kinds, the first of a kind only."""
    files, manifest = fresh_files()
    seen = {"submission.json"}
    yield "submission.json", {**manifest, "files": {"card.json": {"sha256": "0" * 64, "bytes": 1}}}
    for name in sorted(name for name in files if name.endswith(".json")):
        kind = "record" if name.startswith("records/") else "fit" if name.startswith("fits/") else name
        if kind not in seen:
            seen.add(kind)
            yield kind, json.loads(files[name])
    assert seen == set(KINDS)


def objects(node: Any) -> Iterator[Json]:
    """All JSON objects below a node."""
    if isinstance(node, dict):
        yield node
    for entry in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from objects(entry)


def test_whole_files_are_accepted_and_a_missing_or_unknown_field_of_any_object_is_not() -> None:
    for kind, value in documents():
        quick, whole = compile_schema(schema_of(kind)), Draft202012Validator(schema_of(kind))
        assert quick(value) and whole.is_valid(value)
        for item in objects(value):
            for name in list(item):
                left = item.pop(name)
                assert not quick(value) or whole.is_valid(value), f"{kind} without {name}"
                item[name] = left
            item["x"] = {"unknown": []}
            assert not quick(value), f"{kind} with an unknown entry in {sorted(item)}"
            del item["x"]


def test_a_schema_with_an_unknown_keyword_is_left_to_jsonschema() -> None:
    for schema in ({"type": "string", "format": "date"}, {"type": "integer", "multipleOf": 2}, {"not": {}}, {},
                   {"type": "array", "uniqueItems": True}, {"type": "object", "minProperties": 1},
                   {"enum": [1]}, {"$ref": "#/$defs/absent"}):  # fmt: skip
        assert not any(map(compile_schema(schema), VALUES)), schema
