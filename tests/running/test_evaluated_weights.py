"""Several rows of one training: kept epochs, an average and interpolated weights, measured without training again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.api import build_method, load_backbone
from results.record import find_records, read_record
from tests.conftest import TINY_RUN, in_process

ARGUMENTS = (
    "--method", "vificlip", "--protocol", "b2n", "--arch", "mini-clip", "--views", "frames=2", "--repeat", "1",
    "--part", "base", "--workers", "0", "--quiet", "--recipe", "epochs=2", "--recipe", "ranks=1", "--recipe",
    "accumulate=1", "--recipe", "warmup_epochs=0", "--no-report", "--json",
)  # fmt: skip


def run(dataset: Path, runs: Path, *more: str) -> dict[str, Any]:
    """Run the fit and its eval; returns the measurement of the new record, with its signature."""
    before = set(find_records(runs)) if runs.is_dir() else set()
    assert in_process("run", *ARGUMENTS, "--dataset", dataset, "--runs", runs, *more) == 0
    (path,) = set(find_records(runs)) - before
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def runs(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    run(small_dataset, runs, "--keep-epochs", "all")
    return runs


def folder_of(runs: Path, weights_sha256: str) -> Path:
    files = {json.loads(path.read_text())["weights"]["sha256"]: path for path in runs.rglob("fit.json")}
    return files[weights_sha256].parent


@pytest.mark.slow
def test_variants_are_rows_of_one_training(
    small_dataset: Path, runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.running import fit_cell

    (plain,) = [json.loads(path.read_text()) for path in find_records(runs)]
    assert plain["signature"].split("|")[9] == "select:last"
    monkeypatch.setattr(fit_cell, "fit", None)  # nothing is trained from here on
    planned = (*ARGUMENTS[:-2], "--dataset", small_dataset, "--runs", runs, "--recipe", "average=1-2")
    assert in_process("plan", *planned) == 0
    assert "needs no training: its weights follow from vificlip" in capsys.readouterr().out
    mixed = run(small_dataset, runs, "--recipe", "average=1-2", "--recipe", "initial_share=0.25")
    assert "|select:average:1-2+initial:0.25|" in mixed["signature"]
    training = mixed["measurement"]["training"]
    assert (training["recipe"]["average"], training["recipe"]["initial_share"]) == ("1-2", 0.25)
    source = folder_of(runs, plain["measurement"]["training"]["weights_sha256"])
    found = load_file(folder_of(runs, training["weights_sha256"]) / "weights.safetensors")
    before = build_method("vificlip", load_backbone("mini-clip")).trained_state()
    states = [load_file(source / "kept" / f"epoch_{epoch}.safetensors") for epoch in (1, 2)]
    for name, value in found.items():
        wanted = 0.75 * (states[0][name] + states[1][name]) / 2 + 0.25 * before[name]
        torch.testing.assert_close(value, wanted, rtol=0, atol=1e-6)
    rows = {read_record(path).measurement.keys.row for path in find_records(runs)}
    assert len(rows) == 2


@pytest.mark.slow
def test_an_epoch_by_number_is_open_and_marked(
    small_dataset: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.running import fit_cell

    monkeypatch.setattr(fit_cell, "fit", None)
    record = run(small_dataset, runs, "--recipe", "selection=epoch:1")
    assert "|select:epoch:1|" in record["signature"] and "|open|" in record["signature"]
    weights = record["measurement"]["training"]["weights_sha256"]
    source = next(path for path in runs.rglob("kept/epoch_1.safetensors"))
    first, found = load_file(source), load_file(folder_of(runs, weights) / "weights.safetensors")
    assert all(torch.equal(first[name], value) for name, value in found.items())
    from results.measurement_words import open_reasons

    path = next(path for path in find_records(runs) if read_record(path).key == record["key"])
    assert "checkpoint selection epoch:1 (chosen on the evaluation list), prescribed last" in open_reasons(
        read_record(path).measurement
    )


@pytest.mark.slow
def test_a_plain_fit_without_kept_epochs_gives_interpolated_weights(
    small_dataset: Path, finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.running import fit_cell

    monkeypatch.setattr(fit_cell, "fit", None)
    copied = Path(shutil.copytree(finished_runs, tmp_path / "runs"))
    (plain,) = copied.rglob("fit.json")
    last = load_file(plain.with_name("weights.safetensors"))
    arguments = ("run", "--method", "vificlip", *TINY_RUN, "--dataset", small_dataset, "--runs", copied)
    assert in_process(*arguments, "--part", "base", "--recipe", "initial_share=0.5") == 0
    (mixed,) = set(copied.rglob("fit.json")) - {plain}
    before = build_method("vificlip", load_backbone("mini-clip")).trained_state()
    for name, value in load_file(mixed.with_name("weights.safetensors")).items():
        torch.testing.assert_close(value, 0.5 * (last[name] + before[name]), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_damaged_epoch_is_one_error(
    small_dataset: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = Path(shutil.copytree(runs, tmp_path / "runs"))
    file = next(copied.rglob("kept/epoch_2.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    arguments = (*ARGUMENTS, "--dataset", small_dataset, "--runs", copied, "--recipe", "average=2,1,2-2")
    assert in_process("run", *arguments) == 1
    assert "changed after the fit" in capsys.readouterr().err
