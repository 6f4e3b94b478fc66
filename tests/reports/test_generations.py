"""Generations of rows: one counts, the other generations are listed, and they are never averaged."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from reports.aggregate import rows_of
from reports.entries import read_entries
from reports.frame import records_frame
from reports.ranks import rank_rows
from tests.reports.mixed import NEW, OLD, Mixed, json_row, panel, write_row


def test_two_generations_are_not_averaged(mixed: Mixed) -> None:
    row = json_row(mixed, "ViFi-CLIP", "")
    base = row["cells"]["base"]
    assert base["n"] == 3 and base["mean"] == pytest.approx(74, abs=1), "0.3 of the old generation has no part in it"
    assert {repeat["index"] for repeat in base["repeats"]} == {1, 2, 3}
    assert not any(name.startswith("old/") for name in row["records"])


@pytest.mark.slow
def test_the_older_generation_is_listed_with_what_changed(mixed: Mixed) -> None:
    row = json_row(mixed, "ViFi-CLIP", "")
    assert len(row["superseded"]) == 9
    assert {one["record"].split("/")[0] for one in row["superseded"]} == {"old"}
    assert all("engine version 1 against 2" in one["reason"] for one in row["superseded"])
    assert any("engine version 1 against 2" in mark for mark in row["marks"])
    text = panel(mixed, row)
    assert '<span class="chip">9 superseded</span>' in text and "engine version 1 against 2" in text
    assert "../runs/old/" in text, "the panel links to the old records"
    with (mixed.site / "leaderboard.csv").open(encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["superseded"]]
    assert {line["label"] for line in lines} == {""} and "9 records" in lines[0]["superseded"]
    frame = records_frame(mixed.runs).frame
    assert set(frame[frame["superseded"] != ""]["record"].str.split("/").str[0]) == {"old"}


@pytest.mark.slow
def test_a_newer_incomplete_generation_does_not_replace_a_complete_one(tmp_path: Path) -> None:
    write_row(tmp_path / "old", 0.3, created=OLD)
    write_row(tmp_path / "new", 0.9, engine=2, leave_out=(("joint", 3),))
    (row,) = rows_of(read_entries(tmp_path).entries)
    assert row.cells["base"].mean == pytest.approx(34, abs=1) and len(row.superseded) == 8
    assert "although older: these are incomplete" in row.superseded[0].reason


def accept(folder: Path, time: str) -> None:
    """Make a folder one of an accepted submission."""
    (folder / "acceptance.json").write_text(json.dumps({"accepted": time}), "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(("accepted", "shown"), [("2025-09-01T00:00:00Z", 74), ("2026-09-01T00:00:00Z", 94)])
def test_a_submission_counts_from_its_acceptance_whatever_it_claims(
    tmp_path: Path, accepted: str, shown: float
) -> None:
    write_row(tmp_path / "board" / "first" / "v1" / "records", 0.7, created=OLD)
    accept(tmp_path / "board" / "first" / "v1", NEW)
    write_row(tmp_path / "board" / "vificlip" / "v1" / "records", 0.9, engine=2, created="9999-01-01T00:00:00Z")
    accept(tmp_path / "board" / "vificlip" / "v1", accepted)
    # A submission cannot bring the time of its own acceptance.
    (tmp_path / "board" / "vificlip" / "v1" / "records" / "acceptance.json").write_text('{"accepted": "9999"}', "utf-8")
    (row,) = rows_of(read_entries(tmp_path).entries)
    assert row.cells["base"].mean == pytest.approx(shown, abs=1) and len(row.superseded) == 9


@pytest.mark.slow
def test_a_submission_does_not_hide_a_row_of_the_keeper(tmp_path: Path) -> None:
    write_row(tmp_path / "own", 0.7, created=OLD)
    write_row(tmp_path / "board" / "vificlip" / "v1" / "records", 0.9, engine=2, created="9999-01-01T00:00:00Z")
    accept(tmp_path / "board" / "vificlip" / "v1", "2029-09-01T00:00:00Z")
    (row,) = rows_of(read_entries(tmp_path).entries)
    assert row.cells["base"].mean == pytest.approx(74, abs=1)
    assert {record.reason for record in row.superseded} == {
        "a submission; the records that were measured in this folder count"
    }


@pytest.mark.slow
def test_an_unreadable_acceptance_is_named_and_its_records_are_the_oldest(tmp_path: Path) -> None:
    write_row(tmp_path / "own", 0.7, created=OLD)
    write_row(tmp_path / "board" / "vificlip" / "v1" / "records", 0.9, engine=2, created="9999-01-01T00:00:00Z")
    (tmp_path / "board" / "vificlip" / "v1" / "acceptance.json").write_text("{", "utf-8")
    found = read_entries(tmp_path)
    assert [one.name for one in found.damaged] == ["board/vificlip/v1/acceptance.json"]
    (row,) = rows_of(found.entries)
    assert row.cells["base"].mean == pytest.approx(74, abs=1)


@pytest.mark.slow
def test_times_of_several_zones_are_compared_as_times(tmp_path: Path) -> None:
    """Noon in UTC is later than 13 o'clock two zones further east, and a text that is no time is oldest."""
    write_row(tmp_path / "east", 0.3, created="2026-01-01T13:00:00+02:00", engine=2)
    write_row(tmp_path / "utc", 0.7, created="2026-01-01T12:00:00Z")
    write_row(tmp_path / "odd", 0.5, created="tomorrow", engine=3)
    (row,) = rows_of(read_entries(tmp_path).entries)
    assert row.cells["base"].mean == pytest.approx(74, abs=1)


@pytest.mark.slow
def test_parts_of_another_fit_of_the_same_repeat_do_not_enter_its_row(tmp_path: Path) -> None:
    write_row(tmp_path / "a", 0.4, created=OLD)
    again = write_row(tmp_path / "b", 0.9, created=NEW, draw=1)
    for path in again:
        if "novel-" in path.name or "joint-" in path.name:
            path.unlink()
    (row,) = rows_of(read_entries(tmp_path).entries)
    assert set(row.cells) == {"base"}, "base is of the new fits, and the other parts of the old ones do not count"
    assert row.cells["base"].mean == pytest.approx(94, abs=1)
    assert len(row.superseded) == 9 and "its fit was computed again" in row.superseded[0].reason
    assert rank_rows([row]).of(row, "base") is None


@pytest.mark.slow
def test_copies_of_records_change_nothing_but_are_listed(mixed: Mixed, tmp_path: Path) -> None:
    shutil.copytree(mixed.runs, tmp_path / "runs")
    shutil.copytree(mixed.runs / "one", tmp_path / "runs" / "one again")
    rows = rows_of(read_entries(tmp_path / "runs").entries)
    assert [row.key for row in rows] == [row.key for row in mixed.rows]
    before = {row.key: row.cells for row in mixed.rows}
    for row in rows:
        assert {name: cell.mean for name, cell in row.cells.items()} == {
            name: cell.mean for name, cell in before[row.key].items()
        }
    assert sum(len(row.superseded) for row in rows) == 9 + 18
