"""ESZSL, SJE and DEM under `zero_shot` on the embedded benchmark, with the features of one pass over the videos."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

METHODS = ("eszsl", "sje", "dem")
CLASSES = 24
VIDEOS = 792 + 3 * 480


@pytest.mark.slow
def test_classic_methods_transfer_and_share_their_features(harness: Callable[..., object], tmp_path: Path) -> None:
    scores = {}
    entries = set()
    for name in METHODS:
        done = harness(
            "run", "--method", name, "--protocol", "zero_shot", "--runs", tmp_path / "runs", "--cache",
            tmp_path / "cache", "--no-report", "--json", "--quiet", timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        scores[name] = [row["top1"] for row in json.loads(done.stdout)]
        assert len(scores[name]) == 3
        found = {path.name for path in (tmp_path / "cache" / "features").rglob("*.safetensors")}
        assert not entries or found == entries, "the second method computes no feature"
        entries = found
    assert 0 < len(entries) <= VIDEOS  # test splits may share videos
    assert all(min(values) > 3 * 100 / CLASSES for values in scores.values()), scores
    fits = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("fit.json")]
    assert {fit["outcome"]["updates"] for fit in fits if "eszsl" in fit["name"]} == {1}
    assert all(fit["described"]["training"]["used"] == 792 for fit in fits)
