"""`features`: arrays or a map of the videos of the list that a fit or an untrained method was scored on."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import api
from results.record import find_records, read_record
from tests.conftest import in_process


@pytest.mark.slow
def test_features_of_a_fit_are_drawn_beside_those_of_vanilla_clip(
    small_dataset: Path, finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "f.svg"
    asked = ("--method", "vificlip", "--part", "joint", "--dataset", small_dataset, "--out", out)
    assert in_process("features", *asked, "--runs", finished_runs) == 0
    root = ET.fromstring(out.read_text(encoding="utf-8"))
    shown = ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"class", "circle left", "square right"} <= set(shown)
    caption = capsys.readouterr().out.strip()
    numbers = re.match(r"Classified by the 5 nearest other videos \(cosine similarity\), the accuracy is (\d+) % with "
                       r"vanilla CLIP and (\d+) % with ViFi-CLIP, on \d+ videos of 4 classes; ", caption)  # fmt: skip
    assert numbers and "Positions" not in caption and "ositions by t-SNE, perplexity " in caption
    for title, number in (("vanilla CLIP", numbers[1]), ("ViFi-CLIP", numbers[2])):
        assert f"{title}: 5-NN accuracy {number} %" in shown


@pytest.mark.slow
def test_features_are_arrays_that_give_the_scores_of_the_fit(
    small_dataset: Path, finished_runs: Path, tmp_path: Path
) -> None:
    """The mean of the frame features, scored by the fit, predicts what the record predicted; both formats are equal."""
    from safetensors import safe_open

    from results.predictions import read_predictions

    asked = ("--method", "vificlip", "--part", "novel", "--dataset", small_dataset, "--runs", finished_runs)
    for name in ("f.npz", "f.safetensors"):
        assert in_process("features", *asked, "--out", tmp_path / name) == 0
    arrays = np.load(tmp_path / "f.npz")
    (path,) = [p for p in find_records(finished_runs) if read_record(p).measurement.protocol.part == "novel"]
    record = read_record(path)
    table = read_predictions(path.with_name(record.predictions.file))
    assert arrays["videos"].tolist() == table["video"].tolist() and arrays["labels"].tolist() == table["label"].tolist()
    assert tuple(arrays["classes"]) == record.classes and arrays["key"] == record.key
    frames = arrays["features"]
    assert frames.shape[:2] == (len(table), record.measurement.evaluation.views.frames) and frames.dtype == np.float32
    np.testing.assert_allclose(frames.mean(axis=1), arrays["video_features"], rtol=1e-5, atol=1e-6)
    fit = api.load_fit(next(finished_runs.rglob("fit.json")).parent, runs=finished_runs)
    with torch.no_grad():
        scores = fit.method.score(
            torch.from_numpy(arrays["video_features"]), fit.method.encode_text(api.LabelSet(record.classes))
        )
    assert scores.argmax(dim=1).tolist() == table["id1"].tolist()
    with safe_open(tmp_path / "f.safetensors", framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("features"), frames)
        assert json.loads(file.metadata()["videos"]) == arrays["videos"].tolist()


@pytest.mark.slow
def test_features_of_an_untrained_method(small_dataset: Path, tmp_path: Path) -> None:
    places = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    run = ("--method", "vanilla_clip", "--protocol", "b2n", "--dataset", small_dataset, "--arch", "mini-clip")
    options = ("--views", "frames=2", "--workers", "0", "--quiet", "--no-report", "--json")
    assert in_process("run", *run, "--part", "novel", "--repeat", "1", *options, *places) == 0
    asked = ("--method", "vanilla_clip", "--dataset", small_dataset, "--out", tmp_path / "f.npz")
    assert in_process("features", *asked, *places) == 0
    assert np.load(tmp_path / "f.npz")["features"].shape[1] == 2


def test_an_unknown_part_is_told(finished_runs: Path) -> None:
    assert in_process("features", "--method", "vificlip", "--part", "nowhere", "--runs", finished_runs) == 2


@pytest.mark.parametrize("out", ["x.npy", "x", "x.csv", "folder.npz"])
def test_another_suffix_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str) -> None:
    (tmp_path / "folder.npz").mkdir()
    assert in_process("features", "--method", "vificlip", "--out", tmp_path / out) == 2
    error = capsys.readouterr().err
    assert "expected a file that ends in .png, .pdf, .svg (a map), .npz or .safetensors (arrays)" in error
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npz"]
