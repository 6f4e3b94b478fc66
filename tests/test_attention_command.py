"""`attention`: a fit named by method, name or folder; vanilla and tuned side by side as PNG and MP4."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from PIL import Image

from harness.base.errors import UserError
from harness.running.load_fit import find_fits
from tests.conftest import in_process


def test_pictures_of_a_fit_named_by_its_method(small_dataset: Path, finished_runs: Path, tmp_path: Path) -> None:
    clip = next(small_dataset.rglob("*.avi"))
    outs = [tmp_path / "a.png", tmp_path / "a.mp4", tmp_path / "a.gif"]
    arguments = [part for out in outs for part in ("--out", out)]
    fit = next(finished_runs.rglob("fit.json")).parent.name[:6]
    places = ("--runs", finished_runs, "--frames", 2)
    assert in_process("attention", "--method", "vificlip", "--fit", fit, clip, *places, *arguments) == 0
    with Image.open(outs[0]) as sheet:
        assert sheet.size[0] == 2 * 116 - 4 and sheet.size[1] == 3 * 130 - 4, "the clip, vanilla, tuned"
    with av.open(str(outs[1])) as film:
        assert sum(1 for _ in film.decode(video=0)) == 2
    with Image.open(outs[2]) as film:
        assert film.n_frames == 2


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
