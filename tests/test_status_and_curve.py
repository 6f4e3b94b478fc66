"""`status` shows the cells of a run folder from another terminal; `curve` draws training curves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.base.locks import cell_lock
from harness.engine.training.curve import Curve
from harness.machine.run_notes import NotedCell, noted_run, read_run_notes
from harness.running.status import folder_status
from tests.conftest import TINY_RUN, in_process


@pytest.fixture
def runs(finished_runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_runs, tmp_path / "runs"))


def states(runs: Path) -> list[tuple[str, str]]:
    return [(cell.kind, cell.state) for cell in folder_status(runs)]


def test_finished_cells(runs: Path) -> None:
    assert states(runs) == [("fit", "done"), *[("eval", "done")] * 3]
    cells = folder_status(runs)
    assert cells[0].cell.startswith("vificlip shapes/base_s1") and "loss" in cells[0].detail
    assert all(cell.detail.startswith("top-1 ") for cell in cells[1:])


def test_running_and_waiting_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    folder = runs / "mini-clip" / "vificlip" / "fit1"
    fit = NotedCell("fit", "vificlip x/base_s1", "k1", "mini-clip/vificlip/fit1/fit.json", epochs=4)
    scored = NotedCell("eval", "vificlip b2n x base 1", "k2", "mini-clip/vificlip/fit1/evals/a.record.json", videos=9)
    with noted_run(runs, [fit, scored]), cell_lock(runs, folder, "k1", "fit vificlip x/base_s1"):
        curve = Curve(folder / "curve.jsonl")
        for iteration in range(6):
            curve.add(iteration // 4, iteration, 2.5, 0.1, float(iteration + 1))
        curve.close()
        cells = folder_status(runs)
        assert [(cell.kind, cell.cell, cell.state) for cell in cells] == [
            ("fit", "vificlip x/base_s1", "running"), ("eval", "vificlip b2n x base 1", "waiting"),
        ]  # fmt: skip
        assert cells[0].detail.startswith("epoch 2 of 4, loss 2.500, 10 s left, process ")
        assert in_process("status", runs) == 0
        printed = capsys.readouterr()
        assert "running" in printed.out and "1 running, 1 waiting" in printed.err
    assert read_run_notes(runs) == [] and states(runs) == [("fit", "interrupted")]


def test_a_note_of_a_process_that_was_killed_does_not_count(tmp_path: Path) -> None:
    locks = tmp_path / ".locks"
    locks.mkdir()
    cell = {"kind": "fit", "name": "x", "key": "k", "file": "a/b/c/fit.json"}
    (locks / "node-1.run.json").write_text(json.dumps({"pid": 1, "host": "node", "since": 0.0, "cells": [cell]}))
    (locks / "node-1.run.lock").touch()
    (locks / "k.lock").touch()
    (locks / "k.holder").write_text(json.dumps({"pid": 1, "host": "node", "since": 0, "cell": "fit x"}))
    assert folder_status(tmp_path) == []


def test_damaged_files_are_named(runs: Path) -> None:
    next(runs.rglob("*.record.json")).write_text("{")
    next(runs.rglob("fit.json")).write_text("{")
    assert [state for _, state in states(runs)] == ["damaged", "damaged", "done", "done"]


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run folder .*nowhere does not exist"):
        folder_status(tmp_path / "nowhere")


def test_status_as_data(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("status", "--runs", runs, "--json") == 0
    assert {row["state"] for row in json.loads(capsys.readouterr().out)} == {"done"}


@pytest.mark.slow
def test_the_curve_of_a_fit_as_text_figure_and_data(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = next(runs.rglob("curve.jsonl")).parent, runs.parent / "curve.png"
    assert in_process("curve", folder, "--out", out) == 0
    text = capsys.readouterr().out.splitlines()
    rows = Curve(folder / "curve.jsonl").rows()
    assert (
        text[0].startswith("vificlip shapes/base_s1") and f"{sum(row.loss for row in rows) / len(rows):.4f}" in text[2]
    )
    assert text[2].endswith("#" * 40) and len(text) == 3  # one epoch
    assert out.read_bytes().startswith(b"\x89PNG")
    assert in_process("curve", folder.name[:12], "--runs", runs, "--json") == 0
    assert [row["epoch"] for row in json.loads(capsys.readouterr().out)[0]["epochs"]] == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "There is no fit nothing in"),
        ((".",), "has no rows in curve.jsonl"),
        (("FIT", "--out", "curve.gif"), "expected a file that ends in .png, .svg, .pdf"),
    ],
)
def test_wrong_arguments_of_curve(
    runs: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(next(runs.rglob("curve.jsonl")).parent)
    assert in_process("curve", *(folder if word == "FIT" else word for word in arguments), "--runs", runs) in (1, 2)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_curves_of_several_fits_share_a_figure(tmp_path: Path) -> None:
    for name in ("one", "two"):
        curve = Curve(tmp_path / "m" / "v" / name / "curve.jsonl")
        for epoch in range(3):
            curve.add(epoch, epoch, 3.0 - epoch, 0.1, 1.0)
        curve.close()
    assert in_process("curve", "one", "two", "--runs", tmp_path, "--out", tmp_path / "both.svg") == 0
    assert (tmp_path / "both.svg").read_text().startswith("<?xml")


@pytest.mark.slow
def test_a_run_without_a_terminal_reports_its_cells(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for word in TINY_RUN if word != "--quiet"]
    folders = ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    assert in_process("run", "--method", "vanilla_clip", *words, *folders, "--part", "base") == 0
    assert "cell 1 of 1: eval vanilla_clip b2n shapes base 1: begins" in capsys.readouterr().err.splitlines()
    assert not list((tmp_path / "runs" / ".locks").glob("*.run.*"))
