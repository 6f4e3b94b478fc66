from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.base.errors import UserError
from harness.data.folders.clip import Clip
from harness.data.folders.dataset import FolderDataset
from harness.data.folders.split import choose_val, group_of


def fill(root: Path, files: dict[str, list[str]]) -> Path:
    for folder, names in files.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / folder / name).touch()
    return root


def numbered(classes, count):
    return {name: [f"clip{i:02d}.avi" for i in range(count)] for name in classes}


def test_weizmann_is_split_by_actor(shared):
    dataset = FolderDataset(shared / "videos" / "weizmann")
    train, val = dataset.list("train"), dataset.list("val")
    assert (len(train), len(val), len(dataset.labels("all"))) == (60, 20, 10)
    actors = [{path.split("/")[1].split("_")[0] for path in rows.paths} for rows in (train, val)]
    assert len(actors[1]) == 2 and not actors[0] & actors[1]
    assert all(dataset.locate(path).is_file() for path in (*train.paths, *val.paths))
    assert dataset.list("base_s1").name == "base_s1_6shots"
    assert dataset.has_list("few_shot_4") and not dataset.has_list("few_shot_8")
    assert {train.origin, val.origin} == {"own"}


def test_lists_are_deterministic_and_the_seed_shows(tmp_path):
    fill(tmp_path, numbered(["b", "a", "d", "c"], 30))
    first, second = FolderDataset(tmp_path), FolderDataset(tmp_path)
    seed_2 = FolderDataset(tmp_path, seed=2)
    assert first.list("val") == second.list("val")
    assert first.list("val").rows != seed_2.list("val").rows
    assert seed_2.list("val").name == "val_seed2"
    assert first.labels("all").names == ("a", "b", "c", "d")
    assert first.labels("base").names == ("c", "d") and first.labels("novel").names == ("a", "b")
    assert len(first.list("base_s2")) == 32 and first.list("base_s2").name == "base_s2"
    assert first.list_names()[-1] == "few_shot_16"


def test_stated_split_folders_are_taken_unchanged(tmp_path):
    fill(tmp_path, {f"train/{k}": v for k, v in numbered(["x", "y"], 5).items()})
    fill(tmp_path, {f"test/{k}": v for k, v in numbered(["x", "y"], 2).items()})
    dataset = FolderDataset(tmp_path)
    assert len(dataset.list("train")) == 10 and len(dataset.list("val")) == 4
    assert all(path.startswith("test/") for path in dataset.list("val").paths)


@pytest.mark.parametrize(("folder", "name", "other"), [("train", "train", "val"), ("test", "val", "train")])
def test_one_stated_side_is_one_list(tmp_path, folder, name, other):
    fill(tmp_path, {f"{folder}/{k}": v for k, v in numbered(["x", "y"], 1).items()})
    dataset = FolderDataset(tmp_path)
    assert dataset.list_names() == (name,) and len(dataset.list(name)) == 2
    assert not dataset.has_list("base_s1") and dataset.labels("all").names == ("x", "y")
    with pytest.raises(UserError, match=f"clips only, so the list '{other}' does not exist"):
        dataset.list(other)


def test_a_table_of_one_side_is_one_list(tmp_path):
    fill(tmp_path, {"v": ["a.avi", "b.avi"]})
    table = tmp_path / "t.csv"
    table.write_text("v/a.avi,x,val\nv/b.avi,y,val\n")
    assert FolderDataset(table).list_names() == ("val",)


def test_clips_deeper_in_a_class_folder_and_odd_names_count(tmp_path):
    fill(tmp_path, {"walk/day 1": ["-a #1.MP4", "b.avi"], "walk/day 2": ["c.mkv"], "run": ["d.webm", "e.mov"]})
    fill(tmp_path, {"walk": ["notes.txt", ".hidden.avi"], ".git": ["x.avi"]})
    dataset = FolderDataset(tmp_path)
    rows = {*dataset.list("train").paths, *dataset.list("val").paths}
    assert rows == {"walk/day 1/-a #1.MP4", "walk/day 1/b.avi", "walk/day 2/c.mkv", "run/d.webm", "run/e.mov"}


def test_a_table_of_paths_and_classes_is_a_dataset(tmp_path):
    fill(tmp_path, {"v": ["a 1.avi", "b.avi", "c.avi", "d.avi"]})
    table = tmp_path / "mine.csv"
    table.write_text('path,class\n"v/a 1.avi","jump, high"\nv/b.avi,run\nv/c.avi,"jump, high"\nv/d.avi,run\n')
    dataset = FolderDataset(table)
    assert dataset.name == "mine"
    assert dataset.labels("all").names == ("jump, high", "run")
    assert {*dataset.list("train").paths, *dataset.list("val").paths} == {f"v/{n}.avi" for n in ("a 1", "b", "c", "d")}
    text = tmp_path / "mine.txt"
    text.write_text("v/b.avi high jump\nv/c.avi run\nv/d.avi run\nv/a\n")
    with pytest.raises(UserError, match="line 4"):
        FolderDataset(text).list("train")


def test_a_tables_split_column_is_the_split(tmp_path):
    fill(tmp_path, {"v": ["a.avi", "b.avi", "c.avi", "d.avi"]})
    table = tmp_path / "t.csv"
    table.write_text("v/a.avi,x,train\nv/b.avi,x,test\nv/c.avi,y,test\nv/d.avi,y,train\n")
    dataset = FolderDataset(table)
    assert dataset.list("train").rows == (("v/a.avi", 0), ("v/d.avi", 1))
    assert dataset.list("val").rows == (("v/b.avi", 0), ("v/c.avi", 1))


def test_absolute_paths_leave_no_trace_of_the_machine(tmp_path):
    fill(tmp_path, numbered(["x", "y"], 2))
    table = tmp_path / "t.csv"
    table.write_text("".join(f"{tmp_path}/{c}/clip0{i}.avi,{c}\n" for c in "xy" for i in (0, 1)))
    dataset = FolderDataset(table)
    assert set(dataset.list("train").paths) <= {"x/clip00.avi", "x/clip01.avi", "y/clip00.avi", "y/clip01.avi"}
    assert dataset.locate(dataset.list("val").paths[0]).is_file()


BAD = {
    "no folder": ({}, "holds no folder"),
    "loose videos": ({".": ["a.avi", "b.avi"]}, "2 loose videos"),
    "one class": (numbered(["walk"], 4), "one class, 'walk'"),
    "no videos": ({"walk": ["a.txt"], "run": ["b.txt"]}, "holds no videos, but 1 other files"),
    "empty class folder": ({**numbered(["walk"], 4), "run": []}, "holds no videos, it is empty"),
    "one clip a class": (numbered(["walk", "run"], 1), "Found a single clip in classes 'run', 'walk'"),
    "two evaluation folders": (
        {f"{side}/{c}": ["1.avi"] for side in ("train", "val", "test") for c in "ab"},
        "more than one evaluation folder",
    ),
    "class without evaluation clip": (
        {"train/a": ["1.avi"], "train/b": ["2.avi"], "val/a": ["3.avi"]},
        "holds no evaluation clip of class 'b'",
    ),
    "one source group": (
        {"A": ["v_A_g01_c01.avi", "v_A_g01_c02.avi"], "B": ["v_B_g01_c01.avi", "v_B_g02_c01.avi"]},
        "Found a single source group in class 'A'",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_folder_that_is_not_a_dataset_is_one_clear_error(tmp_path, kind):
    files, words = BAD[kind]
    fill(tmp_path, files)
    with pytest.raises(UserError) as caught:
        FolderDataset(tmp_path).list("train")
    assert words in caught.value.message and caught.value.hint


BAD_TABLES = {
    "missing file": ("v/a.avi,x\nv/gone.avi,y\n", "line 2: the file "),
    "clip twice": ("v/a.avi,x\nv/a.avi,y\n", "line 2: 'v/a.avi' is a duplicate of line 1"),
    "one column": ("v/a.avi\n", "line 1"),
    "uneven": ("v/a.avi,x\nv/b.avi,y,train\n", "line 2"),
    "unknown split": ("v/a.avi,x,dev\n", "split 'dev'"),
    "blank class": ("v/a.avi,\n", "line 1"),
    "no rows": ("path,class\n", "no rows"),
    "open quote": ('v/a.avi,"x\n', "cannot be read"),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_a_damaged_table_is_one_error_with_its_line(tmp_path, kind):
    text, words = BAD_TABLES[kind]
    fill(tmp_path, {"v": ["a.avi", "b.avi"]})
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(UserError) as caught:
        FolderDataset(table).list("train")
    assert words in caught.value.message and "t.csv" in caught.value.message


def test_groups_come_from_names():
    def group(path, label):
        return group_of(Clip(path, label, "", Path(path)))

    assert group("Biking/v_Biking_g07_c02.avi", "Biking") == "g07"
    assert group("walk/daria_walk.avi", "walk") == "daria"
    assert group("x/ice_skating_012.avi", "Ice Skating") == "012"
    assert group("x/whatever.avi", "walk") == "whatever"


group_sizes = st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=8), min_size=2, max_size=6)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(group_sizes, st.integers(0, 99))
def test_the_split_never_cuts_a_group_and_leaves_both_sides_filled(classes, seed):
    clips = [
        Clip(f"c{i}/v_c{i}_g{g:02d}_c{k:02d}.avi", f"c{i}", "", Path("x"))
        for i, sizes in enumerate(classes)
        for g, size in enumerate(sizes, 1)
        for k in range(size)
    ]
    val = choose_val(clips, seed)
    sides = defaultdict(set)
    per_class = defaultdict(set)
    for clip in clips:
        sides[clip.label, group_of(clip)].add(clip.path in val)
        per_class[clip.label].add(clip.path in val)
    assert all(len(side) == 1 for side in sides.values())
    assert all(side == {True, False} for side in per_class.values())
    assert val == choose_val(clips[::-1], seed)


@given(st.integers(2, 200), st.integers(0, 5))
def test_clips_without_groups_are_split_seventy_to_thirty(count, seed):
    clips = [Clip(f"a/{i}.avi", "a", "", Path("x")) for i in range(count)]
    assert len(choose_val(clips, seed)) == max(1, round(0.3 * count))
