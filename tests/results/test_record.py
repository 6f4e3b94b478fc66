"""Records are checked on read and write, migrated, and written atomically by several processes."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from results.migrations import STEPS, migrate

from harness.base.errors import UserError
from reports.site import build_report
from results.record import SCHEMA, find_records, read_record, write_record
from results.score import score
from tests.results.factories import write_sample


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_record_survives_the_way_to_disk_and_back(tmp_path: Path) -> None:
    record = read_record(write_sample(tmp_path))
    write_record(tmp_path / "copy.record.json", record)
    assert read_record(tmp_path / "copy.record.json") == record


BAD: list[tuple[str, Any, str]] = [
    ("metrics.top1", 101.0, "expected percent"),
    ("metrics.top1", True, "expected int or float"),
    ("metrics.top5", "high", "expected int or float"),
    ("data.n_expected", 0, "at least 1"),
    ("data.n_expected", 12.5, "expected int"),
    ("repeat.kind", "guess", "expected one of"),
    ("protocol.columns", [], "is empty"),
    ("protocol.columns", [{"name": "x", "part": "a", "harmonic_of": ["a", "b"]}], "either a part or harmonic_of"),
    ("predictions.file", "../../etc/passwd", "beside the record"),
    ("cost.gflops", -1.0, "expected a number from 0 or null"),
    ("cost.gflops", "many", "expected int or float"),
    ("status", "famous", "expected one of"),
]


@pytest.mark.parametrize(("where", "value", "message"), BAD)
def test_malformed_entries_are_refused_on_read_and_write(
    tmp_path: Path, where: str, value: Any, message: str
) -> None:
    path = write_sample(tmp_path)
    content = load(path)
    section, _, name = where.partition(".")
    if name:
        content[section][name] = value
    else:
        content[section] = value
    good = read_record(path)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_record(path)
    target = tmp_path / "new.record.json"
    with pytest.raises(UserError, match=message):
        write_record(target, replace(good, **{section: content[section]}))
    assert not target.exists()


def test_missing_and_unknown_sections_are_named(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    content = load(path)
    del content["views"]
    content["extra"] = 1
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=r"missing \['views'\], unknown \['extra'\]"):
        read_record(path)


def test_a_draft_record_is_migrated_and_still_scores(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    expected = read_record(path)
    draft = load(path)
    draft["schema"] = 0
    draft["env"] = draft.pop("environment")
    for section in ("overlap", "repeat"):
        del draft[section]
    path.write_text(json.dumps(draft), encoding="utf-8")
    assert read_record(path) == expected
    assert score(path).passed
    assert load(path)["schema"] == 0, "reading must not rewrite a file"


def test_a_file_that_an_older_version_wrote_is_read_scored_and_reported(tmp_path: Path) -> None:
    """Written by the harness when its records had schema 1: vanilla CLIP on the novel classes of `mini_source`."""
    shutil.copytree(Path(__file__).with_name("data") / "schema_1", tmp_path / "runs")
    (path,) = find_records(tmp_path / "runs")
    old, new = load(path), read_record(path)
    assert (old["schema"], new.schema) == (1, SCHEMA)
    assert (new.metrics, new.cell, new.data) == (old["metrics"], old["cell"], old["data"])
    assert new.cost == {**old["cost"], "gflops": None, "score_gflops": None} and new.method["paper"] == ""
    assert score(tmp_path / "runs").passed
    assert "Vanilla CLIP" in build_report(tmp_path / "runs", tmp_path / "site").read_text(encoding="utf-8")
    write_record(tmp_path / "again.record.json", new)
    assert read_record(tmp_path / "again.record.json") == new and load(path) == old


def test_a_malformed_record_of_an_older_schema_is_one_clear_error(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    path.write_text(json.dumps({**load(path), "schema": 1, "cost": None}), encoding="utf-8")
    with pytest.raises(UserError, match="no valid record of schema 1"):
        read_record(path)


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


def test_migration_runs_every_step_in_order_and_leaves_its_argument() -> None:
    steps = {
        0: lambda v: {**v, "trail": ["0"]},
        1: lambda v: {**v, "trail": [*v["trail"], "1"]},
        2: lambda v: {**v, "trail": [*v["trail"], "2"]},
    }
    value = {"schema": 0}
    assert migrate(value, Path("x"), 3, steps) == {"schema": 3, "trail": ["0", "1", "2"]}
    assert value == {"schema": 0}


def test_every_older_schema_has_a_step() -> None:
    assert sorted(STEPS) == list(range(SCHEMA))


@pytest.mark.parametrize("schema", [SCHEMA + 1, -1, "1", None, True])
def test_other_schemas_are_refused(tmp_path: Path, schema: Any) -> None:
    path = write_sample(tmp_path)
    content = load(path)
    content["schema"] = schema
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match="has schema"):
        read_record(path)


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
