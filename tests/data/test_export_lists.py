"""`data export-lists`: drawn lists as `path label`, with the class names of the ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.data.catalog import open_dataset
from harness.data.lists.class_names import read_class_names
from harness.data.lists.own_lists import read_own_list
from harness.machine.settings import load_settings
from tests.conftest import in_process


def test_all_lists_of_a_folder_are_written_and_read_back(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lists"
    assert in_process("data", "export-lists", small_dataset, "--out", out, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    dataset = open_dataset(str(small_dataset), load_settings({}))
    assert [item["name"] for item in report["lists"]] == list(dataset.list_names()) and report["absent"] == []
    for item in report["lists"]:
        labels = read_class_names(out / f"shapes_{item['labels']}.csv")
        assert labels.names == dataset.labels(item["labels"]).names
        read = read_own_list(out / item["file"], labels)
        assert read.rows == dataset.list(item["name"]).rows and len(read) == item["videos"]
        for path, label in read.rows:
            assert (small_dataset / path).is_file() and Path(path).parts[0] == labels.names[label]
    assert len(list(out.iterdir())) == len(report["lists"]) + len(report["labels"])


def test_named_lists_of_an_embedded_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--list", "novel_val", "--list", "few_shot_2", "--out", tmp_path / "out")
    assert in_process("data", "export-lists", "mini_target", *asked) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        "mini_target_all.csv", "mini_target_few_shot_2.txt", "mini_target_novel.csv", "mini_target_novel_val.txt"
    ]  # fmt: skip
    assert "mini_target_few_shot_2.txt: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("mini_target", ("--list", "val", "--list", "vla"), "no list of mini_target named 'vla'"),
        ("ucf101", (), "ucf101 has no list on this machine"),
        ("nowhere/", (), "nowhere"),
    ],
)
def test_absent_lists_are_one_error_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    dataset: str, options: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("HARNESS_LISTS", str(tmp_path / "none"))
    assert in_process("data", "export-lists", dataset, *options, "--out", tmp_path / "out") != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
