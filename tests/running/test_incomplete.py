"""The end of a run states the videos that its results lack, wherever the numbers are printed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import CLASSES, in_process
from tests.endurance.conftest import SMALL, only


@pytest.fixture(scope="module")
def lacking(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset with given split: an undecodable evaluation video, an undecodable and a missing training clip."""
    root = tmp_path_factory.mktemp("lacking")
    table = ["path,class,split"]
    for name in CLASSES:
        for i in range(4):
            target = root / "videos" / name / f"clip{i}.avi"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(small_dataset / name / f"clip{i}.avi", target)
            table.append(f"{name}/clip{i}.avi,{name},{'val' if i == 3 else 'train'}")
    (root / "videos" / CLASSES[0] / "clip3.avi").write_text("no video")
    (root / "videos" / CLASSES[1] / "clip0.avi").write_text("no video either")
    (root / "videos" / "list.csv").write_text("\n".join(table) + "\n")
    return root, root / "videos" / "list.csv"


@pytest.mark.slow
def test_the_end_of_a_run_names_them(
    lacking: tuple[Path, Path], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root, table = lacking
    options = [option for option in SMALL if option not in ("b2n", "--json")]
    options.insert(options.index("--protocol") + 1, "supervised")
    arguments = ("run", "--method", "vificlip", *options, "--runs", root / "runs", "--cache", root / "cache")
    assert in_process(*arguments, "--dataset", table) == 0
    line = (
        f"incomplete: evaluation videos undecodable, counted as wrong: 1 (list/{CLASSES[0]}/clip3.avi); "
        f"training clips undecodable, replaced: 1 (list/{CLASSES[1]}/clip0.avi); "
        "`python -m harness check data DATASET --decode` names the cause of each"
    )
    shown = capsys.readouterr()
    assert shown.err.count("incomplete: ") == 1 and line in shown.err
    assert "[" in shown.out and "missing videos" in shown.out
    assert f"{CLASSES[1]}/clip0.avi (class '{CLASSES[1]}') is replaced by" in caplog.text
    assert "clip 4" not in caplog.text
    assert in_process(*arguments, "--dataset", table) == 0
    assert line in capsys.readouterr().err, "also if all cells are reused"
    record = json.loads(only(root / "runs", "*.record.json").read_text())
    assert [len(item["sha256"]) for item in record["undecodable"]] == [64]
