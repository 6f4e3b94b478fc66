"""A run with `--seeds`: its fits, the row that they form, and the fit without seeds that it uses again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports.aggregate import rows_of
from reports.command import run_command
from reports.entries import read_entries
from reports.ranks import analyse
from tests.conftest import in_process

RUN = (
    "run", "--method", "vificlip", "--protocol", "few_shot", "--shots", "2", "--arch", "mini-clip", "--views",
    "frames=2", "--workers", "0", "--quiet", "--recipe", "epochs=1", "--recipe", "ranks=1", "--recipe", "accumulate=1",
    "--recipe", "warmup_epochs=0", "--no-report", "--json",
)  # fmt: skip


@pytest.mark.slow
def test_seeds_are_fitted_and_form_one_row(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    assert in_process(*RUN, *places) == 0
    assert "1 fits and 1 evals done" in capsys.readouterr().err
    assert in_process(*RUN, *places, "--seeds", "2") == 0
    captured = capsys.readouterr()
    # The first seed is the fit without seeds: its predictions are used again for the record of the other row.
    assert "1 fits and 2 evals done" in captured.err and len(json.loads(captured.out)) == 2
    rows = analyse(rows_of(read_entries(tmp_path / "runs").entries)).rows
    assert sorted(row.cells["k2"].n for row in rows) == [1, 2]
    (row,) = [row for row in rows if row.cells["k2"].n == 2]
    cell = row.cells["k2"]
    assert cell.kind == "seed" and len(cell.fits) == 2 and cell.lacks == ""
    assert [score.entry.measurement.fitted.recipe.seed for score in cell.repeats if score.entry.measurement.fitted] == [
        1024, 1025,
    ]  # fmt: skip
    assert "--seeds 2" in run_command(row).text
