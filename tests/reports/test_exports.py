"""Exports of rows are valid for the packages of the collections that read them."""

from __future__ import annotations

import csv
import json
import shutil
import tomllib
from collections.abc import Iterable
from pathlib import Path

import huggingface_hub
import pytest
import yaml
from huggingface_hub import EvalResultEntry, ModelCard

import harness
from harness.commands.report import EXPORTS
from reports.citation import bibtex, code_url
from reports.exports.write import CROISSANT, OF_ROWS, write_export
from results.record import RECORD_SUFFIX, read_record
from tests.conftest import ROOT, in_process
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


@pytest.fixture(scope="module")
def exports(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each format."""
    folder = tmp_path_factory.mktemp("export")
    for name in EXPORTS:
        assert in_process("report", "--export", name, "--runs", runs, "--out", folder / name) == 0
    return {name: folder / name for name in EXPORTS}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTS)
def test_equal_records_give_equal_files(exports: dict[str, Path], runs: Path, tmp_path: Path, name: str) -> None:
    written, damaged = write_export(name, runs, tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in written}
    before = {path.relative_to(exports[name]): path.read_bytes() for path in exports[name].rglob("*") if path.is_file()}
    assert not damaged and made == before


@pytest.mark.slow
def test_every_eval_ever_holds_each_cell_each_record_and_each_video(exports: dict[str, Path], runs: Path) -> None:
    found = exports["every-eval-ever"].glob("data/*/*/*/*.json")
    aggregates = [json.loads(path.read_text("utf-8")) for path in found]
    assert len(aggregates) == 3
    records = {record.key: record for record in map(read_record, runs.rglob(f"*{RECORD_SUFFIX}"))}
    for aggregate in aggregates:
        lines = _lines(exports["every-eval-ever"] / aggregate["detailed_evaluation_results"]["file_path"])
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


def test_every_eval_ever_accepts_the_files(exports: dict[str, Path]) -> None:
    core = pytest.importorskip(
        "every_eval_ever.validator.validation_core", reason="every-eval-ever needs Python 3.12"
    )  # fmt: skip
    root = exports["every-eval-ever"]
    found = sorted(root.glob("data/*/*/*/*.json*"))
    paths = {path.relative_to(root).as_posix() for path in found}
    for path in found:
        name = path.relative_to(root).as_posix()
        report = core.validate_file(
            path, repo_path=name, available_files=frozenset(paths), run_semantic_checks=True,
            read_repo_file=lambda other: (root / other).read_text("utf-8"),
        )  # fmt: skip
        assert report.valid, report.errors


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_hugging_face_reads_the_results_and_the_card(exports: dict[str, Path]) -> None:
    found = sorted(exports["hugging-face"].glob("*/.eval_results/*.yaml"))
    assert len(found) == 3
    for path in found:
        entries = huggingface_hub.parse_eval_result_entries(yaml.safe_load(path.read_text("utf-8")))
        assert entries and all(isinstance(entry, EvalResultEntry) and 0 <= entry.value <= 100 for entry in entries)
        assert all(entry.date and entry.date.startswith("2026-01-01T") for entry in entries)
        of_hm = [entry.notes for entry in entries if entry.task_id and entry.task_id.endswith("hm")]
        assert all(notes and notes.startswith("harmonic mean of base and novel in percent") for notes in of_hm)
        card = ModelCard.load(path.parent.parent / "README.md")
        results = card.data.eval_results
        assert results and [r.metric_value for r in results] == [entry.value for entry in entries]
        assert card.data.pipeline_tag == "video-classification"
        body = card.text
        assert "python -m harness run" in body and "[x](" not in body


@pytest.mark.slow
def test_croissant_is_valid_and_reads_predictions_and_lists(exports: dict[str, Path]) -> None:
    path = exports[CROISSANT] / "croissant.json"
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
        with next(exports[CROISSANT].glob(f"*/{name.removeprefix('predictions-')}.csv")).open(encoding="utf-8") as file:
            written = list(csv.DictReader(file))
        assert len(read) == len(written) == 24
        first = read[0][f"{name}/{column}"]
        assert (first.decode() if isinstance(first, bytes) else str(first)) == written[0][column]


@pytest.mark.slow
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


def test_the_citation_file_states_this_version_and_license() -> None:
    """The fields that the Citation File Format 1.2.0 requires, and those that must follow the package."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software" and citation["message"]
    assert citation["title"] == "clip-video-harness" and citation["version"] == harness.__version__
    assert all(author.get("name") or author.get("family-names") for author in citation["authors"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert citation["license"] == project["license"]


@pytest.mark.parametrize(
    ("paper", "expected"),
    [
        ("Rasheed et al., Tuned CLIP Models, Are Learners, CVPR 2023",
         "@inproceedings{vifi-clip,\n  author = {Rasheed and others},\n  title = {{Tuned CLIP Models, Are Learners}},\n"
         "  booktitle = {CVPR},\n  year = {2023},\n}"),
        ("Wang et al., ActionCLIP: A & B, arXiv 2109.08472",
         "@misc{vifi-clip,\n  author = {Wang and others},\n  title = {{ActionCLIP: A \\& B}},\n  year = {2021},\n"
         "  eprint = {2109.08472},\n  archiveprefix = {arXiv},\n}"),
        ("my} thesis {", "@misc{vifi-clip,\n  title = {{my\\} thesis \\{}},\n}"),
        (" ", ""),
    ],
)  # fmt: skip
def test_a_card_gives_a_bibtex_entry(paper: str, expected: str) -> None:
    assert bibtex("vifi_clip", paper) == expected


@pytest.mark.parametrize(
    ("source", "url"),
    [("muzairkhattak/ViFi-CLIP, trainers/vificlip.py", "https://github.com/muzairkhattak/ViFi-CLIP"),
     ("naver-ai/tc-clip (non-commercial)", "https://github.com/naver-ai/tc-clip"), ("own", ""),
     ("the paper's equation for V; no code is followed", ""), ("javascript:alert(1)//x/y", "")],
)  # fmt: skip
def test_a_card_links_to_its_code(source: str, url: str) -> None:
    assert code_url(source) == url
