"""`report --runs A B`: the records of two machines in one board, each counted once."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from harness import api
from reports.aggregate import rows_of
from reports.entries import read_entries
from reports.site import build_report
from results.record import find_records, read_record
from tests.conftest import in_process
from tests.results.factories import METHODS, write_grid


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run folder, and its records shared out to two machines: one method is measured on both."""
    root = tmp_path_factory.mktemp("several")
    whole, a, b = root / "whole", root / "a" / "runs", root / "b" / "runs"
    write_grid(whole, videos=24, methods=METHODS[:2])
    for record in find_records(whole):  # one protocol: each table of the board takes time
        if read_record(record).measurement.protocol.name != "b2n":
            record.unlink()
    for i, record in enumerate(find_records(whole)):
        sides = [a, b] if METHODS[0][0] in record.read_text() else [a if i % 2 else b]
        for side in sides:
            target = side / record.relative_to(whole)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(record, target)
            predictions = json.loads(record.read_text())["predictions"]["file"]
            shutil.copy(record.with_name(predictions), target.with_name(predictions))
    return whole, a, b


@pytest.mark.slow
def test_two_folders_give_the_rows_of_one(folders: tuple[Path, Path, Path]) -> None:
    whole, a, b = folders
    one, two = (rows_of(read_entries(runs).entries) for runs in (whole, [a, b]))
    scores = [
        [(row.key, name, cell.mean, cell.n) for row in rows for name, cell in row.cells.items()] for rows in (one, two)
    ]
    assert scores[0] == scores[1] and len(find_records(a)) + len(find_records(b)) > len(find_records(whole))


@pytest.mark.slow
def test_the_board_links_to_the_records_of_both_folders(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, a, b = folders
    root = a.parent.parent
    assert in_process("report", "--runs", a, b, "--out", tmp_path / "alone") == 0
    build_report([a, b], tmp_path / "board")
    for name, start in (("alone", tmp_path / "alone" / "records"), ("board", root)):
        page = (tmp_path / name / "index.html").read_text(encoding="utf-8")
        links = [tmp_path / name / unquote(link) for link in re.findall(r'href="([^"#]+\.record\.json)"', page)]
        assert links and all(link.is_file() for link in links)
        sides = {side: (start / side.relative_to(root)).resolve() for side in (a, b)}
        assert {side for side in sides for link in links if link.resolve().is_relative_to(sides[side])} == {a, b}


@pytest.mark.slow
def test_a_table_and_the_frame_read_both(folders: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    whole, a, b = folders
    printed = []
    for runs in ([whole], [a, b]):
        assert in_process("report", "--table", "b2n", "--against", "nothing", "--format", "csv", "--runs", *runs) == 0
        printed.append(capsys.readouterr().out)
    assert "9 records: a copy of the record that counts" in printed[1]
    assert printed[0] == re.sub(r",superseded: \d records: [^,]*,\d records: a copy[^,\n]*", ",,", printed[1])
    assert len(api.read_records([a, b])) == len(find_records(a)) + len(find_records(b))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("second", "message"),
    [("nowhere", "nowhere does not exist"), ("a", "its records would be shown twice"), ("empty", "contains no record")],
)
def test_wrong_folders_are_one_error(
    folders: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], second: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    other = {"nowhere": tmp_path / "nowhere", "a": folders[1].parent, "empty": tmp_path / "empty"}[second]
    assert in_process("report", "--runs", folders[1], other, "--out", tmp_path / "board") != 0
    assert message in capsys.readouterr().err and not (tmp_path / "board").exists()
