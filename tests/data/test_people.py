"""A person on both sides of a stated split is named by `check data`, `plan` and `run`, which go on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.data.check import check_data
from harness.data.folders.dataset import FolderDataset
from harness.data.lists.own_lists import WithOwnLists
from harness.data.shared_people import people_in_both
from tests.conftest import CLASSES, TINY_RUN, in_process

NAMES = {
    "a group of a class": (("circle left/v_c_g07_c01", "circle left/v_c_g07_c02"), "circle left/g07"),
    "an actor in two classes": (("circle left/daria_circle_left", "square left/daria_square_left"), "daria"),
    "a name after the class": (("circle left/circle_left_daria", "square left/square_left_daria"), "daria"),
    "a whole name": (("circle left/daria", "square left/daria"), "daria"),
    "numbers": (("circle left/circle_left_012", "circle left/circle_left_012"), ""),
    "numbered clips": (("circle left/clip7", "circle left/clip7"), ""),
    "two actors": (("circle left/daria_circle_left", "circle left/denis_circle_left"), ""),
}


def tree(root: Path, small_dataset: Path, sides: tuple[str, str]) -> Path:
    """A stated split: four training clips and two evaluation clips of each class, and a clip of a name on each side."""
    for i, (side, first, count) in enumerate((("train", 0, 4), ("val", 4, 2))):
        for label in CLASSES:
            (root / side / label).mkdir(parents=True)
            for number in range(first, first + count):
                shutil.copy(small_dataset / label / f"clip{number}.avi", root / side / label / f"{number}.avi")
        label = sides[i].split("/")[0]
        shutil.copy(small_dataset / label / f"clip{6 + i}.avi", root / side / f"{sides[i]}.avi")
    return root


@pytest.mark.parametrize("case", NAMES)
def test_people_of_a_stated_split(case: str, small_dataset: Path, tmp_path: Path) -> None:
    sides, person = NAMES[case]
    dataset = FolderDataset(tree(tmp_path / "d", small_dataset, sides))
    report = check_data(dataset)
    shared = people_in_both(dataset, dataset.list("train"), dataset.list("val"))
    assert shared == ({person: (f"train/{sides[0]}.avi", f"val/{sides[1]}.avi")} if person else {})
    if not person:
        assert report.people == [] and "people: " not in report.text()
        return
    (text,) = report.people
    assert text.startswith(
        f"1 person or source video is on both sides of the split of d: {person} (train/{sides[0]}.avi"
    )
    assert f"people: {text}" in report.text() and report.as_dict()["people"] == [text] and report.complete
    lists = WithOwnLists(dataset, {"mine": dataset.list("train")})
    assert people_in_both(lists, lists.list("mine"), lists.list("val")) == shared


def test_a_table_states_a_split_too(small_dataset: Path, tmp_path: Path) -> None:
    sides, person = NAMES["an actor in two classes"]
    root = tree(tmp_path / "d", small_dataset, sides)
    rows = [
        f"{p.relative_to(root)},{p.parent.name},{p.relative_to(root).parts[0]}" for p in sorted(root.rglob("*.avi"))
    ]
    (root / "list.csv").write_text("path,class,split\n" + "\n".join(rows) + "\n")
    (text,) = check_data(FolderDataset(root / "list.csv")).people
    assert f": {person} (train/" in text


def test_a_drawn_split_has_nobody_on_both_sides(small_dataset: Path, tmp_path: Path) -> None:
    root = tmp_path / "d"
    for label in CLASSES:
        (root / label).mkdir(parents=True)
        for number, name in enumerate(("daria", "denis", "ido", "eli")):
            shutil.copy(small_dataset / label / f"clip{number}.avi", root / label / f"{name}.avi")
    assert check_data(FolderDataset(root)).people == []


@pytest.mark.slow
def test_plan_and_run_warn_once_and_go_on(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tree(tmp_path / "d", small_dataset, NAMES["an actor in two classes"][0])
    folders = ("--dataset", root, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    words = "warning: 1 person or source video is on both sides of the split of d: daria (train/circle left/daria_"
    options = tuple(
        "supervised" if part == "b2n" else part for part in TINY_RUN if part not in ("--json", "--no-report")
    )
    assert in_process("plan", "--method", "vificlip", "vanilla_clip", *options, *folders) == 0
    assert capsys.readouterr().err.count(words) == 1
    assert in_process("plan", "--method", "vanilla_clip", *options, *folders) == 0
    assert "warning: " not in capsys.readouterr().err, "an untrained method has seen nobody"
    assert in_process("run", "--method", "vificlip", *options, "--no-report", *folders) == 0
    assert capsys.readouterr().err.count(words) == 1
    assert in_process("check", "data", root, "--cache", tmp_path / "cache") == 0
    assert "people: 1 person" in capsys.readouterr().out
