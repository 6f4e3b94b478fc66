"""`score --import`: predictions of another program become a record that is open, unranked and says what is unknown."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from harness.data.catalog import open_dataset
from harness.machine.settings import load_settings
from reports.export import render_table
from results.measurement_words import division, unknown_fields, unranked_reasons
from results.record import find_records, read_record
from tests.conftest import in_process

LIST = ("--protocol", "b2n", "--dataset", "mini_target", "--part", "novel")


@pytest.fixture(scope="module")
def listed() -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    """The rows of `mini_target/novel_val`, and the class names of their ids."""
    dataset = open_dataset("mini_target", load_settings({}))
    return dataset.list("novel_val").rows, dataset.labels("novel").names


def write(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def imported(file: Path, runs: Path, *more: object, name: str = "theirs") -> int:
    return in_process("score", "--import", file, "--name", name, *LIST, "--runs", runs, *more)


def only_record(runs: Path) -> Path:
    (path,) = find_records(runs)
    return path


@pytest.mark.slow
def test_names_of_classes_become_an_open_unranked_record(listed, tmp_path: Path, capsys) -> None:
    rows, names = listed
    wrong = 3
    lines = [[path, names[label if i >= wrong else (label + 1) % len(names)]] for i, (path, label) in enumerate(rows)]
    file = write(tmp_path / "p.csv", ["video", "prediction"], lines[::-1])
    assert imported(file, tmp_path / "runs") == 0
    path = only_record(tmp_path / "runs")
    record, printed = read_record(path), capsys.readouterr()
    assert record.metrics.top1 == pytest.approx(100 * (1 - wrong / len(rows)))
    m = record.measurement
    assert division(m) == "open" and "unknown: " in unranked_reasons(m)[0]
    assert {"method.code", "model.weights", "training", "evaluation.transform"} <= set(unknown_fields(m))
    assert f"top-1 {record.metrics.top1:.2f}" in printed.out and "top-5 accuracy is not known" in printed.err
    assert in_process("score", path) == 0 and "1 records recomputed, 0 findings" in capsys.readouterr().out
    assert in_process("score", path, "--measures") == 0
    measures = capsys.readouterr().out
    assert "mean class" in measures and "ECE" not in measures
    table = render_table("b2n", tmp_path / "runs", False, "md").text
    assert "theirs" in table and "unknown" in table


@pytest.mark.slow
def test_the_same_predictions_in_other_forms_give_the_same_record(listed, tmp_path: Path, capsys) -> None:
    """Ids or names, all five classes with probabilities, other beginnings of the paths, tabs, gzip, true labels."""
    import gzip

    rows, names = listed
    depth = min(5, len(names))
    orders = [[(label + k) % len(names) for k in range(depth)] for _, label in rows]
    p = [f"{0.5 / (k + 1):.3f}" for k in range(depth)]
    ks = range(1, depth + 1)
    pairs = [(path, label, order) for (path, label), order in zip(rows, orders, strict=True)]
    tables = {
        "names.csv": (
            ["video", "start", *(f"class{k}" for k in ks), *(f"p{k}" for k in ks), "problem"],
            [[f"/data/x/{path}", "0.0", *(names[i] for i in order), *p, ""] for path, _, order in pairs],
        ),
        "ids.csv": (
            ["id", *(f"id{k}" for k in ks), *(f"p{k}" for k in ks), "label"],
            [[Path(path).name, *map(str, order), *p, str(label)] for path, label, order in pairs],
        ),
    }  # fmt: skip
    contents = []
    for name, (header, lines) in tables.items():
        file = write(tmp_path / name, header, lines)
        assert imported(file, tmp_path / name.removesuffix(".csv"), "--json") == 0
        contents.append(json.loads(capsys.readouterr().out)["metrics"])
    assert contents[0] == contents[1] and contents[0]["top1"] == 100.0
    first, second = (only_record(tmp_path / name) for name in ("names", "ids"))
    assert read_record(first).predictions.sha256 == read_record(second).predictions.sha256
    (tmp_path / "z.tsv.gz").write_bytes(gzip.compress((tmp_path / "ids.csv").read_text().replace(",", "\t").encode()))
    assert imported(tmp_path / "z.tsv.gz", tmp_path / "z") == 0
    assert read_record(only_record(tmp_path / "z")).predictions.sha256 == read_record(first).predictions.sha256


@pytest.mark.slow
def test_repeats_over_training_subsets_and_test_splits_are_named(listed, tmp_path: Path, capsys) -> None:
    rows, names = listed
    file = write(tmp_path / "p.csv", ["video", "label"], [[path, names[label]] for path, label in rows])
    for repeat in ("2", "3"):
        assert imported(file, tmp_path / "runs", "--repeat", repeat) == 0
    repeats = [read_record(path).measurement.protocol.repeat for path in find_records(tmp_path / "runs")]
    assert {(r.kind, r.index) for r in repeats} == {("train_subset", 2), ("train_subset", 3)}
    assert imported(file, tmp_path / "runs", "--repeat", "7") == 2
    assert "--repeat is 7, expected one of 1, 2, 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-2], "lacks 2 of the"),
        (lambda lines: [*lines, lines[0]], "repeats the video"),
        (lambda lines: [*lines, ["gone.avi", lines[0][1]]], "the video gone.avi is not in the list"),
        (
            lambda lines: [[lines[0][0], "no such class"], *lines[1:]],
            "the class 'no such class' is not in the label set",
        ),
        (lambda lines: [[lines[0][0], ""], *lines[1:]], "has no prediction"),
        (lambda lines: [[lines[0][0]], *lines[1:]], "has 1 cells, expected 2"),
        (lambda lines: [], "lacks"),
    ],
)
def test_a_wrong_table_is_one_error_and_writes_nothing(listed, tmp_path: Path, capsys, change, message: str) -> None:
    rows, names = listed
    lines = change([[path, names[label]] for path, label in rows])
    file = write(tmp_path / "p.csv", ["video", "prediction"], lines)
    assert imported(file, tmp_path / "runs") == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        (["video", "class1", "p1"], ["1.5"], "expected numbers from 0 to 1"),
        (["video", "class1", "p1"], ["nan"], "expected numbers from 0 to 1"),
        (["video", "class1", "class2", "p1", "p2"], ["{other}", "0.2", "0.7"], "rise, expected the best class first"),
        (["video", "class1", "class2"], ["{same}"], "predicts a class twice"),
        (["video", "prediction", "label"], ["{other}"], "label is"),
        (["clip", "prediction"], [], "has the columns clip, prediction"),
        (["video", "score"], [], "has the columns video, score"),
    ],
)
def test_wrong_cells_are_named(
    listed, tmp_path: Path, capsys, header: list[str], cells: list[str], message: str
) -> None:
    rows, names = listed
    lines = [
        [path, names[label], *(c.format(same=names[label], other=names[label - 1]) for c in cells)]
        for path, label in rows
    ]
    assert imported(write(tmp_path / "p.csv", header, lines), tmp_path / "runs") == 2
    assert message in capsys.readouterr().err and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", "vificlip", *LIST), "--name is vificlip, a method of the harness"),
        (("--name", "a/b", *LIST), "expected letters, digits"),
        (LIST, "--name is missing"),
        (("--name", "x", *LIST[:4]), "--part is missing, expected one of base, novel, joint"),
        (("--name", "x", *LIST[:4], "--part", "nvel"), "--part is 'nvel', expected one of base, novel, joint"),
        (("--name", "x", "--protocol", "zero_shot", *LIST[2:4]), "--repeat is missing, expected one of 1, 2, 3"),
        (("--name", "x", "--protocol", "b3n", *LIST[2:4]), "no protocol named 'b3n'"),
        (("runs", "--name", "x", *LIST), "runs is given together with --import"),
    ],
)
def test_the_list_must_be_named(tmp_path: Path, capsys, options: tuple[str, ...], message: str) -> None:
    file = write(tmp_path / "p.csv", ["video", "prediction"], [])
    assert in_process("score", *options, "--import", file, "--runs", tmp_path / "runs") == 2
    assert message in capsys.readouterr().err and not (tmp_path / "runs").exists()
