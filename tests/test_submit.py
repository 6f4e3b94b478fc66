"""The verb `submit` on results of real runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import in_process


def test_a_real_fit_packs_and_breaks_only_the_rules_that_its_request_broke(
    finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One repeat on a dataset of one's own: every F and A rule holds, so the layout is the one that `run` writes."""
    out = tmp_path / "a.zip"
    assert in_process("submit", "pack", "vificlip", "--weights", "--runs", finished_runs, "--out", out) == 0
    assert in_process("submit", "check", out, "--json") == 1
    data = json.loads(capsys.readouterr().out)["submissions"][0]
    errors = {finding["rule"] for finding in data["findings"] if finding["severity"] == "error"}
    assert errors - {"P022"} == {"P002"}, data["findings"]
    assert data["records"] == 3 and data["name"] == "vificlip/v1"


def test_a_method_without_records_is_refused_with_the_way_out(finished_runs: Path, tmp_path: Path, capsys) -> None:
    assert in_process("submit", "pack", "vifi", "--runs", finished_runs, "--out", tmp_path / "a.zip") == 2
    err = capsys.readouterr().err
    assert "vificlip" in err and "harness run" in err


def test_nothing_at_a_path_is_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("submit", "check", tmp_path / "none.zip") == 2
    assert "no submission" in capsys.readouterr().err
