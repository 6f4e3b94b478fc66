"""Probes: finished fits on transformed views, their table of losses, and the plugin of docs/probes.md."""

from __future__ import annotations

import csv
import json
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.plugins.view_transforms import transform_identity
from reports.aggregate import rows_of
from reports.command import run_command
from reports.console import summary
from reports.entries import read_entries
from reports.export import render_table
from reports.figures.probes import probe_losses
from reports.probes import probe_rows, without_probes
from reports.site import build_report
from results.fit_file import FIT_FILE
from results.measurement_words import unranked_reasons
from results.predictions import PROBABILITY_COLUMNS, read_predictions
from results.record import find_records, read_record
from tests.conftest import ROOT, forgetting_plugins, in_process

PAGE = ROOT / "docs" / "probes.md"
TINY = (
    "--arch", "mini-clip", "--views", "frames=4", "--workers", "0", "--quiet", "--recipe", "epochs=1", "--recipe",
    "ranks=1", "--recipe", "accumulate=1", "--recipe", "warmup_epochs=0", "--no-report", "--json",
)  # fmt: skip
PARTS = ("clean", "shuffled", "one_frame", "mirrored")


def plugin_of_the_page() -> str:
    (text,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.S | re.M)
    return text


def run(folder: Path, dataset: Path, *words: str) -> int:
    places = ("--dataset", dataset, "--runs", folder / "runs", "--cache", folder / "cache")
    parts = [word for part in PARTS if "--part" not in words for word in ("--part", part)]
    return in_process(*words, *(parts if "probes" in words else ()), "--plugin", folder / "mirrored.py", *TINY, *places)


@pytest.fixture(scope="module")
def probed(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin of the page, and a run folder with a fit and its probes."""
    folder = tmp_path_factory.mktemp("probed")
    (folder / "mirrored.py").write_text(plugin_of_the_page(), encoding="utf-8")
    # A test that uses a copy of the folder loads the copy of the plugin.
    with forgetting_plugins():
        assert run(folder, small_dataset, "run", "--method", "vificlip", "--protocol", "few_shot", "--shots", "4") == 0
        assert run(folder, small_dataset, "run", "--method", "vificlip", "--protocol", "probes") == 0
    return folder


@pytest.fixture
def copied(probed: Path, tmp_path: Path, plugins_forgotten: None) -> Iterator[Path]:
    yield Path(shutil.copytree(probed, tmp_path / "copied"))


@pytest.mark.slow
def test_a_fit_that_is_not_finished_is_refused_with_the_command_that_trains_it(
    small_dataset: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copied / "runs")
    for verb in ("run", "plan"):
        assert run(copied, small_dataset, verb, "--method", "vificlip", "--protocol", "probes") in (1, 2)
        found = "".join(capsys.readouterr())
        assert "is not finished" in found and "--protocol few_shot" in found
    assert not list(copied.rglob(FIT_FILE)) and not list(copied.rglob("*.record.json"))


@pytest.mark.slow
def test_probes_train_nothing_and_are_done_once(
    small_dataset: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fit,) = copied.rglob(FIT_FILE)
    written = fit.stat().st_mtime_ns
    assert run(copied, small_dataset, "run", "--method", "vificlip", "--protocol", "probes") == 0
    assert "0 fits and 0 evals done, 5 cells reused" in capsys.readouterr().err
    # `--force` computes the evals again, and keeps the fit of the other protocol.
    chosen = ("--part", "clean", "--part", "reversed", "--force")
    assert run(copied, small_dataset, "run", "--method", "vificlip", "--protocol", "probes", *chosen) == 0
    assert "0 fits and 2 evals done" in capsys.readouterr().err
    assert fit.stat().st_mtime_ns == written


def records(folder: Path) -> dict[str, Path]:
    """Record of each part of the probes."""
    return {path.name.split("-")[3]: path for path in find_records(folder / "runs") if path.name.startswith("probes-")}


def test_a_method_that_averages_frames_gives_equal_answers_for_shuffled_frames(probed: Path) -> None:
    tables = {
        part: read_predictions(path.with_name(read_record(path).predictions.file))
        for part, path in records(probed).items()
    }
    assert set(tables) == set(PARTS)
    probabilities = {part: table[PROBABILITY_COLUMNS].to_numpy() for part, table in tables.items()}
    np.testing.assert_allclose(probabilities["shuffled"], probabilities["clean"], atol=1e-5)
    for part in ("one_frame", "mirrored"):
        assert not np.allclose(probabilities[part], probabilities["clean"], atol=1e-4), part


@pytest.mark.slow
def test_the_table_shows_the_loss_against_the_clean_score_and_ranks_nothing(probed: Path, tmp_path: Path) -> None:
    ranked, rows = without_probes(rows_of(read_entries(probed / "runs").entries))
    assert [row.protocol for row in ranked] == ["few_shot"] and [row.protocol for row in rows] == ["probes"]
    assert all(any("a probe" in reason for reason in unranked_reasons(e.measurement)) for e in rows[0].entries)
    (probe,) = probe_rows(rows)
    assert set(probe.losses) == set(PARTS) - {"clean"} and probe.fit == "shapes few_shot_4"
    for part, loss in probe.losses.items():
        assert loss.loss == pytest.approx(rows[0].cells["clean"].mean - rows[0].cells[part].mean), part
        assert loss.interval is not None and loss.interval.low <= loss.loss <= loss.interval.high
    # The clean part is the number of the few-shot column.
    assert probe.clean == pytest.approx(ranked[0].cells["k4"].mean)
    text = render_table("probes", probed / "runs").text
    assert "Does it use time, does it break: shapes" in text and probe.losses["one_frame"].text.split()[0] in text
    lines = list(csv.DictReader(render_table("probes", probed / "runs", format="csv").text.splitlines()))
    values = {line["column"]: (line["ours"], line["low"], line["high"]) for line in lines}
    found = probe.losses["one_frame"]
    assert found.interval is not None and values["one_frame"] == (str(found.loss), *map(str, found.interval))
    for format in ("latex", "csv", "html"):
        assert "mirrored" in render_table("probes", probed / "runs", format=format).text
    built = build_report(probed / "runs", tmp_path / "board")
    page = built.index.read_text(encoding="utf-8")
    assert 'id="probes"' in page and "<svg" in page.split('id="probes"')[1] and not built.damaged
    board = json.loads((tmp_path / "board" / "leaderboard.json").read_text(encoding="utf-8"))
    assert "probes" not in {group["protocol"] for group in board["groups"]}
    figure = probe_losses([probe], "shapes")
    assert figure is not None and figure.caption.startswith("ViFi-CLIP (epochs 1")
    drawn = ET.fromstring(figure.svg)
    labels = {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"one frame", "mirrored", "shuffled"} <= labels
    shown = summary(list(records(probed).values()), probed / "runs").text
    assert "losses against it" in shown and f"one_frame {probe.losses['one_frame'].text}" in shown


def test_the_transform_of_a_plugin_is_part_of_the_measurement(
    small_dataset: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, (row,) = without_probes(rows_of(read_entries(copied / "runs").entries))
    transforms = {e.measurement.protocol.part: e.measurement.evaluation.transform for e in row.entries}
    assert re.fullmatch(r"mirrored#[0-9a-f]{8}", transforms["mirrored"])
    assert transforms["one_frame"] == transform_identity("one_frame") == "one_frame" and transforms["clean"] == ""
    assert "--protocol probes" in run_command(row).text
    plugin = copied / "mirrored.py"
    plugin.write_text(plugin_of_the_page().replace("::-1]", "::-1] // 2"), encoding="utf-8")
    arguments = ("--method", "vificlip", "--protocol", "probes", "--part", "mirrored", "--part", "clean")
    assert run(copied, small_dataset, "plan", *arguments) == 0
    cells = json.loads(capsys.readouterr().out)
    states = {line["cell"].split()[3]: line["state"] for line in cells if line["kind"] == "eval"}
    assert (states["mirrored"], states["clean"]) == ("stale", "done")


@pytest.mark.slow
def test_a_sample_is_marked_in_every_output_and_its_command_repeats_it(
    small_dataset: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copied / "runs")
    chosen = ("--method", "vanilla_clip", "--protocol", "few_shot", "--shots", "2", "--limit", "1")
    assert run(copied, small_dataset, "run", *chosen) == 0
    (score,) = json.loads(capsys.readouterr().out)
    assert score["incomplete"] == ["a sample of the list: 1 video per class, seed 0"]
    (row,) = rows_of(read_entries(copied / "runs").entries)
    evaluation = row.measurement.evaluation
    assert (evaluation.evaluated, evaluation.list.n) == (4, 4) and row.reasons
    assert "--limit 1" in run_command(row).text
    (path,) = find_records(copied / "runs")
    assert "a sample of the list: 1 video per class" in summary([path], copied / "runs").text
    assert in_process("score", copied / "runs") == 0
    assert "1 incomplete" in capsys.readouterr().out


@pytest.mark.slow
def test_vificlip_loses_accuracy_on_one_repeated_frame_of_the_embedded_benchmark(tmp_path: Path) -> None:
    # The classes of the embedded benchmark need motion; the interval of the loss must not hold zero.
    places = ("--dataset", "mini_target", "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    chosen = ("--method", "vificlip", "--protocol", "few_shot", "probes", "--shots", "16", "--no-report", "--quiet")
    parts = [word for part in ("k16", "clean", "shuffled", "one_frame") for word in ("--part", part)]
    assert in_process("run", *chosen, *parts, *places) == 0
    _, rows = without_probes(rows_of(read_entries(tmp_path / "runs").entries))
    (probe,) = probe_rows(rows)
    loss = probe.losses["one_frame"]
    assert loss.loss is not None and loss.loss > 0 and loss.interval is not None and loss.interval.low > 0
    assert loss.text in render_table("probes", tmp_path / "runs").text.replace("\\", "")
    assert probe.losses["shuffled"].loss == pytest.approx(0.0), "the mean of frames has no order"
