"""Damaged records are left out of a report and reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from reports.console import summary
from reports.export import render_table
from reports.frame import records_frame
from reports.site import build_report
from tests.reports.mixed import Mixed, board_rows, write_row


@pytest.mark.slow
def test_damaged_and_old_records_are_left_out_and_named(
    mixed: Mixed, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names = {one.name for one in mixed.built.damaged}
    assert {name.split("/")[0] for name in names} == {"damaged", "aged"} and len(names) == 2
    section = mixed.page.split('<section id="damaged">')[1].split("</section>")[0]
    assert all(name in section for name in names) and "schema is 2" in section and "python -m harness run" in section
    assert str(mixed.runs) not in mixed.page, "the board tells no place on this machine"
    assert {one["record"] for one in mixed.board["damaged"]} == names
    assert {one.name for one in records_frame(mixed.runs).damaged} == names
    shown = {row.method for row in mixed.rows}
    assert {"cut", "aged"} <= shown, "the other records of these rows are shown"
    code = main(["report", "--runs", str(mixed.runs), "--out", str(tmp_path / "site")])
    errors = capsys.readouterr().err
    assert code == 1 and (tmp_path / "site" / "index.html").is_file()
    assert all(name in errors for name in names) and errors.count("left out:") == 2
    code = main(["report", "--runs", str(mixed.runs), "--table", "b2n", "--out", str(tmp_path / "table.md")])
    errors = capsys.readouterr().err
    assert code == 1 and "ViFi-CLIP" in (tmp_path / "table.md").read_text("utf-8") and errors.count("left out:") == 2


@pytest.mark.slow
def test_a_report_without_damage_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_row(tmp_path / "runs", 0.5)
    assert main(["report", "--runs", str(tmp_path / "runs")]) == 0
    assert "left out" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_of_damaged_records_alone_has_a_board(tmp_path: Path) -> None:
    for path in write_row(tmp_path / "runs", 0.5):
        path.write_text("{", "utf-8")
    built = build_report(tmp_path / "runs", tmp_path / "site")
    assert len(built.damaged) == 9 and "9 damaged files" in built.index.read_text("utf-8")
    assert "ViFi-CLIP" in render_table("b2n", tmp_path / "runs").text


@pytest.mark.slow
def test_the_summary_of_a_run_names_damaged_records(tmp_path: Path) -> None:
    first, *others = write_row(tmp_path, 0.5)
    first.write_text("", "utf-8")
    found = summary([first, *others], tmp_path)
    assert "ViFi-CLIP" in found.text and [one.name for one in found.damaged] == [first.relative_to(tmp_path).as_posix()]
    assert "2 of 3 repeats" in found.text


@pytest.mark.slow
def test_unreadable_predictions_stop_nothing(tmp_path: Path) -> None:
    for method in ("vificlip", "text_ft", "image_ft"):
        paths = write_row(tmp_path / "runs", 0.5, method=method)
    file = next(paths[0].parent.glob("*.predictions.csv.gz"))
    file.unlink()
    rows = {row["method"]: row for row in board_rows(tmp_path / "runs")}
    (reason,) = rows["image_ft"]["not_ranked"]
    assert file.name in reason and str(tmp_path) not in reason and rows["image_ft"]["rank"] is None
    assert rows["vificlip"]["rank"] is not None and rows["text_ft"]["rank"] is not None
