"""A user's protocol has columns over lists of several datasets, named or given by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.record import find_records, read_record
from tests.conftest import in_process, write_clip

pytestmark = pytest.mark.usefixtures("plugins_forgotten")

PROTOCOL = '''"""Evaluates its dataset and another one."""

from harness.api import Column, Eval, Fit, ListRef, Protocol, register_protocol


@register_protocol("across")
class Across(Protocol):
    title = "Across"
    columns = (
        Column("own", "own"), Column("other", "other"), Column("other5", "other", "top5"),
        Column("hm", harmonic_of=("own", "other")),
    )

    def fits(self, dataset):
        yield Fit(ListRef(dataset.name, "train", "all"))

    def evals(self, dataset, fit):
        yield Eval("own", ListRef(dataset.name, "val", "all"))
        yield Eval("other", ListRef("OTHER", "val", "all"))
'''


@pytest.fixture
def other_dataset(tmp_path: Path) -> Path:
    """A custom dataset whose classes are those of no other dataset."""
    for name, shape in (("walking", "square right"), ("running", "square left")):
        for number in range(4):
            write_clip(tmp_path / "others" / name / f"v{number}.avi", shape, seed=number, frames=4)
    return tmp_path / "others"


@pytest.mark.slow
def test_a_row_has_columns_of_two_datasets_and_their_harmonic_mean(
    small_dataset: Path, other_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")
    plugin = tmp_path / "across.py"
    plugin.write_text(PROTOCOL.replace("OTHER", str(other_dataset)))
    runs = tmp_path / "runs"
    command = (
        "run", "--plugin", plugin, "--method", "vanilla_clip", "--protocol", "across", "--dataset", small_dataset,
        "--arch", "mini-clip", "--views", "frames=2", "--workers", "0", "--quiet", "--runs", runs,
        "--cache", tmp_path / "cache",
    )  # fmt: skip
    assert in_process(*command) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "Vanilla CLIP" in line]
    assert " across shapes " in line, "one row, on the dataset of the request"
    assert all(f" {column} " in line for column in ("own", "other", "other5", "hm"))
    records = [read_record(path) for path in find_records(runs)]
    assert {record.measurement.evaluation.list.dataset for record in records} == {"shapes", "others"}
    assert {record.measurement.protocol.table for record in records} == {"shapes"}
    keys = [record.measurement.keys for record in records]
    assert all(len({getattr(one, key) for one in keys}) == 1 for key in ("row", "line", "group"))
    board = (runs / "board" / "leaderboard.csv").read_text()
    assert sum(",shapes," in row and ",hm," in row for row in board.splitlines()) == 1
    assert in_process(*command) == 0
    assert "2 cells reused" in capsys.readouterr().err


def test_the_records_of_a_protocol_on_one_dataset_name_no_table(finished_runs: Path) -> None:
    assert {read_record(path).measurement.protocol.table for path in find_records(finished_runs)} == {""}
