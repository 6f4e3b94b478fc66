"""An incomplete mean carries its mark in every output that prints it: missing videos, missing repeats, short fits."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cells.backbone import BackboneChoice
from harness.cells.from_request import expand
from harness.cells.plan import make_plan
from harness.cells.request import MethodChoice, Request
from harness.commands.run import _show
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import load_settings
from harness.running.run import execute
from results.record import find_records, read_record
from tests.conftest import in_process

Printed = Callable[..., str]
MISSING, SHORT_FIT, REPEATS = "1 of 8 videos missing", "fitted on 11 of 12 videos", "1 of 3 repeats"


@pytest.fixture(scope="module")
def runs(three_subsets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of three repeats, without an evaluation video and without a training clip."""
    folder = tmp_path_factory.mktemp("incomplete")
    data = Path(shutil.copytree(three_subsets, folder / "shapes"))
    settings = load_settings({"runs": str(folder / "runs"), "cache": str(folder / "cache")}, {})
    methods = (MethodChoice("vanilla_clip"), MethodChoice("vificlip"))
    recipe = {"epochs": "1", "ranks": "1", "accumulate": "1", "warmup_epochs": "0", "micro_batch": "4"}
    request = Request(
        methods, ("b2n",), (str(data),), BackboneChoice("mini-clip", None), recipe, views={"frames": "2"}, repeats=(1,)
    )
    cells = expand(request, settings)
    base = next(cell for cell in cells.evals if cell.eval.part == "base")
    for path in (base.test.paths[0], cells.fits[0].train.paths[0]):
        (data / path).unlink()
    execute(make_plan(cells), settings, ComputeOptions(device="cpu", workers=0, quiet=True, allow_missing=True))
    return settings.runs.path


@pytest.fixture
def printed(runs: Path, capsys: pytest.CaptureFixture[str]) -> Printed:
    """A function that runs a command on the run folder and returns its stdout."""

    def run(verb: str, *arguments: object, folder: bool = True) -> str:
        capsys.readouterr()
        assert in_process(verb, *arguments, *(("--runs", runs) if folder else ())) == 0
        return capsys.readouterr().out

    return run


def line_with(text: str, *words: str) -> str:
    return next(line for line in text.splitlines() if all(word in line for word in words))


@pytest.mark.slow
def test_a_report_of_each_text_format(printed: Printed) -> None:
    for form in ("md", "latex", "csv"):
        text = printed("report", "--table", "b2n", "--against", "nothing", "--format", form)
        for words in ("videos missing", "fitted on", REPEATS):
            assert words in text, (form, words)
        if form != "csv":
            assert "‡" in text or "ddagger" in text, form


@pytest.mark.slow
def test_the_board_and_its_data(runs: Path, printed: Printed, tmp_path: Path) -> None:
    printed("report", "--out", tmp_path)
    groups = json.loads((tmp_path / "leaderboard.json").read_text())["groups"]
    rows = [row for group in groups for row in group["rows"] if "records" in row]
    trained = next(row for row in rows if row["method"] == "vificlip")
    for words in ("videos missing", "fitted on"):
        assert words in " ".join(trained["not_ranked"])
    assert REPEATS in trained["cells"]["base"]["not_ranked"]
    for page in (tmp_path / "index.html", *tmp_path.glob("*.csv")):
        assert "videos missing" in page.read_text(), page.name


@pytest.mark.slow
def test_the_comparison(printed: Printed) -> None:
    text = printed("compare", "vificlip", "vanilla_clip")
    base = line_with(text, "b2n/shapes/base ", "‡")
    assert base
    reasons = line_with(text, "‡ b2n/shapes/base: incomplete: ")
    assert "A: 1 of " in reasons and "videos missing" in reasons and "A: fitted on" in reasons
    assert f"A: {REPEATS}" in reasons and "B: 1 of " in reasons
    parts = {
        part["name"]: part for part in json.loads(printed("compare", "vificlip", "vanilla_clip", "--json"))["parts"]
    }
    assert any("videos missing" in reason for reason in parts["b2n/shapes/base"]["incomplete"])
    assert not any("B: " in reason for reason in parts["b2n/shapes/novel"]["incomplete"])


@pytest.mark.slow
def test_the_scores(runs: Path, printed: Printed) -> None:
    text = printed("score", runs, "--measures", "--drop-last", "8", folder=False)
    lines = [line for line in text.splitlines() if "vificlip" in line and "-base-" in line and ".record.json" in line]
    assert len(lines) >= 2 and all("[incomplete: " in line and "videos missing" in line for line in lines), text
    assert line_with(printed("score", runs, folder=False), "records recomputed").endswith(" incomplete")
    data = json.loads(printed("score", runs, "--json", folder=False))
    assert any("-base-" in path and "videos missing" in reasons[0] for path, reasons in data["incomplete"].items())


@pytest.mark.slow
def test_the_end_of_a_run(runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    records = find_records(runs)
    _show(records, runs, argparse.Namespace(json=False, no_report=True))
    trained = line_with(capsys.readouterr().out, "ViFi-CLIP", "[")
    for words in ("missing videos", "incomplete fit", REPEATS, "incomplete: ", "videos missing"):
        assert words in trained
    _show(records, runs, argparse.Namespace(json=True, no_report=True))
    scores = json.loads(capsys.readouterr().out)
    assert any("videos missing" in reason for score in scores for reason in score["incomplete"])
    complete = [score for score in scores if "vanilla_clip" in score["signature"] and "novel" in score["signature"]]
    assert all(not score["incomplete"] for score in complete)


def test_the_state_of_the_cells(printed: Printed, runs: Path) -> None:
    text = printed("status", runs, folder=False)
    assert "videos missing" in line_with(text, "vificlip b2n shapes base 1", "top-1")
    assert "incomplete" not in line_with(text, "vanilla_clip b2n shapes novel 1", "top-1")


def test_a_sample_of_the_list_is_marked(finished_runs: Path) -> None:
    record = read_record(find_records(finished_runs)[0])
    assert record.mark == ""
    evaluation = replace(record.measurement.evaluation, sample="the first 100 videos")
    sampled = replace(record, measurement=replace(record.measurement, evaluation=evaluation))
    assert sampled.mark == " [incomplete: a sample of the list: the first 100 videos]"
