"""`features`: one dot a video of the list that a fit was scored on."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from tests.conftest import in_process


def test_features_of_a_fit_are_drawn(small_dataset: Path, finished_runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.svg"
    asked = ("--method", "vificlip", "--part", "joint", "--dataset", small_dataset, "--out", out)
    assert in_process("features", *asked, "--runs", finished_runs) == 0
    root = ET.fromstring(out.read_text(encoding="utf-8"))
    shown = ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"circle left", "square right"} <= set(shown) and any("ViFi-CLIP" in text for text in shown)


def test_an_unknown_part_is_told(finished_runs: Path) -> None:
    assert in_process("features", "--method", "vificlip", "--part", "nowhere", "--runs", finished_runs) == 2
