"""`attention`: a fit named by method, name or folder; vanilla and tuned side by side as PNG and MP4."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import av
import pytest
from PIL import Image

from harness.base.errors import UserError
from harness.running.load_fit import find_fits
from tests.conftest import in_process


def test_pictures_of_a_fit_named_by_its_method(
    small_dataset: Path, finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = next(small_dataset.rglob("*.avi"))
    outs = [tmp_path / "a.png", tmp_path / "a.mp4", tmp_path / "a.gif", tmp_path / "a.svg"]
    arguments = [part for out in outs for part in ("--out", out)]
    fit = next(finished_runs.rglob("fit.json")).parent.name[:6]
    places = ("--runs", finished_runs, "--frames", 2)
    assert in_process("attention", "--method", "vificlip", "--fit", fit, clip, *places, *arguments) == 0
    caption = capsys.readouterr().out.strip()
    numbers = re.match(
        r"vanilla CLIP spreads its attention over (\d+) % of the patches; ViFi-CLIP moves (\d+) % of it and "
        r"spreads over (\d+) % \(means over 2 frames\)", caption
    )  # fmt: skip
    assert numbers and all(0 <= int(number) <= 100 for number in numbers.groups())
    with Image.open(outs[0]) as sheet:
        assert sheet.size[0] == 2070 and sheet.text["Description"] == caption
    root = ET.fromstring(outs[3].read_text("utf-8"))
    shown = ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [re.sub(r"\d+", "N", text) for text in shown if text.endswith(" s")] == ["N.N s"] * 2, "times of frames"
    assert {"attention", "(1 = uniform)", "difference"} <= set(shown), "scales"
    vanilla, tuned, change = (next(text for text in shown if text.startswith(name)) for name in (
        "vanilla CLIP: ", "ViFi-CLIP: ", "ViFi-CLIP minus vanilla CLIP: "))  # fmt: skip
    assert f"{numbers[1]} % of the patches, predicts " in vanilla and f"{numbers[3]} % of the patches" in tuned
    assert change == f"ViFi-CLIP minus vanilla CLIP: {numbers[2]} % moved"
    with av.open(str(outs[1])) as film:
        assert sum(1 for _ in film.decode(video=0)) == 2
    with Image.open(outs[2]) as film:
        assert film.n_frames == 2


def test_another_suffix_is_refused_before_the_fit_is_loaded(
    tmp_path: Path, finished_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outs = ("--out", tmp_path / "a.png", "--out", tmp_path / "a.jpg")
    assert in_process("attention", "--method", "vificlip", "clip.mp4", "--runs", finished_runs, *outs) == 2
    assert "expected a file that ends in .png, .svg, .pdf, .mp4, .gif" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_fits_are_found_and_misses_are_told(finished_runs: Path) -> None:
    (folder,) = [path.parent for path in finished_runs.rglob("fit.json")]
    asked: list[tuple[list[str], list[str]]] = [
        (["vificlip"], []),
        ([], [str(folder)]),
        ([], [folder.name[:5]]),
        (["vificlip"], [folder.name]),
    ]
    for methods, names in asked:
        assert find_fits(finished_runs, methods, names) == [folder]
    for methods, names, message in (
        ([], [], "No fit was named"),
        (["text_ft"], [], "found 0: none"),
        ([], ["zzz"], "found 0: none"),
        (["text_ft"], [str(folder)], "holds a fit of vificlip"),
    ):
        with pytest.raises(UserError, match=message):
            find_fits(finished_runs, methods, names)
