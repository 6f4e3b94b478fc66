"""A newcomer's first hour: from a folder of own clips to a board, with the commands of the docs and a few mistakes."""

from __future__ import annotations

import importlib
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, in_process

pytestmark = pytest.mark.slow
CHOICE = "--method vanilla_clip vificlip --protocol b2n --dataset clips --arch mini-clip"
SMALL = "--views frames=2 --recipe epochs=2 --workers 0"
PARTS = ("base", "novel", "joint")


@dataclass(frozen=True)
class Printed:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The error of a mistake: one message with a hint, and nothing else on stdout and stderr."""
        lines = self.err.splitlines()
        assert self.code == 2 and not self.out and lines[0].startswith("error: ") and len(lines) == 2, self
        return self.err


@pytest.fixture
def harness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], Printed]:
    """A function that runs a command line in an empty folder, on a machine without settings."""
    for name in ("HARNESS_RUNS", "HARNESS_LISTS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "HF_HUB_CACHE", "HARNESS_WEIGHTS"):  # weights of other projects on this machine do not count
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")

    def run(command: str) -> Printed:
        capsys.readouterr()
        try:
            code = in_process(*shlex.split(command))
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err, printed.err
        return Printed(code, printed.out, printed.err)

    return run


def test_from_own_clips_to_a_board(harness: Callable[[str], Printed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    importlib.import_module("make_clips").make_clips("clips")

    # The data: a wrong path first.
    assert "There is no dataset named 'clip'" in (typo := harness("check data clip").error)
    assert "Did you mean the folder clips?" in typo
    checked = harness("check data clips")
    assert checked.code == 0 and "clips: 32 video files in clips" in checked.out
    for line in ("train: 24 of 24 clips (own)", "val: 8 of 8 clips (own)", "base_train: 12 of 12 clips (own)"):
        assert line in checked.out

    # The plan: real CLIP without its weights is noted, a misspelt setting refused.
    assert (
        "the weights ViT-B-16/openai are not on this machine" in harness(f"plan {CHOICE.partition(' --arch')[0]}").err
    )
    assert "Did you mean epochs?" in harness(f"plan {CHOICE} --recipe epohcs=2").error
    planned = harness(f"plan {CHOICE} {SMALL}")
    assert planned.code == 0 and "to do: 1 fits, 6 evals of 1 and 6" in planned.err
    assert planned.out.count("missing") == 7 and "not fitted yet" in planned.out
    assert "The run folder runs does not exist" in harness("status").error
    assert not Path("runs").exists()

    # The run.
    ran = harness(f"run {CHOICE} {SMALL}")
    assert ran.code == 0 and "1 fits and 6 evals done, 0 cells reused" in ran.err
    rows = [line for line in ran.out.splitlines() if " b2n clips 2x1x1@64 " in line]
    assert [row.split("  ")[0] for row in rows] == [
        "Vanilla CLIP",
        "ViFi-CLIP (epochs 2, accumulate 3) b2n clips 2x1x1@64",
    ]
    assert all(f"  {column} " in row for row in rows for column in (*PARTS, "hm"))
    assert "report: runs/board/index.html" in ran.err and Path("runs/board/index.html").is_file()
    again = harness(f"run {CHOICE} {SMALL}")
    assert "0 fits and 0 evals done, 7 cells reused" in again.err and again.out == ran.out

    # What there is now.
    state = harness("status")
    assert state.code == 0 and "runs: 7 done" in state.err + state.out
    (fit,) = Path("runs/mini-clip/vificlip").iterdir()
    assert "There is no fit" in harness("curve runs/vificlip").error
    curve = harness(f"curve {fit} --out curve.png")
    assert curve.code == 0 and "EPOCH" in curve.out and Path("curve.png").stat().st_size > 1000
    assert harness("score runs").out.startswith("6 records recomputed, 0 findings")

    # Which method is better?
    assert "Did you mean vanilla_clip" in harness("compare vificlip vanila_clip").error
    compared = harness("compare vificlip vanilla_clip --protocol b2n")
    assert compared.code == 0 and compared.out.startswith("A = ViFi-CLIP\nB = Vanilla CLIP\n")
    assert all(f"b2n/clips/{part}: " in compared.out for part in PARTS)
    scores = {
        score["signature"]: score for score in json.loads(harness(f"run {CHOICE} {SMALL} --json --no-report").out)
    }
    assert len(scores) == 6 and all(score["incomplete"] == [] for score in scores.values())

    # The board and a table.
    assert "report: runs/board/index.html" in harness("report").err
    page = Path("runs/board/index.html").read_text()
    assert "ViFi-CLIP" in page and "Vanilla CLIP" in page and "clips" in page
    table = harness("report --table b2n --against nothing")
    assert "### Base to novel: clips" in table.out and "open division: own training list" in table.out

    # A prediction: an untrained method has no classes, a path may be wrong.
    assert "--labels is missing" in harness("predict 'clips/circle left/clip0.avi'").error
    predicted = harness(f"predict 'clips/circle left/clip0.avi' --fit {fit}")
    assert predicted.code == 0 and predicted.out.startswith("clips/circle left/clip0.avi: square ")
    absent = harness(f"predict clips/clip0.avi --fit {fit}")
    assert absent.code == 1 and "clips/clip0.avi: not decoded: does not exist" in absent.err + absent.out
