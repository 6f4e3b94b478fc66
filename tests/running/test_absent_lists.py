"""A list without videos does not end a run that allows missing videos."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import Cells
from harness.cells.from_request import expand
from harness.cells.plan import make_plan
from harness.cells.request import MethodChoice, Request
from harness.engine.compute.processes import SINGLE_PROCESS
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings, load_settings
from harness.running.absent_lists import without_absent_lists
from harness.running.run import execute
from harness.running.run_request import RunSummary

COMPUTE = ComputeOptions(device="cpu", workers=0, quiet=True, allow_missing=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache")}, {})


@pytest.fixture
def root(small_dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_dataset, tmp_path / "shapes"))


def cells_of(root: Path, settings: Settings, *methods: str) -> Cells:
    request = Request(
        tuple(map(MethodChoice, methods)),
        ("b2n",),
        (str(root),),
        BackboneChoice("mini-clip", None),
        views={"frames": "2"},
    )
    return expand(request, settings)


def remove(root: Path, cells: Cells, name: str) -> None:
    lists = {cell.test.name: cell.test for cell in cells.evals} | {cell.train.name: cell.train for cell in cells.fits}
    (rows,) = [rows for known, rows in lists.items() if known.startswith(name)]
    for path, _ in rows.rows:
        (root / path).unlink(missing_ok=True)


@pytest.mark.slow
def test_an_eval_without_videos_is_left_out(root: Path, settings: Settings) -> None:
    cells = cells_of(root, settings, "vanilla_clip")
    remove(root, cells, "novel_val")
    summary = execute(make_plan(cells), settings, COMPUTE)
    ((name, reason),) = summary.left_out
    assert name == "eval vanilla_clip b2n shapes novel 1"
    assert reason.startswith("none of the ") and "'novel_val' was found" in reason
    assert summary.evals == 2 and not summary.failures


def test_a_fit_without_videos_is_left_out_with_its_evals(root: Path, settings: Settings) -> None:
    cells = cells_of(root, settings, "vificlip", "vanilla_clip")
    remove(root, cells, "base_s1")
    summary = RunSummary()
    fits, evals = without_absent_lists((list(cells.fits), list(cells.evals)), True, SINGLE_PROCESS, summary)
    gone = {cell.key for cell in cells.fits} - {cell.key for cell in fits}
    assert gone and evals and all(cell.fit is None or cell.fit.key not in gone for cell in evals)
    reasons = {reason for name, reason in summary.left_out if name.startswith("eval vificlip")}
    assert reasons == {"its fit is left out"}


@pytest.mark.slow
def test_without_any_video_the_folder_is_wrong(root: Path, settings: Settings) -> None:
    cells = cells_of(root, settings, "vanilla_clip")
    for path in list(root.rglob("*.avi")):
        path.unlink()
    with pytest.raises(UserError, match=r"none of the .* videos of the list"):
        execute(make_plan(cells), settings, COMPUTE)
