"""`score --measures --per-class --confusion`: measures of records, on finished runs and on synthetic records."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from results.measures import scored
from results.predictions import read_predictions
from results.record import find_records, read_record
from tests.conftest import in_process
from tests.results.factories import write_sample
from tests.results.test_score import change_predictions, change_record


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.slow
def test_measures_of_a_finished_run(finished_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("score", finished_runs, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    records = {path: read_record(path) for path in find_records(finished_runs)}
    assert set(data["measures"]) == {str(path) for path in records}
    tops = {}
    for path, record in records.items():
        values = data["measures"][str(path)]
        frame = read_predictions(path.with_name(record.predictions.file))
        part = record.measurement.protocol.part
        tops[part] = frame
        of_true = [float(row[f"p{[row[f'id{k}'] for k in range(1, 6)].index(row['label']) + 1}"])
                   for _, row in frame.iterrows()]  # fmt: skip
        assert values["mean_class"] == record.metrics.mean_class and values["outside_top5"] == 0
        assert values["nll"]["low"] == values["nll"]["high"] == pytest.approx(-np.log(of_true).mean())
        assert 0 < values["brier"]["low"] < 2 and 0 <= values["ece"] <= 100
        assert (values["auroc_unseen"] is not None) == (part == "joint"), "the joint list has base and novel classes"
    (pair,) = data["base_novel"]
    base, novel = tops["base"]["p1"].to_numpy(), tops["novel"]["p1"].to_numpy()
    wins = (base[:, None] > novel).mean() + 0.5 * (base[:, None] == novel).mean()
    assert pair["auroc"] == pytest.approx(wins)
    assert "base_val" in pair["base"] and "novel_val" in pair["novel"]


def test_the_lines_of_measures(finished_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("score", finished_runs, "--measures") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and lines[-1] == "3 records recomputed, 0 findings"
    assert sum("AUROC seen/unseen" in line for line in lines) == sum("AUROC base/novel" in line for line in lines) == 1


def test_per_class_accuracies_on_stdout_are_pure_csv(
    finished_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert in_process("score", finished_runs, "--per-class") == 0
    out, err = capsys.readouterr()
    assert err == "3 records recomputed, 0 findings\n"
    rows = rows_of(out)
    assert list(rows[0]) == ["record", "id", "class", "videos", "correct", "accuracy"] and len(rows) == 2 + 2 + 4
    for path in find_records(finished_runs):
        values = [float(row["accuracy"]) for row in rows if row["record"] == str(path)]
        assert np.mean(values) == pytest.approx(read_record(path).metrics.mean_class)


@pytest.mark.slow
def test_tables_in_files_and_folders(
    finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    classes, matrices = tmp_path / "out" / "classes.csv", tmp_path / "matrices"
    assert in_process("score", finished_runs, "--per-class", classes, "--confusion", matrices) == 0
    assert capsys.readouterr().out == "3 records recomputed, 0 findings\n"
    assert len(rows_of(classes.read_text(encoding="utf-8"))) == 8
    files = sorted(path.name for path in matrices.rglob("*"))
    assert len(files) == 3 and all(name.endswith(".confusion.csv") for name in files)
    joint = next(path for path in matrices.rglob("*-joint-*"))
    (header, *lines) = csv.reader(io.StringIO(joint.read_text(encoding="utf-8")))
    assert header[0] == "true class" and header[1:-1] == [line[0] for line in lines] and header[-1] == "no prediction"
    assert sum(int(n) for line in lines for n in line[1:]) == 8
    assert in_process("score", finished_runs, "--per-class", tmp_path / "per_class") == 0
    assert len(list((tmp_path / "per_class").rglob("*.per_class.csv"))) == 3


def test_records_of_one_name_in_two_folders_keep_their_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_sample(tmp_path / "runs" / name)
    assert in_process("score", tmp_path / "runs", "--confusion", tmp_path / "m") == 0
    assert len({path.relative_to(tmp_path / "m").parts[0] for path in (tmp_path / "m").rglob("*.csv")}) == 2


def test_json_holds_requested_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = write_sample(tmp_path)
    assert in_process("score", record, "--json", "--per-class", "--confusion") == 0
    data = json.loads(capsys.readouterr().out)
    matrix = np.array(data["confusion"][str(record)])
    assert matrix.shape == (12, 13) and matrix.sum() == 120
    per_class = data["per_class"][str(record)]
    assert [c["correct"] for c in per_class] == matrix.diagonal().tolist()
    assert data["measures"][str(record)]["nll"]["high"] is None, "twelve classes: some are outside the top five"
    assert data["measures"][str(record)]["brier"]["low"] < data["measures"][str(record)]["brier"]["high"]


@pytest.mark.slow
def test_destinations_that_cannot_hold_a_table_are_refused_before_writing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for method in ("a", "b"):
        write_sample(tmp_path / "runs", method=method)
    runs, file = tmp_path / "runs", tmp_path / "file"
    file.write_text("", encoding="utf-8")
    cases = (
        (("--confusion",), "--confusion writes one matrix to stdout, expected one record, found 2."),
        (("--confusion", tmp_path / "m.csv"), "m.csv, expected one record, found 2."),
        (("--confusion", "--per-class"), "--per-class and --confusion both print to stdout."),
        (("--per-class", tmp_path / "c.csv", "--confusion", file), f"--confusion names {file}, expected a folder"),
    )
    for options, message in cases:
        assert in_process("score", runs, *options) == 2
        assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "file"}


@pytest.mark.slow
def test_records_with_findings_have_no_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = write_sample(tmp_path, method="good"), write_sample(tmp_path, method="bad")
    change_predictions(bad, lambda f: f.assign(id5=99), seal=True)
    assert in_process("score", tmp_path, "--measures") == 1
    out, err = capsys.readouterr()
    assert f"{bad}: no measures, because the record has findings" in err and f"{good}: mean class" in out
    assert f"{bad}: mean class" not in out
    assert in_process("score", bad, "--measures", "--per-class", tmp_path / "c.csv") == 1
    assert in_process("score", bad, "--confusion") == 1


def test_undecodable_videos_are_wrong_in_the_matrix_and_absent_from_probabilities(tmp_path: Path) -> None:
    record = write_sample(tmp_path)
    names = [f"id{k}" for k in range(1, 6)], [f"p{k}" for k in range(1, 6)]

    def without_prediction(frame):  # type: ignore[no-untyped-def]
        frame.loc[9, names[0]], frame.loc[9, names[1]] = -1, 0.0
        return frame

    change_predictions(record, without_prediction, seal=True)
    item = scored(record)
    assert item.matrix[:, -1].sum() == 1 and item.measures.predicted == 119


def test_seen_classes_of_the_record_divide_the_videos(tmp_path: Path) -> None:
    record = write_sample(tmp_path)
    assert scored(record).measures.auroc_unseen is None
    change_record(record, lambda v: v["overlap"].update(seen_classes=["class 3", "class 5"]))
    frame = read_predictions(record.with_name(read_record(record).predictions.file))
    seen = frame["label"].isin([3, 5])
    above, below = frame["p1"][seen].to_numpy(), frame["p1"][~seen].to_numpy()
    expected = (above[:, None] > below).mean() + 0.5 * (above[:, None] == below).mean()
    assert scored(record).measures.auroc_unseen == pytest.approx(expected)
