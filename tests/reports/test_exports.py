"""Exports of rows are valid for the packages of the collections that read them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import huggingface_hub
import pytest
import yaml
from huggingface_hub import EvalResultEntry, ModelCard

from harness.commands.report import EXPORTS
from reports.exports.write import CROISSANT, OF_ROWS, write_export
from results.record import RECORD_SUFFIX, read_record
from tests.conftest import in_process
from tests.results.factories import Sample, write_sample

EVIL = "---\n[x](javascript:1) | \u8dd1\u6b65 `a` <b> {{ 7*7 }} \u202e"
FEW = Sample(protocol="few_shot", part="k16", shots=16, videos=24)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ranked rows with repeats and a harmonic mean, and a row with a hostile title."""
    folder = tmp_path_factory.mktemp("exports") / "runs"
    for method, accuracy in (("vificlip", 0.8), ("other", 0.3)):
        for part in ("base", "novel"):
            for index in (1, 2):
                write_sample(folder, Sample(method=method, part=part, accuracy=accuracy, videos=24,
                                            repeat=("train_subset", index), draw=index))  # fmt: skip
    write_sample(folder, FEW, method="evil", title=EVIL, paper=EVIL)
    return folder


@pytest.fixture(scope="module", params=EXPORTS)
def export(request: pytest.FixtureRequest, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The name of a format and its folder."""
    folder = tmp_path_factory.mktemp("export") / request.param
    assert in_process("report", "--export", request.param, "--runs", runs, "--out", folder) == 0
    return request.param, folder


def files(export: tuple[str, Path], name: str, pattern: str) -> list[Path]:
    """The files of a format; skips for another format."""
    if export[0] != name:
        pytest.skip("another format")
    found = sorted(export[1].glob(pattern))
    assert found
    return found


def test_equal_records_give_equal_files(export: tuple[str, Path], runs: Path, tmp_path: Path) -> None:
    written, damaged = write_export(export[0], runs, tmp_path)
    assert not damaged and {path.relative_to(tmp_path) for path in written} == {
        path.relative_to(export[1]) for path in export[1].rglob("*") if path.is_file()
    }
    assert all(path.read_bytes() == (export[1] / path.relative_to(tmp_path)).read_bytes() for path in written)


def test_every_eval_ever_holds_each_cell_each_record_and_each_video(export: tuple[str, Path], runs: Path) -> None:
    aggregates = [json.loads(path.read_text("utf-8")) for path in files(export, "every-eval-ever", "data/*/*/*/*.json")]
    assert len(aggregates) == 3
    records = {record.key: record for record in map(read_record, runs.rglob(f"*{RECORD_SUFFIX}"))}
    for aggregate in aggregates:
        lines = _lines(export[1] / aggregate["detailed_evaluation_results"]["file_path"])
        results = {result["evaluation_result_id"]: result for result in aggregate["evaluation_results"]}
        of_records = {key: result for key, result in results.items() if key in records}
        assert {line["evaluation_result_id"] for line in lines} == set(of_records)
        for key, result in of_records.items():
            right = [line["evaluation"]["score"] for line in lines if line["evaluation_result_id"] == key]
            assert 100 * sum(right) / len(right) == pytest.approx(result["score_details"]["score"])
        assert {line["evaluation_id"] for line in lines} == {aggregate["evaluation_id"]}
    (hm,) = [r for a in aggregates if "vificlip" in a["model_info"]["id"] for r in a["evaluation_results"]
             if r["metric_config"]["metric_id"] == "harmonic_mean"]  # fmt: skip
    assert hm["score_details"]["uncertainty"]["confidence_interval"]["confidence_level"] == 0.95


def test_every_eval_ever_accepts_the_files(export: tuple[str, Path]) -> None:
    core = pytest.importorskip(
        "every_eval_ever.validator.validation_core", reason="every-eval-ever needs Python 3.12"
    )  # fmt: skip
    found = files(export, "every-eval-ever", "data/*/*/*/*.json*")
    paths = {path.relative_to(export[1]).as_posix() for path in found}
    for path in found:
        name = path.relative_to(export[1]).as_posix()
        report = core.validate_file(
            path, repo_path=name, available_files=frozenset(paths), run_semantic_checks=True,
            read_repo_file=lambda other: (export[1] / other).read_text("utf-8"),
        )  # fmt: skip
        assert report.valid, report.errors


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_hugging_face_reads_the_results_and_the_card(export: tuple[str, Path]) -> None:
    for path in files(export, "hugging-face", "*/.eval_results/*.yaml"):
        entries = huggingface_hub.parse_eval_result_entries(yaml.safe_load(path.read_text("utf-8")))
        assert entries and all(isinstance(entry, EvalResultEntry) and 0 <= entry.value <= 100 for entry in entries)
        assert all(entry.date and entry.date.startswith("2026-01-01T") for entry in entries)
        card = ModelCard.load(path.parent.parent / "README.md")
        results = card.data.eval_results
        assert results and [r.metric_value for r in results] == [entry.value for entry in entries]
        assert card.data.pipeline_tag == "video-classification"
        body = card.text
        assert "python -m harness run" in body and "[x](" not in body


def test_croissant_is_valid_and_reads_predictions_and_lists(export: tuple[str, Path]) -> None:
    (path,) = files(export, CROISSANT, "croissant.json")
    described = json.loads(path.read_text("utf-8"))
    names = {record_set["name"] for record_set in described["recordSet"]}
    assert sum(name.startswith("predictions-") for name in names) == 9
    assert sum(name.startswith("list-") for name in names) == 3
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    data = mlcroissant.Dataset(jsonld=path)
    assert not data.metadata.ctx.issues.errors
    for kind, column in (("predictions-", "id1"), ("list-", "class")):
        name = min(name for name in names if name.startswith(kind))
        read = list(data.records(record_set=name))
        with next(export[1].glob(f"*/{name.removeprefix('predictions-')}.csv")).open(encoding="utf-8") as file:
            written = list(csv.DictReader(file))
        assert len(read) == len(written) == 24
        first = read[0][f"{name}/{column}"]
        assert (first.decode() if isinstance(first, bytes) else str(first)) == written[0][column]


def test_a_row_whose_predictions_are_missing_is_named_and_left_out(runs: Path, tmp_path: Path) -> None:
    copied = tmp_path / "runs"
    shutil.copytree(runs, copied)
    for path in copied.rglob("*.predictions.csv.gz"):
        if '"name": "evil"' in next(iter(path.parent.glob(f"*{RECORD_SUFFIX}"))).read_text("utf-8"):
            path.unlink()
    for name in ("every-eval-ever", CROISSANT):
        written, damaged = write_export(name, copied, tmp_path / name)
        assert written and len(damaged) == 1 and "missing" in damaged[0].message
        assert str(tmp_path) not in damaged[0].message


@pytest.mark.parametrize(
    ("options", "message"),
    [((), "--export needs --out"), (("--out", "x", "--table", "b2n"), "found --table"),
     (("--out", "x", "--since", "y"), "found --since")],
)  # fmt: skip
def test_wrong_options_are_one_error(
    options: Iterable[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_process("report", "--export", CROISSANT, *options) == 2
    assert message in capsys.readouterr().err


def test_the_command_offers_every_format() -> None:
    assert set(EXPORTS) == {*OF_ROWS, CROISSANT}
