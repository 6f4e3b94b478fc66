"""A finished fit is used with its own views, options, backbone and classes, or refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness.base.errors import UserError
from harness.data.embedded.render import load_mini_clip_state
from harness.machine.settings import load_settings
from harness.running.load_fit import load_fit, method_row_of
from results.fit_file import read_fit_file
from results.predictions import read_predictions
from results.record import find_records, read_record
from tests.conftest import TINY_RUN, in_process

Predict = Callable[..., Any]
SWIN = Path(__file__).resolve().parents[1] / "methods" / "configs" / "tiny_swin.py"


@pytest.fixture
def places(small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")
    return ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")


@pytest.fixture
def predict(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Predict:
    """A function: the classes and probabilities that `predict` prints for a video."""

    def call(video: Path, *arguments: object) -> dict[str, float]:
        capsys.readouterr()
        flags = ("--json", "--quiet", "--workers", "0", "--cache", tmp_path / "cache")
        assert in_process("predict", video, *arguments, *flags) == 0, capsys.readouterr().err
        (row,) = json.loads(capsys.readouterr().out)
        return dict(row["classes"])

    return call


def only_fit(runs: Path) -> Path:
    (path,) = runs.rglob("fit.json")
    return path.parent


def recorded(folder: Path, part: str) -> dict[str, dict[str, float]]:
    """Class names and probabilities by video, as the eval of a fit recorded them."""
    for path in find_records(folder):
        record = read_record(path)
        if record.measurement.protocol.part == part:
            frame = read_predictions(path.with_name(record.predictions.file))
            return {
                str(row["video"]): {
                    record.classes[int(row[f"id{k}"])]: float(row[f"p{k}"]) for k in range(1, 6) if row[f"id{k}"] >= 0
                }
                for _, row in frame.iterrows()
            }
    raise AssertionError(f"no record of {part}")


def same(a: dict[str, float], b: dict[str, float]) -> bool:
    return a.keys() == b.keys() and all(abs(a[name] - b[name]) < 2e-4 for name in a)


@pytest.mark.slow
def test_predict_takes_the_views_and_classes_of_the_fit(
    places: tuple[object, ...], small_dataset: Path, tmp_path: Path, predict: Predict
) -> None:
    views = ("--views", "frames=3", "--views", "normalize=clip", "--views", "reader=exact")
    assert in_process("run", "--method", "vificlip", *TINY_RUN, *places, *views) == 0
    folder = only_fit(tmp_path / "runs")
    known = recorded(folder, "base")
    video = next(iter(known))
    assert same(predict(small_dataset / video, "--fit", folder), known[video])
    assert not same(predict(small_dataset / video, "--fit", folder, "--frames", 1), known[video])


@pytest.mark.slow
def test_a_fit_on_a_weight_file_finds_it_where_it_was_or_asks_for_it(
    places: tuple[object, ...], small_dataset: Path, tmp_path: Path, predict: Predict
) -> None:
    weights = tmp_path / "clip.safetensors"
    save_file({name: torch.from_numpy(value).float() for name, value in load_mini_clip_state().items()}, weights)
    tiny = [a for a in TINY_RUN if a not in ("--arch", "mini-clip")]
    tiny += ["--weights", str(weights), "--activation", "quickgelu"]
    assert in_process("run", "--method", "text_ft", *tiny, *places) == 0
    folder = only_fit(tmp_path / "runs")
    known = recorded(folder, "base")
    video = next(iter(known))
    assert same(predict(small_dataset / video, "--fit", folder), known[video])
    moved = weights.rename(tmp_path / "moved.safetensors")
    with pytest.raises(UserError, match="starts from the weights of a file") as caught:
        load_fit(folder, load_settings({}))
    assert "--weights FILE" in caught.value.hint
    assert same(predict(small_dataset / video, "--fit", folder, "--weights", moved), known[video])
    other = tmp_path / "other.safetensors"
    other.write_bytes(moved.read_bytes() + b"x")
    assert in_process("predict", small_dataset / video, "--fit", folder, "--weights", other, "--workers", 0) == 2


@pytest.mark.slow
def test_an_option_that_names_a_file(
    places: tuple[object, ...], finished_runs: Path, small_dataset: Path, tmp_path: Path, predict: Predict,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    stage_one = tmp_path / "stage_one.safetensors"
    assert in_process("export", only_fit(finished_runs), "--out", stage_one, "--runs", finished_runs) == 0
    method = f"bridge_prompt:stage_one={stage_one}"
    assert in_process("run", "--method", method, *TINY_RUN, *places, "--recipe", "lr=0.01") == 0
    folder = only_fit(tmp_path / "runs")
    fitted = read_fit_file(folder)
    assert fitted is not None and fitted.described.training.start.kind == "checkpoint"
    assert str(fitted.described.method.options["stage_one"]).startswith("sha256:")
    assert str(tmp_path) not in (folder / "fit.json").read_text(), "a measurement holds no places"
    known = recorded(folder, "base")
    video = next(iter(known))
    assert same(predict(small_dataset / video, "--fit", folder), known[video])

    moved = stage_one.rename(tmp_path / "moved.safetensors")
    capsys.readouterr()
    assert in_process("predict", small_dataset / video, "--fit", folder, "--workers", 0) == 2
    assert "Give it with --file stage_one=FILE" in capsys.readouterr().err
    assert same(predict(small_dataset / video, "--fit", folder, "--file", f"stage_one={moved}"), known[video])
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"other")
    arguments = ("--fit", folder, "--file", f"stage_one={other}", "--workers", 0)
    assert in_process("predict", small_dataset / video, *arguments) == 2
    assert "has sha256" in capsys.readouterr().err


def test_a_stage_one_file_that_does_not_exist(places: tuple[object, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("plan", "--method", "bridge_prompt:stage_one=gone.pth", "--protocol", "b2n", *places) == 2
    said = capsys.readouterr().err
    assert "gone.pth" in said and "does not exist" in said and "fit, clip" in said


@pytest.mark.slow
def test_a_recogniser_of_a_config_file_is_found_again(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "mine.py"
    shutil.copy(SWIN, config)
    places = ("--dataset", small_dataset, "--runs", tmp_path / "runs")
    arguments = ("--protocol", "supervised", *places, "--workers", 0, "--no-report")
    flags = ("--cache", tmp_path / "cache", "--views", "clips=1", "--views", "crops=1", "--quiet", "--json")
    assert in_process("run", "--method", f"mmaction2:config={config},checkpoint=random", *arguments, *flags) == 0
    record = read_record(find_records(tmp_path / "runs")[0])
    m = record.measurement
    with pytest.raises(UserError, match="the option config names the file"):
        method_row_of(m.method, m.model, "the record")
    row = method_row_of(m.method, m.model, "the record", files={"config": str(config)})
    assert row.backbone.model_id().config == m.model.config
    config.write_text(SWIN.read_text().replace("num_classes=4", "num_classes=5"))
    with pytest.raises(UserError, match="has sha256"):
        method_row_of(m.method, m.model, "the record", files={"config": str(config)})
