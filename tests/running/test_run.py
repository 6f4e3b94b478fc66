"""Carrying out a plan: reuse, force, failures; several processes on one run folder: tests/endurance."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import EvalCell, FitCell
from harness.cells.from_request import expand
from harness.cells.plan import make_plan
from harness.cells.request import MethodChoice, Request
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings, load_settings
from harness.running.cell_files import lock_of, partial_results
from harness.running.run import discard, execute
from results.record import find_records, read_record
from tests.conftest import ROOT, TINY_RUN, in_process, machine_free

pytestmark = pytest.mark.usefixtures("plugins_forgotten")


@pytest.fixture
def places(small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")
    return ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")


@pytest.fixture
def runs(finished_runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_runs, tmp_path / "runs"))


def content(runs: Path) -> dict[str, str]:
    found = {p.relative_to(runs): p for p in sorted(runs.rglob("*")) if p.is_file() and ".locks" not in p.parts}
    return {str(name): hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return next(line for line in capsys.readouterr().err.splitlines() if "cells reused" in line)


def test_a_second_run_reuses_everything(
    runs: Path, places: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(runs)
    assert in_process("run", "--method", "vificlip", *TINY_RUN, *places) == 0
    assert said(capsys).startswith("0 fits and 0 evals done, 4 cells reused")
    assert content(runs) == before


RECOGNISER = """
model = dict(type="Recognizer3D", backbone=dict(type="ResNet3d"), cls_head=dict(num_classes=4))
test_pipeline = [
    dict(type="SampleFrames", clip_len=4, frame_interval=1, num_clips=1), dict(type="CenterCrop", crop_size=32)
]
"""


@pytest.mark.slow
def test_commands_on_finished_cells_import_no_torch(
    runs: Path, places: tuple[object, ...], small_dataset: Path, tmp_path: Path
) -> None:
    """Torch and the engine take seconds to import, scipy.stats takes most of one: finished cells need none of them."""
    config = tmp_path / "recogniser.py"
    config.write_text(RECOGNISER)
    mmaction2 = f"mmaction2:config={config},checkpoint=random"
    folders, record = ("--runs", runs, "--cache", tmp_path / "cache"), find_records(runs)[0]
    no_report = [*(part for part in TINY_RUN if part != "--json"), *places]
    commands: list[tuple[object, ...]] = [
        ("run", "--method", "vificlip", *no_report),
        ("plan", "--method", "vificlip", *no_report),
        ("plan", "--method", mmaction2, "--protocol", "supervised", "--dataset", small_dataset, *folders),
        ("status", runs), ("curve", "shapes", *folders), ("score", record), ("submit", "rules"),
        ("compare", record, record), ("submit", "check", runs / "mini-clip"),
        ("run", "--method", "vificlip", *(part for part in no_report if part != "--no-report")),
        ("report", "--table", "b2n", *folders),
    ]  # fmt: skip
    code = (
        "import json, sys; from harness.cli import main; ends = []\n"
        f"for words in {[[str(word) for word in command] for command in commands]!r}:\n"
        "    heavy = ('torch', 'torchvision', 'open_clip', 'mmaction', 'scipy.stats')\n"
        "    ends.append((' '.join(words[:3]), main(words), [name for name in heavy if name in sys.modules]))\n"
        "print(json.dumps(ends), file=sys.__stderr__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=machine_free(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0 fits and 0 evals done, 4 cells reused" in done.stderr
    refused = ("submit check",)  # a run folder is not a submission
    for words, exit_code, heavy in json.loads(done.stderr.splitlines()[-1]):
        assert not heavy and (exit_code == 0 or words.startswith(refused)), (words, exit_code, heavy, done.stderr)


def test_records_hold_what_a_view_costs_and_what_the_card_cites(finished_runs: Path) -> None:
    for path in find_records(finished_runs):
        record = read_record(path)
        # Two frames of the embedded model: 64 patches of 8 x 8, 65 tokens of width 128, four blocks.
        assert record.cost.gflops == pytest.approx(2 * 0.45627 / 8, rel=1e-3)
        assert record.cost.score_gflops > 0 or (0 < 1e-4 and record.cost.eval_seconds > 0)
        assert record.method.paper.startswith("Rasheed") and record.method.source


def test_a_removed_prediction_is_computed_again(
    runs: Path, places: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(runs)
    path = next(runs.rglob("*base_val*.predictions.csv.gz"))
    path.unlink()
    assert in_process("run", "--method", "vificlip", *TINY_RUN, *places) == 0
    assert said(capsys).startswith("0 fits and 1 evals done, 3 cells reused")
    after = content(runs)
    changed = {name for name in before if before[name] != after[name]}
    assert set(after) == set(before) and all("base_val" in n and n.endswith(".record.json") for n in changed)


def test_force_computes_again_and_finds_the_same(
    runs: Path, places: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: value for name, value in content(runs).items() if name.endswith((".safetensors", ".csv.gz"))}
    assert in_process("run", "--method", "vificlip", *TINY_RUN, *places, "--force") == 0
    assert said(capsys).startswith("1 fits and 3 evals done, 0 cells reused")
    after = content(runs)
    assert len(before) == 4 and all(after[name] == value for name, value in before.items())


@pytest.mark.parametrize("method", ["vificlip", "vanilla_clip"])
def test_force_waits_for_whoever_is_at_work_on_a_cell(
    method: str, runs: Path, small_dataset: Path, tmp_path: Path
) -> None:
    """Nothing of a fit, or of an untrained method, goes before the lock of each of its evals is free."""
    settings = load_settings({"runs": str(runs), "cache": str(tmp_path / "cache")})
    request = Request((MethodChoice(method),), ("b2n",), (str(small_dataset),), repeats=(1,))
    plan = make_plan(expand(request, settings))
    cell = plan.evals[-1].cell
    assert isinstance(cell, EvalCell)
    left = [cell.record, cell.predictions, partial_results(cell)]
    with lock_of(settings, cell):
        for path in left:
            path.write_text("of another")
        thread = threading.Thread(target=discard, args=(plan, settings))
        thread.start()
        thread.join(timeout=0.5)
        assert thread.is_alive() and all(path.is_file() for path in left)
    thread.join(timeout=30)
    assert not thread.is_alive() and not any(path.exists() for path in left)


@pytest.mark.slow
def test_force_locks_the_evals_of_a_method_in_one_order(
    runs: Path, small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B26: two `--force` runs that list their evals in different orders never wait for each other's locks."""
    settings = load_settings({"runs": str(runs), "cache": str(tmp_path / "cache")})
    request = Request((MethodChoice("vanilla_clip"),), ("b2n",), (str(small_dataset),), repeats=(1,))
    plan = make_plan(expand(request, settings))
    locked: list[str] = []

    def logged(settings: Settings, cell: FitCell | EvalCell) -> contextlib.AbstractContextManager[None]:
        locked.append(cell.key)
        return lock_of(settings, cell)

    monkeypatch.setattr("harness.running.run.lock_of", logged)
    discard(plan, settings)
    discard(replace(plan, evals=tuple(reversed(plan.evals))), settings)
    half = len(locked) // 2
    assert half == len(plan.evals) > 1 and locked[:half] == locked[half:]


@pytest.mark.slow
def test_a_leak_in_one_cell_with_keep_going(small_dataset: Path, tmp_path: Path) -> None:
    """B30: the leak is a failure of its cells; no fit is computed for them, and the other cells are."""
    settings = load_settings({"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache")})
    methods = (MethodChoice("vificlip"), MethodChoice("vanilla_clip"))
    request = Request(
        methods, ("b2n",), (str(small_dataset),), BackboneChoice("mini-clip", None), {}, {"frames": "2"}, repeats=(1,)
    )
    cells = expand(request, settings)
    # Every eval of the fit is given the training list, as a wrong table of the user would.
    evals = tuple(replace(cell, test=cell.fit.train) if cell.fit else cell for cell in cells.evals)
    leaking = replace(cells, evals=evals)
    compute = ComputeOptions(device="cpu", workers=0, quiet=True)
    with pytest.raises(UserError, match="also in the training list"):
        execute(make_plan(leaking), settings, compute)
    summary = execute(make_plan(leaking), settings, compute, keep_going=True)
    assert (summary.fits, summary.evals) == (0, 3) and len(summary.failures) == 3
    assert all("eval vificlip" in name and "also in the training list" in error for name, error in summary.failures)


BROKEN_METHOD = '''"""A method that fails when it scores."""

from harness.api import ClipMethod, MethodCard, register_method


@register_method("breaks")
class Breaks(ClipMethod):
    card = MethodCard(title="Breaks")

    def score(self, video, text):
        raise RuntimeError("out of tune")
'''


@pytest.fixture
def broken_method(tmp_path: Path) -> Path:
    path = tmp_path / "breaks.py"
    path.write_text(BROKEN_METHOD)
    return path


def test_keep_going_names_what_failed_and_does_the_rest(
    places: tuple[object, ...], broken_method: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("run", "--plugin", broken_method, "--method", "breaks", "vanilla_clip", *TINY_RUN, *places)
    assert in_process(*arguments, "--keep-going") == 1
    captured = capsys.readouterr()
    failed = [line for line in captured.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 3 and all("eval breaks b2n" in line and "out of tune" in line for line in failed)
    assert len(json.loads(captured.out)) == 3
    assert len(list((tmp_path / "runs").rglob("*.record.json"))) == 3


def test_without_keep_going_the_first_failure_ends_the_run(
    places: tuple[object, ...], broken_method: Path, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="out of tune"):
        in_process("run", "--plugin", broken_method, "--method", "breaks", *TINY_RUN, *places)
    assert list((tmp_path / "runs").rglob("*.record.json")) == []


def test_missing_videos(small_dataset: Path, tmp_path: Path) -> None:
    """A list with videos that have gone is refused, or used as far as it is there and marked so."""
    moved = Path(shutil.copytree(small_dataset, tmp_path / "moved"))
    request = Request(
        (MethodChoice("vanilla_clip"),),
        ("b2n",),
        (str(moved),),
        BackboneChoice("mini-clip", None),
        views={"frames": "2"},
    )
    settings = load_settings(
        {"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache")}, {"HARNESS_CONFIG": "/dev/null"}
    )
    cells = expand(request, settings)
    gone = cells.evals[0].test.rows[0][0]
    (moved / gone).unlink()
    with pytest.raises(UserError, match=r"1 of .* videos of the list .* were not found") as caught:
        execute(make_plan(cells), settings, ComputeOptions(device="cpu", workers=0, quiet=True))
    assert gone in caught.value.message and "--allow-missing" in caught.value.hint
    execute(make_plan(cells), settings, ComputeOptions(device="cpu", workers=0, quiet=True, allow_missing=True))
    record = read_record(cells.evals[0].record)
    assert record.measurement.evaluation.evaluated == record.measurement.evaluation.list.n - 1
    assert record.incomplete


def test_a_run_folder_that_cannot_be_made(
    places: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").write_text("a file")
    assert in_process("run", "--method", "vanilla_clip", *TINY_RUN, *places) == 2
    assert "cannot be made" in capsys.readouterr().err


@pytest.mark.slow
def test_a_damaged_record_is_named_and_stops_nothing(
    runs: Path, places: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A record of another method is damaged, and one has an older schema: the rest is shown, with exit code 1."""
    arguments = [part for part in TINY_RUN if part not in ("--no-report", "--json")]
    stray = runs / "mini-clip" / "other" / "evals"
    stray.mkdir(parents=True)
    (stray / "damaged.record.json").write_text("{")
    (stray / "old.record.json").write_text('{"schema": 2}')
    assert in_process("run", "--method", "vificlip", *arguments, *places) == 1
    captured = capsys.readouterr()
    assert "ViFi-CLIP" in captured.out and "report: " in captured.err
    for words in ("damaged.record.json", "old.record.json: schema is 2, expected 3", "Remove the file and run"):
        assert words in captured.err, captured.err
    assert (runs / "board" / "index.html").is_file()
