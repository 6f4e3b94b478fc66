"""`fit.json` is checked on reading and writing; every message names file, field, found, expected and the way out."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from harness.base.errors import EXIT_FAILED, UserError
from results.codec import DecodeError
from results.fit_file import (
    AGAIN,
    FIT_FILE,
    SCHEMA,
    FitFile,
    FitOutcome,
    Parameters,
    WeightsFile,
    fit_file_of,
    read_fit_file,
    write_fit_file,
)
from results.measurement import FitDescription, Measurement, Start, fit_key, keys_of
from results.provenance import Environment, GitState
from tests.results.factories import Sample, sample_measurement
from tests.results.measurements import measurements


def fit_file(m: Measurement | None = None) -> FitFile:
    """A valid fit file, with a parent fit."""
    if m is None:
        m = sample_measurement(Sample(part="base", options=(("k", 3),)), "base_1", "0" * 64, ("a",), 120)
        assert m.fitted is not None
        m = replace(m, training=replace(m.fitted, start=Start("fit", "vificlip mini_source/train", "5" * 16, "0" * 64)))
    assert m.fitted is not None
    described = FitDescription(m.method, m.model, m.fitted, m.engine)
    return FitFile(
        fit_key(described), "vificlip mini_target/base_s1", described, WeightsFile("weights.safetensors", "1" * 64),
        ("walk", "run"), FitOutcome(33, 3, 0, 1.5, 50.0, 0, 0, [3, 5], 0.5), Parameters(10, 5),
        Environment("3.11", "Linux", {"torch": "2"}, GitState("0" * 40, False), 2, "cpu", "float32", 2),
        "2026-01-01T00:00:00Z",
    )  # fmt: skip


def stored(folder: Path) -> dict[str, Any]:
    write_fit_file(folder, fit_file())
    return json.loads((folder / FIT_FILE).read_text(encoding="utf-8"))


def refused(folder: Path, value: Any) -> str:
    path = folder / FIT_FILE
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_fit_file(folder)
    assert str(path) in caught.value.message and caught.value.hint == AGAIN and caught.value.exit_code == EXIT_FAILED
    assert "\n" not in caught.value.message and "`" not in caught.value.message
    return caught.value.message


def test_a_fit_file_survives_the_way_to_disk_and_back(tmp_path: Path) -> None:
    assert read_fit_file(tmp_path) is None, "an unfinished fit has no file"
    content = fit_file()
    write_fit_file(tmp_path, content)
    assert read_fit_file(tmp_path) == content
    lost = replace(content, outcome=replace(content.outcome, final_loss=None, replaced=[]))
    write_fit_file(tmp_path, lost)
    assert read_fit_file(tmp_path) == lost


@pytest.mark.slow
@given(m=measurements(True))
@settings(max_examples=15, deadline=None)
def test_any_valid_fit_survives_and_has_the_key_of_its_measurements(
    tmp_path_factory: pytest.TempPathFactory, m: Measurement
) -> None:
    folder = tmp_path_factory.mktemp("fit")
    content = fit_file(m)
    write_fit_file(folder, content)
    assert read_fit_file(folder) == content and content.key == keys_of(m).fit


WRONG: list[tuple[str, Any, str]] = [
    ("key", "0" * 16, "key is '0000000000000000', expected '"),
    ("key", "abc", "key is 'abc', expected 16 hex digits"),
    ("weights.sha256", "g" * 64, "expected 64 hex digits"),
    ("described.training.start.key", "k", "described.training.start.key is 'k', expected hex digits"),
    ("described.engine", 9, "which follows from the description"),
    ("described.training", None, "described.training is None, expected object"),
    ("described.training.used", 193, "described.training.used is 193, expected 1 to 192"),
    ("described.training.used", 0, "described.training.used is 0, expected 1 to 192"),
    ("described.training.start.kind", "magic", "training.start.kind is 'magic', expected one of 'checkpoint', 'clip'"),
    ("described.training.recipe.epochs", 0, "recipe.epochs is 0, expected at least 1"),
    ("described.method.options", {"k": [[1]]}, "described.method.options.k[0] is a JSON array of 1, expected"),
    ("weights.file", "../w.safetensors", "weights.file is '../w.safetensors', expected the name of a file"),
    ("weights.file", "", "weights.file is '', expected"),
    ("weights.file", "a\\b", "expected the name of a file in the folder of the fit"),
    ("outcome.updates", "many", "outcome.updates is 'many', expected int"),
    ("outcome.replaced", [1, "2"], "outcome.replaced[1] is '2', expected int"),
    ("parameters.total", -1, "parameters.total is -1, expected int >= 0"),
    ("created", 5, "created is 5, expected str"),
]


@pytest.mark.parametrize(("place", "value", "message"), WRONG, ids=[f"{p}={v!r}"[:50] for p, v, _ in WRONG])
def test_a_wrong_value_is_named_with_what_was_expected(tmp_path: Path, place: str, value: Any, message: str) -> None:
    content = stored(tmp_path)
    *steps, last = place.split(".")
    holder = content
    for step in steps:
        holder = holder[step]
    holder[last] = value
    assert message in refused(tmp_path, content)


@pytest.mark.slow
def test_every_missing_and_every_unknown_field_is_refused_by_name(tmp_path: Path) -> None:
    content = stored(tmp_path)

    def objects(value: Any, place: str = "") -> list[tuple[str, dict[str, Any]]]:
        if not isinstance(value, dict) or place.endswith(("options.", "packages.")):
            return []
        return [(place, value), *(o for name, v in value.items() for o in objects(v, f"{place}{name}."))]

    checked = 0
    for place, holder in objects(content):
        for name in list(holder):
            value = holder.pop(name)
            message = refused(tmp_path, content)
            assert f"{place}{name} is missing, expected " in message or name == "schema"
            holder[name] = value
            checked += 1
        holder["extra"] = 1
        assert f"{place}extra is unknown, expected only " in refused(tmp_path, content)
        del holder["extra"]
    assert checked > 80
    (tmp_path / FIT_FILE).write_text(json.dumps(content), encoding="utf-8")
    assert read_fit_file(tmp_path) == fit_file()


@pytest.mark.parametrize("schema", [SCHEMA - 1, SCHEMA + 1, "2", None, True])
def test_other_schemas_are_refused_in_one_line(tmp_path: Path, schema: Any) -> None:
    message = refused(tmp_path, {**stored(tmp_path), "schema": schema})
    assert message == f"{tmp_path / FIT_FILE}: schema is {schema!r}, expected {SCHEMA}."


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema": NaN}', "{" * 100_000])
def test_damaged_files_are_one_error(tmp_path: Path, text: str) -> None:
    assert f"schema {SCHEMA}" in refused(tmp_path, text)


def test_nothing_invalid_is_written(tmp_path: Path) -> None:
    good = fit_file()
    for bad, message in (
        (replace(good, key="0" * 16), "key is"),
        (replace(good, outcome=replace(good.outcome, final_loss=math.nan)), "final_loss is nan, expected a finite"),
        (replace(good, weights=WeightsFile("a/b", "1" * 64)), "weights.file is 'a/b'"),
        (replace(good, created="\ud800"), "cannot be written as UTF-8"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            write_fit_file(tmp_path, bad)
        assert str(tmp_path / FIT_FILE) in caught.value.message and "Nothing was written" in caught.value.hint
        assert not list(tmp_path.iterdir())
    with pytest.raises(DecodeError, match="the file is a JSON array of 0, expected object"):
        fit_file_of([])
