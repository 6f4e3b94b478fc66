"""Valid submissions pass, in every protocol; packing is deterministic; what is computed agrees with the board."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness import __version__
from harness.submitting.benchmark_facts import builtin_methods, parent_settings
from results.submission.choose import Choice
from results.submission.pack import About, pack
from results.submission.scores import scores_of
from tests.conftest import ROOT
from tests.results.submission.corrupted_lists import built_in_parent
from tests.results.submission.forge import Forge, forge, with_parent
from tests.results.submission.forged_built_in import as_built_in
from tests.results.submission.installed_facts import check

CASES = [
    ("b2n", "mini_target", True), ("b2n", "mini_target", False), ("few_shot", "mini_target", True),
    ("zero_shot", "mini_target", True), ("zero_shot", "mini_target", False), ("supervised", "mini_source", True),
]  # fmt: skip


def unpacked(made: Forge, folder: Path) -> Path:
    """The forged files as a run folder: records with predictions, fits in folders of their own."""
    for name, data in made.files().items():
        if name.startswith("records/"):
            target = folder / "mini-clip" / "mymethod" / name
        elif name.startswith("fits/"):
            target = folder / "mini-clip" / "mymethod" / name[5:13] / "fit.json"
        elif name.startswith("weights/"):
            target = folder / "mini-clip" / "mymethod" / name[8:16] / "weights.safetensors"
        else:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


@pytest.mark.parametrize(("protocol", "dataset", "trained"), CASES)
def test_a_valid_submission_passes_without_a_finding(
    protocol: str, dataset: str, trained: bool, tmp_path: Path
) -> None:
    checked = check(forge(protocol, dataset, trained).write(tmp_path / "a.zip"))
    assert [str(finding) for finding in checked.findings] == []
    assert checked.passed


@pytest.mark.slow
def test_a_submission_of_fits_with_a_parent_passes(tmp_path: Path) -> None:
    made = with_parent(forge())
    assert len(made.fits) == 4
    checked = check(made.write(tmp_path / "a.zip"))
    assert [str(finding) for finding in checked.findings] == []


@pytest.mark.slow
def test_a_parent_fit_of_a_built_in_method_passes(tmp_path: Path) -> None:
    made = forge()
    built_in_parent(made, lambda described: None)
    checked = check(made.write(tmp_path / "a.zip"))
    assert [str(finding) for finding in checked.findings] == []


def test_settings_of_a_parents_recipe_are_declared_by_the_method_that_starts_from_it() -> None:
    """OST with `start=source` starts from a fit of OST that is not mixed with CLIP."""
    assert parent_settings("ost") == ({"initial_share": "0"},) and not parent_settings("vificlip")


METHODS = sorted(name for name in builtin_methods() if name not in ("mformer", "mmaction2"))
"""Built-in methods on CLIP; the two others have a model of their own, and their rows are in the open division."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "text_ft" else [pytest.mark.slow]) for name in METHODS]
)
def test_every_built_in_method_passes_as_it_declares_itself(name: str, tmp_path: Path) -> None:
    protocol = "zero_shot" if name in ("dem", "eszsl", "sje") else "few_shot"
    made = forge(protocol, "mini_target", trained=name not in ("vanilla_clip", "viclip"))
    as_built_in(made, name)
    checked = check(made.write(tmp_path / "a.zip"))
    assert [str(finding) for finding in checked.findings] == []


def test_a_folder_and_its_archive_are_one_submission(tmp_path: Path) -> None:
    path = forge().write(tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "folder")
    packed, folder = check(path), check(tmp_path / "folder")
    assert folder.passed and not folder.findings
    assert folder.submission.digest == packed.submission.digest


def test_weights_may_be_left_out_and_it_stays_the_same_submission(tmp_path: Path) -> None:
    path = forge().write(tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "folder")
    for file in (tmp_path / "folder" / "weights").iterdir():
        file.unlink()
    whole, light = check(path), check(tmp_path / "folder")
    assert light.passed and not light.findings
    assert light.submission.digest == whole.submission.digest
    assert (len(whole.submission.weights), len(light.submission.weights)) == (3, 0)


def test_packing_twice_gives_equal_bytes_that_pass(tmp_path: Path) -> None:
    runs = unpacked(forge(), tmp_path / "runs")
    about = About(weights=True, harness=__version__)
    first = pack(runs, Choice("mymethod"), tmp_path / "a.zip", about)
    pack(runs, Choice("mymethod"), tmp_path / "b.zip", about)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert (first.records, first.fits) == (9, 3)
    checked = check(tmp_path / "a.zip")
    assert checked.passed and not checked.findings
    assert len(checked.submission.weights) == 3


@pytest.mark.parametrize(("protocol", "dataset", "trained"), CASES)
def test_scores_are_those_of_the_board(protocol: str, dataset: str, trained: bool, tmp_path: Path) -> None:
    from reports.aggregate import rows_of
    from reports.entries import read_entries
    from reports.ranks import analyse

    made = forge(protocol, dataset, trained)
    submission = check(made.write(tmp_path / "a.zip")).submission
    rows = analyse(rows_of(read_entries(unpacked(made, tmp_path / "runs")).entries)).rows
    board = {name: cell for row in rows for name, cell in row.cells.items()}
    ours = {score.column: score for score in scores_of(submission)}
    assert set(ours) == set(board)
    for column, cell in board.items():
        score = ours[column]
        assert score.mean == pytest.approx(cell.mean, abs=1e-12)
        assert (score.spread is None) == (cell.spread is None)
        assert score.spread is None or score.spread == pytest.approx(cell.spread, abs=1e-12)
        assert (score.low, score.high) == pytest.approx(tuple(cell.interval), abs=1e-9)
        assert (score.n, score.kind) == (cell.n, cell.kind)


def test_checking_needs_no_torch(tmp_path: Path) -> None:
    path = forge().write(tmp_path / "a.zip")
    code = (
        "import sys; from harness.cli import main; "
        f"code = main(['submit', 'check', {str(path)!r}]); sys.exit(code or 2 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
