"""The commands of docs/own_clips.md run, in the order of the page, on a folder of clips and a finished fit."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from harness.engine.video.worker_server import worker_server
from tests.conftest import in_process, write_clip
from tests.test_docs_pages import blocks_of, harness_arguments

PAGE = "docs/own_clips.md"
BLOCKS = [block for block in blocks_of(PAGE) if block.mark == "runs"]


@pytest.fixture
def folder(small_dataset: Path, finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`clips/` as the dataset of the finished fit, `long.avi`, `runs/FIT`, and the run folder of another machine."""
    from tests.conftest import CLASSES, TINY_RUN

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(finished_runs.parent / "cache"))
    worker_server().close()  # the next one has this working directory, to which paths of datasets are relative
    shutil.copytree(small_dataset, tmp_path / "clips")
    write_clip(tmp_path / "long.avi", CLASSES[0], frames=48)
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    # The fit of `finished_runs` is one of the folder `shapes`: a dataset is known by its name.
    places = ("--dataset", "clips", "--runs", "runs")
    assert in_process("run", "--method", "vificlip", *TINY_RUN, *places) == 0
    fit = next(Path("runs").rglob("fit.json")).parent
    (tmp_path / "runs" / "FIT").symlink_to(fit.resolve())
    shutil.copytree(fit, tmp_path / "other_machine" / fit, symlinks=True)
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_page_run_in_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in BLOCKS:
        if "--track" in block.text and find_spec("tensorboard") is None:
            continue
        if block.language == "python":
            exec(compile(block.text, str(block), "exec"), {})
            continue
        for line in block.commands:
            found = list(harness_arguments(line))
            assert found, line
            for arguments in found:
                assert in_process(*arguments, *(("--quiet",) if arguments[0] == "run" else ())) == 0, line
    printed = capsys.readouterr().out
    assert "their_model" in printed and "array 1" in printed
    for name in (
        "predictions.csv", "predictions.json", "sheet.png", "windows.csv", "scores.png", "features.npz",
        "features.safetensors", "lists/clips_val.txt", "lists/mini_target_novel_val.txt", "board/index.html",
        "vificlip.safetensors",
    ):  # fmt: skip
        assert (folder / name).is_file(), name
    assert np.load(folder / "features.npz")["features"].ndim == 3
    if find_spec("tensorboard") is not None:
        assert list(folder.glob("runs/*/text_ft/*/track/scalars.json"))


def test_each_paragraph_of_the_page_has_commands_that_run() -> None:
    text = "\n".join(block.text for block in BLOCKS)
    for word in (
        "--out", "--sheet", "--start", "--window", "--plot", "--track", "features ", "export-lists", "--import",
        "report --runs", "export ", "load_fit",
    ):  # fmt: skip
        assert word in text, word
