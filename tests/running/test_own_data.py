"""Runs on custom datasets: names of files, refused runs, zero-shot sources, scores that say nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.machine.settings import load_settings
from results.record import find_records, read_record
from tests.conftest import in_process

TINY = ("--arch", "mini-clip", "--views", "frames=2", "--views", "clips=1", "--workers", "0", "--quiet", "--no-report")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a\\b", "20:06", 'q"<x>|?*'])
@pytest.mark.parametrize("reader", ["decord", "exact"])
def test_folders_with_colons_and_backslashes(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reader: str
) -> None:
    for label in ("circle left", "square right"):
        shutil.copytree(small_dataset / label, tmp_path / name / f"{label}:1")
    monkeypatch.chdir(tmp_path)
    command = ("run", "--method", "vanilla_clip", "--protocol", "supervised", "--dataset", f"./{name}", *TINY)
    assert in_process(*command, "--views", f"reader={reader}", "--runs", "runs", "--cache", "cache") == 0
    (file,) = find_records(tmp_path / "runs")
    record = read_record(file)
    assert record.measurement.evaluation.list.dataset == name and record.measurement.evaluation.evaluated == 4
    assert file.name.startswith("supervised-") and not set(file.name) & set('\\:"<>|?*')


@pytest.mark.slow
def test_top5_of_few_classes_is_shown_as_not_meaningful(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("run", "--method", "vanilla_clip", "--protocol", "supervised", "--dataset", small_dataset, *TINY)
    assert in_process(*command, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache") == 0
    assert "top5 100.0 [top-5 is not meaningful with 4 classes]" in capsys.readouterr().out


def test_zero_shot_on_own_videos_is_never_fitted_on_synthetic_clips_unasked(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings({"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache")}, {})
    trained = Request((MethodChoice("vificlip"),), ("zero_shot",), (str(small_dataset),))
    with pytest.raises(UserError, match=r"is on k400, whose videos are not configured: .*--source NAME"):
        expand(trained, settings)
    untrained = Request((MethodChoice("vanilla_clip"),), ("zero_shot",), (str(small_dataset),))
    assert len(expand(untrained, settings).evals) == 1, "an untrained method needs no source"
    asked = Request((MethodChoice("vificlip"),), ("zero_shot",), (str(small_dataset),), source="mini_source")
    (fit,) = expand(asked, settings).fits
    assert fit.dataset.name == "mini_source"


def test_a_refused_run_leaves_no_empty_folders(small_dataset: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = ("run", "--method", "vanilla_clip", "--protocol", "supervised", "--dataset", small_dataset)
    options = ("--weights", "none-such", "--workers", "0", "--quiet", "--no-report", "--cache", tmp_path / "cache")
    assert in_process(*command, *options, "--runs", runs) != 0
    assert [path for path in runs.rglob("*") if path.is_dir() and path.name != ".locks"] == []


@pytest.mark.parametrize("arch", [("--arch", "mini-clip"), ()])
def test_predict_refuses_no_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str], arch: tuple[str, ...]) -> None:
    (tmp_path / "names.txt").write_text("a\nb\n")
    assert in_process("predict", tmp_path / "x.avi", "--labels", tmp_path / "names.txt", "--frames", "0", *arch) == 2
    assert "at least one frame and one clip, found 0 x 1" in capsys.readouterr().err
