"""Fast reading accepts exactly the texts that the slower checks accept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.errors import UserError
from results.closed_types import exactly
from results.codec import DecodeError, JsonObject, decode
from results.record import Record, read_record
from tests.results.factories import write_sample

CHANGES: dict[str, Callable[[JsonObject], object]] = {
    "nothing": lambda r: None,
    "an unknown field": lambda r: r.update(more=1),
    "an unknown inner field": lambda r: r["measurement"]["evaluation"]["views"].update(more=1),
    "an absent field with a default": lambda r: r.pop("remarks"),
    "an absent inner field with a default": lambda r: r["measurement"]["training"]["recipe"].pop("mixup"),
    "an unknown field in a list": lambda r: r["columns"][0].update(more=1),
    "an absent field in a list": lambda r: r["columns"][0].pop("harmonic_of"),
    "a whole number as 5.0": lambda r: r["cost"].update(eval_seconds=5),
    "a count as 1.0": lambda r: r["measurement"].update(engine=1.0),
    "a truth value as a number": lambda r: r.update(embedded=1),
    "a number as a truth value": lambda r: r["measurement"].update(engine=True),
    "a negative count": lambda r: r["measurement"].update(engine=-1),
    "views that a dataclass refuses": lambda r: r["measurement"]["evaluation"]["views"].update(crops=2),
    "an unknown training": lambda r: r["measurement"].update(training="unknown"),
    "an untrained method": lambda r: r["measurement"].update(training=None),
    "another word as training": lambda r: r["measurement"].update(training="none"),
    "a later field": lambda r: r["measurement"]["training"]["recipe"].update(clip_norm=1.5),
    "a later field at its default": lambda r: r["measurement"]["training"]["recipe"].update(clip_norm=0.0),
    "options of all kinds": lambda r: r["measurement"]["method"].update(options={"a": [1, "b", 2.5, None], "c": True}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_both_ways_accept_the_same_texts_as_the_same_records(tmp_path: Path, name: str) -> None:
    path = write_sample(tmp_path)
    value = json.loads(path.read_bytes())
    CHANGES[name](value)
    try:
        expected = decode(value, Record)
    except DecodeError:
        expected = None
    found = exactly(json.dumps(value).encode(), Record)
    assert found is None if name == "a later field" else found == expected
    path.write_text(json.dumps(value), "utf-8")
    if expected is None:
        with pytest.raises(UserError, match="is not valid"):
            read_record(path)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000, b'"\\ud800"'])
def test_a_text_that_is_no_record_is_left_to_the_slower_checks(text: bytes) -> None:
    assert exactly(text, Record) is None


def test_the_message_on_a_changed_file_names_the_field(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    value = json.loads(path.read_bytes())
    del value["cost"]["gflops"]
    path.write_text(json.dumps(value), "utf-8")
    with pytest.raises(Exception, match="gflops is missing"):
        read_record(path)
