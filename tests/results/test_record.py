"""Records and fit files are checked on reading and writing, and written atomically by several processes."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.errors import EXIT_FAILED, UserError
from results.codec import DecodeError, decode, encode, json_schema
from results.measurement import Measurement, keys_of
from results.record import AGAIN, SCHEMA, Record, find_records, read_record, record_of, write_record
from results.score import score
from tests.results.factories import write_sample
from tests.results.measurements import measurements

OLD = Path(__file__).with_name("data") / "schema_1"


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def at(value: Any, place: str) -> tuple[Any, str | int]:
    """The container and the last step of a place such as `measurement.evaluation.list.n` or `columns.0.name`."""
    *steps, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    for step in steps:
        value = value[step]
    return value, last


def refused(path: Path, value: Any) -> UserError:
    """The error of reading a changed record; it is one line and a way out."""
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_record(path)
    error = caught.value
    assert str(path) in error.message and error.hint == AGAIN and error.exit_code == EXIT_FAILED
    assert "\n" not in error.message and "`" not in error.message and "$" not in error.message
    return error


def test_a_record_survives_the_way_to_disk_and_back(tmp_path: Path) -> None:
    for options in ({}, {"trained": False}, {"list_origin": "own", "content": "x"}, {"init": "fit parent"}):
        record = read_record(write_sample(tmp_path, **options))
        write_record(tmp_path / "copy.record.json", record)
        again = read_record(tmp_path / "copy.record.json")
        assert again == record and keys_of(again.measurement) == keys_of(record.measurement)


@pytest.mark.slow
@given(m=measurements())
@settings(max_examples=15, deadline=None)
def test_any_valid_measurement_survives_in_a_record(tmp_path_factory: pytest.TempPathFactory, m: Measurement) -> None:
    folder = tmp_path_factory.mktemp("record")
    record = sealed(read_record(write_sample(folder)), m)
    write_record(folder / "copy.record.json", record)
    assert read_record(folder / "copy.record.json") == record


def sealed(record: Record, m: Measurement) -> Record:
    """The record with another measurement, and the key and signature that follow."""
    from results.measurement_words import signature

    fit = record.fit if m.fitted is not None else None
    return replace(record, measurement=m, key=keys_of(m).cell, signature=signature(m), fit=fit)


WRONG: list[tuple[str, Any, str]] = [
    ("metrics.top1", 101.0, "metrics.top1 is 101.0, expected float <= 100.0"),
    ("metrics.top1", True, "metrics.top1 is True, expected float"),
    ("metrics.top5", "high", "metrics.top5 is 'high', expected float"),
    ("metrics.mean_class", None, "metrics.mean_class is None, expected float"),
    ("measurement.evaluation.list.n", 0, "measurement.evaluation.list.n is 0, expected int >= 1"),
    ("measurement.evaluation.list.n", 12.5, "measurement.evaluation.list.n is 12.5, expected int"),
    ("measurement.evaluation.list.origin", "stolen",
     "measurement.evaluation.list.origin is 'stolen', expected one of 'generated', 'own', 'published', 'unknown'"),
    ("measurement.training", "maybe", "measurement.training is 'maybe', expected one of "),
    ("measurement.training", 3, "measurement.training is 3, expected"),
    ("measurement.training.start.kind", "magic", "expected one of 'checkpoint', 'clip', 'fit', 'unknown'"),
    ("measurement.method.options", {"a": 1, "k": {"deep": 1}},
     "measurement.method.options.k is a JSON object of 1, expected"),
    ("measurement.method.options", [], "measurement.method.options is a JSON array of 0, expected object"),
    ("measurement.protocol.scope.expected.0.repeat.index", "one",
     "measurement.protocol.scope.expected[0].repeat.index is 'one', expected int"),
    ("measurement.evaluation.views.crops", 2, "views.crops is 2, expected one of (1, 3)"),
    ("measurement.training.recipe.lr", -1.0, "recipe.lr is -1, expected a number above 0"),
    ("columns", [], "columns is a JSON array of 0, expected array of length >= 1"),
    ("columns", [{"name": "x", "part": "a", "metric": "top1", "harmonic_of": ["a", "b"]}],
     "expected either a part or harmonic_of"),
    ("predictions.file", "../../etc/passwd", "predictions.file is '../../etc/passwd', expected the name of a file"),
    ("predictions.file", ".hidden", "expected the name of a file beside the record"),
    ("cost.gflops", -1.0, "cost.gflops is -1.0, expected float >= 0.0"),
    ("cost.gflops", "many", "cost.gflops is 'many', expected float | null"),
    ("status", "famous", "status is 'famous', expected one of 'reported', 'reproduced', 'submitted', 'verified'"),
    ("remarks", "none", "remarks is 'none', expected array"),
    ("remarks", [1], "remarks[0] is 1, expected str"),
    ("classes.0", 7, "classes[0] is 7, expected str"),
    ("fit", None, "fit is null, expected facts of the fit, as measurement.training is given"),
    ("key", "0" * 16, "key is '0000000000000000', expected '"),
    ("signature", "b2n", "signature is 'b2n', expected 'b2n.1|"),
    ("measurement.engine", 2, "key is "),
    ("measurement.method.version", 2, "which follows from the measurement"),
    ("measurement.evaluation.evaluated", 121, "measurement.evaluation.evaluated is 121, expected 1 to 120"),
    ("measurement.evaluation.evaluated", 0, "measurement.evaluation.evaluated is 0, expected 1 to 120"),
    ("measurement.training.used", 193, "measurement.training.used is 193, expected 1 to 192"),
    ("environment.packages", {"torch": 2}, "environment.packages.torch is 2, expected str"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "message"), WRONG, ids=[f"{p}={v!r}"[:60] for p, v, _ in WRONG])
def test_a_wrong_value_is_named_with_what_was_expected(tmp_path: Path, place: str, value: Any, message: str) -> None:
    path = write_sample(tmp_path)
    content = load(path)
    holder, last = at(content, place)
    holder[last] = value
    assert message in refused(path, content).message


def fields_of(value: Any, place: str = "") -> list[str]:
    """Places of all fields of objects whose names the schema fixes."""
    if not isinstance(value, dict) or place.endswith(("options", "packages", "defaults")):
        return []
    inner = [f"{place}.{name}".removeprefix(".") for name in value]
    return inner + [p for name, v in value.items() for p in fields_of(v, f"{place}.{name}".removeprefix("."))]


@pytest.mark.slow
def test_every_missing_and_every_unknown_field_is_refused_by_name(tmp_path: Path) -> None:
    path = write_sample(tmp_path, options=(("k", 3),))
    places = fields_of(load(path))
    assert len(places) > 120
    for place in places:
        content = load(path)
        holder, last = at(content, place)
        kept = path.read_text(encoding="utf-8")
        del holder[last]
        message = refused(path, content).message
        assert place.rpartition(".")[2] in message and ("missing, expected" in message or place == "schema"), message
        if isinstance(load_text(kept, place), dict) and not place.endswith(("options", "packages", "defaults")):
            content = json.loads(kept)
            holder, last = at(content, place)
            holder[last]["extra"] = 1
            message = refused(path, content).message
            assert f"{place}.extra is unknown, expected only" in message
        path.write_text(kept, encoding="utf-8")
    content = load(path)
    assert "extra is unknown, expected only key, signature" in refused(path, {**content, "extra": 1}).message


def load_text(text: str, place: str) -> Any:
    holder, last = at(json.loads(text), place)
    return holder[last]


@pytest.mark.parametrize("schema", [SCHEMA - 1, SCHEMA + 1, 0, -1, "1", None, True, float(SCHEMA) + 0.5])
def test_other_schemas_are_refused_in_one_line(tmp_path: Path, schema: Any) -> None:
    path = write_sample(tmp_path)
    message = refused(path, {**load(path), "schema": schema}).message
    assert message == f"{path}: schema is {schema!r}, expected {SCHEMA}."


def test_a_file_of_an_older_version_is_refused_in_one_line_and_changes_nothing(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "runs")
    (path,) = find_records(tmp_path / "runs")
    before = path.read_bytes()
    assert refused(path, before.decode()).message == f"{path}: schema is 1, expected {SCHEMA}."
    assert path.read_bytes() == before
    content = load(write_sample(tmp_path))
    del content["schema"]
    assert "schema is 'no schema'" in refused(path, content).message


BROKEN: list[tuple[str, Callable[[str], str | bytes]]] = [
    ("cut", lambda text: text[: len(text) // 2]),
    ("empty", lambda text: ""),
    ("not an object", lambda text: "[1, 2]"),
    ("a number", lambda text: "3"),
    ("not UTF-8", lambda text: text.encode() + b"\xff"),
    ("not a number", lambda text: text.replace('"gflops": 281.0', '"gflops": NaN')),
    ("infinite", lambda text: text.replace('"gflops": 281.0', '"gflops": 1e999')),
    ("half a surrogate", lambda text: text.replace('"title": "vificlip"', '"title": "\\ud800"')),
    ("deep", lambda text: "[" * 100_000),
    ("two values", lambda text: text + text),
]


@pytest.mark.parametrize(("name", "change"), BROKEN, ids=[name for name, _ in BROKEN])
def test_damaged_files_are_one_error_that_names_the_file(
    tmp_path: Path, name: str, change: Callable[[str], str | bytes]
) -> None:
    path = write_sample(tmp_path)
    text = path.read_text(encoding="utf-8")
    changed = change(text)
    assert changed != text
    path.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    with pytest.raises(UserError, match="schema 3") as caught:
        read_record(path)
    assert str(path) in caught.value.message and caught.value.hint == AGAIN
    assert "\n" not in caught.value.message
    path.unlink()
    with pytest.raises(UserError, match="is missing, expected a JSON file of schema 3"):
        read_record(path)


def test_nothing_invalid_is_written(tmp_path: Path) -> None:
    good = read_record(write_sample(tmp_path))
    target = tmp_path / "new.record.json"
    for bad, message in (
        (replace(good, key="0" * 16), "key is"),
        (replace(good, metrics=replace(good.metrics, top1=-1.0)), "metrics.top1 is -1.0, expected"),
        (replace(good, cost=replace(good.cost, gflops=math.nan)), "finite|gflops"),
        (
            replace(good, cost=replace(good.cost, eval_seconds=math.inf)),
            "eval_seconds is inf, expected a finite number",
        ),
        (replace(good, classes=()), "classes is"),
        (replace(good, remarks=("\ud800",)), "cannot be written as UTF-8"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            write_record(target, bad)
        assert "Nothing was written" in caught.value.hint and str(target) in caught.value.message
        assert not target.exists() and not list(tmp_path.glob("*.tmp"))
    with pytest.raises(ValueError, match=r"ends in .record.json"):
        write_record(tmp_path / "x.json", good)


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_no_json_value_is_a_record_or_a_traceback(value: Any) -> None:
    with pytest.raises(DecodeError):
        record_of(value)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_record_with_any_value_in_any_place_is_read_as_written_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = load(write_sample(tmp_path_factory.mktemp("record")))
    holder, last = at(content, data.draw(st.sampled_from(fields_of(content))))
    holder[last] = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([]) | st.just({})
    )
    try:
        record = record_of(content)
    except DecodeError as error:
        assert str(error) and "\n" not in repr(str(error))
    else:
        assert encode(record) == content


def test_whole_numbers_may_stand_for_accuracies(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    content = load(path)
    content["cost"]["gflops"] = 281
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_record(path).cost.gflops == 281.0


@pytest.mark.slow
def test_the_json_schema_is_the_dataclass(tmp_path: Path) -> None:
    import jsonschema

    checker = jsonschema.Draft202012Validator(json_schema(Record))
    content = load(write_sample(tmp_path))
    checker.validate(content)
    for place in fields_of(content):
        changed = json.loads(json.dumps(content))
        holder, last = at(changed, place)
        del holder[last]
        assert not checker.is_valid(changed), place

    content["measurement"]["method"]["colour"] = "red"
    assert not checker.is_valid(content)
    assert decode(load(write_sample(tmp_path))["measurement"], Measurement)


@pytest.mark.slow
def test_reading_is_quick_enough_for_a_board_of_ten_thousand_records(tmp_path: Path) -> None:
    """About 0.3 ms a record on an idle core; measured against `json.loads`, so that a busy machine does not matter."""
    paths = [write_sample(tmp_path, method=f"m{i}", videos=20) for i in range(20)]
    texts = [path.read_text(encoding="utf-8") for path in paths]

    def seconds(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    read = min(seconds(lambda: [read_record(path) for path in paths * 5]) for _ in range(5))
    parsed = min(seconds(lambda: [json.loads(text) for text in texts * 5]) for _ in range(5))
    assert read < 11 * parsed, f"{read / 100 * 1e3:.2f} ms a record, json.loads {parsed / 100 * 1e3:.3f} ms"


def _write_many(folder: Path, worker: int) -> None:
    for round_ in range(10):
        write_sample(folder, method="same", draw=round_ % 2)
        write_sample(folder, method=f"own{worker}", draw=round_)


def test_several_processes_may_write_into_one_folder(tmp_path: Path) -> None:
    with ProcessPoolExecutor(max_workers=3) as pool:
        for future in [pool.submit(_write_many, tmp_path, worker) for worker in range(3)]:
            future.result()
    assert len(find_records(tmp_path)) == 2 + 3 * 10
    assert score(tmp_path).passed
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_board_of_a_runs_folder_is_never_read(tmp_path: Path) -> None:
    """Only the folder `board` directly below is one; copies of records in it would count twice."""
    record = write_sample(tmp_path)
    deep = tmp_path / "backbone" / "board"
    for folder in (tmp_path / "board", tmp_path / "board" / "records", deep):
        folder.mkdir(parents=True)
        shutil.copy(record, folder)
    assert find_records(tmp_path) == sorted([record, deep / record.name])
    assert find_records(tmp_path / "board") == sorted((tmp_path / "board").rglob("*.record.json"))


@pytest.mark.parametrize("below", ["some_method/v1", "v1"])
def test_a_board_of_accepted_submissions_is_read(tmp_path: Path, below: str) -> None:
    """A repository's `board/METHOD/v1`, and `board/v1` of a method that is called board."""
    record = write_sample(tmp_path / "board" / below)
    (tmp_path / "board" / below / "acceptance.json").write_text("{}")
    assert find_records(tmp_path) == [record]
