"""Custom datasets that would give a wrong number: persons on both sides, equal classes, equal clips, equal subsets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.data.folders.clip import Clip
from harness.data.folders.dataset import FolderDataset
from harness.data.folders.read_clips import read_clips
from harness.data.folders.split import choose_val
from harness.data.lists.class_names import read_class_names
from harness.spec.labels import tokenizer_text


def filled(root: Path, files: dict[str, list[str]]) -> Path:
    for folder, names in files.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / folder / name).write_bytes(f"{folder}/{name}".encode())
    return root


def classes(count: int, clips: int) -> dict[str, list[str]]:
    return {f"class {chr(97 + i)}": [f"{k}.avi" for k in range(clips)] for i in range(count)}


def people(**names: str) -> list[Clip]:
    return [Clip(f"{label}/{p}_{label}.avi", label, "", Path("x")) for label, row in names.items() for p in row]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", ["{p}_{c}", "{c}_{p}", "v_{c}_{p}_c01", "{p}"])
def test_a_person_is_never_on_both_sides(name: str, seed: int) -> None:
    members = {"walk": "abcdefghi", "run": "defgh", "jump": "ahi", "wave": "bi"}
    clips = []
    for label, row in members.items():
        for p in row:
            person = f"g{ord(p) - 96:02d}" if name.startswith("v_") else f"person{p}"
            clips.append(Clip(f"{label}/{name.format(p=person, c=label)}.avi", label, "", Path("x")))
    person_of = {clip.path: p for clip, p in zip(clips, [p for row in members.values() for p in row], strict=True)}
    if name.startswith("v_"):
        person_of = {path: path.split("_g")[1][:2] for path in person_of}
    val = choose_val(clips, seed)
    assert not {person_of[c.path] for c in clips if c.path in val} & {
        person_of[c.path] for c in clips if c.path not in val
    }
    for label in members:
        assert {clip.path in val for clip in clips if clip.label == label} == {True, False}


def test_people_that_tie_all_classes_together_are_refused() -> None:
    with pytest.raises(UserError, match="no choice of whole groups") as caught:
        choose_val(people(a="xy", b="xz", c="yz"), 1)
    assert "train/ and val/" in caught.value.hint


@pytest.mark.parametrize("count", [2, 3])
def test_base_to_novel_needs_two_classes_of_each_half(tmp_path: Path, count: int) -> None:
    dataset = FolderDataset(filled(tmp_path / "d", classes(count, 6)))
    assert not dataset.has_list("base_s1") and dataset.has_list("few_shot_4")
    for name in ("base_s1", "novel_val"):
        with pytest.raises(UserError, match=f"{count - count // 2} base and {count // 2} novel classes of {count}"):
            dataset.list(name)


def test_training_subsets_of_the_same_clips_are_one(tmp_path: Path) -> None:
    dataset = FolderDataset(filled(tmp_path / "d", classes(4, 8)))
    assert [name for name in dataset.list_names() if name.startswith("base_s")] == ["base_s1"]
    with pytest.raises(UserError, match="base_s2 holds the same clips as another training subset"):
        dataset.list("base_s2")
    # One class with more clips is enough for three different subsets.
    more = FolderDataset(filled(tmp_path / "more", {**classes(4, 8), "class d": [f"{k}.avi" for k in range(40)]}))
    assert [name for name in more.list_names() if name.startswith("base_s")] == ["base_s1", "base_s2", "base_s3"]


def test_base_and_novel_classes_can_be_given(tmp_path: Path) -> None:
    root = filled(tmp_path / "d", classes(5, 6))
    (root / "base_classes.txt").write_text("class e\n\nclass a\n")
    dataset = FolderDataset(root)
    assert dataset.labels("base").names == ("class a", "class e")
    assert dataset.labels("novel").names == ("class b", "class c", "class d")
    (root / "novel_classes.txt").write_text("class b\nclass d\n")
    dataset = FolderDataset(root)
    assert dataset.labels("novel").names == ("class b", "class d")
    assert (
        dataset.list("novel_val").name == "novel_val_given" and dataset.list("base_s1").name == "base_s1_4shots_given"
    )
    assert {path.split("/")[0] for path in dataset.list("base_val").paths} == {"class a", "class e"}
    assert len(dataset.labels("all")) == 5 and dataset.list("val").name == "val"


def test_base_and_novel_classes_of_a_table_are_given_beside_it(tmp_path: Path) -> None:
    root = filled(tmp_path, classes(4, 4))
    table = root / "clips.csv"
    table.write_text("".join(f"{c}/{n},{c}\n" for c, names in classes(4, 4).items() for n in names))
    (root / "clips.novel_classes.txt").write_text("class d\nclass a\n")
    assert FolderDataset(table).labels("novel").names == ("class a", "class d")


@pytest.mark.parametrize(
    ("base", "novel", "words"),
    [
        ("class a\nclas b\n", "", "line 2: .*clas b"), ("class a\nclass a\n", "", "line 2: 'class a' is a duplicate"),
        ("class a\nclass b\n", "class c\nclass b\n", "'class b' is also in base_classes.txt"),
        ("class a\n", "", "1 base and 4 novel classes of 5"),
    ],
)  # fmt: skip
def test_given_classes_that_are_no_halves_are_refused(tmp_path: Path, base: str, novel: str, words: str) -> None:
    root = filled(tmp_path / "d", classes(5, 6))
    (root / "base_classes.txt").write_text(base)
    if novel:
        (root / "novel_classes.txt").write_text(novel)
    with pytest.raises(UserError, match=words):
        FolderDataset(root).list("base_s1")


@pytest.mark.parametrize(
    "pair",
    [("Walk", "walk"), ("jump rope", "jump  rope"), ("rock &amp; roll", "rock & roll"), ("caf\u00e9", "cafe\u0301"),
     ("don't run", "don\u2019t run")],
)  # fmt: skip
def test_two_classes_with_one_text_are_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    root = filled(tmp_path / "d", {name: ["a.avi", "b.avi"] for name in (*pair, "other")})
    with pytest.raises(UserError, match="the same text") as caught:
        FolderDataset(root).list("train")
    assert all(repr(name) in caught.value.message for name in pair) and "Rename" in caught.value.hint


def test_classes_that_differ_in_their_tokens_are_two(tmp_path: Path) -> None:
    root = filled(tmp_path / "d", {name: ["a.avi", "b.avi"] for name in ("jump rope", "jump_rope", "jump-rope")})
    assert len(FolderDataset(root).labels("all")) == 3


def _to_itself(root: Path) -> None:
    (root / "walk" / "again").symlink_to(root / "walk")


def _to_the_dataset(root: Path) -> None:
    (root / "walk" / "again").symlink_to(root)


def _to_a_parent_of_the_dataset(root: Path) -> None:
    (root / "walk" / "again").symlink_to(root.parent)


def _of_two(root: Path) -> None:
    (root / "walk" / "other").symlink_to(root / "run")
    (root / "run" / "other").symlink_to(root / "walk")


def _class_is_the_dataset(root: Path) -> None:
    (root / "again").symlink_to(root)


def _dead_loop(root: Path) -> None:
    (root / "walk" / "again").symlink_to("again")


@pytest.mark.parametrize(
    "link", [_to_itself, _to_the_dataset, _to_a_parent_of_the_dataset, _of_two, _class_is_the_dataset, _dead_loop]
)
def test_loops_of_links_are_refused(tmp_path: Path, link: Callable[[Path], None]) -> None:
    root = filled(tmp_path / "outer" / "d", {name: ["a.avi", "b.avi"] for name in ("walk", "run")})
    link(root)
    with pytest.raises(UserError, match="link"):
        read_clips(root)


def test_links_without_a_loop_are_followed(tmp_path: Path) -> None:
    elsewhere = filled(tmp_path / "elsewhere", {"clips": ["a.avi", "b.avi"]})
    root = filled(tmp_path / "d", {"run": ["c.avi"]})
    (root / "walk").symlink_to(elsewhere / "clips")
    assert [clip.path for clip in read_clips(root)] == ["run/c.avi", "walk/a.avi", "walk/b.avi"]


@pytest.mark.parametrize("place", ["file", "class", "folder below", "dataset"])
def test_names_that_are_not_utf8_are_one_error(tmp_path: Path, place: str) -> None:
    odd = os.fsdecode(b"\xff")
    root = filled(
        tmp_path / (odd if place == "dataset" else "d"), {name: ["a.avi", "b.avi"] for name in ("walk", "run")}
    )
    path = {"file": f"walk/{odd}.avi", "class": f"{odd}/a.avi", "folder below": f"walk/{odd}/a.avi"}.get(place)
    if path:
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).touch()
    with pytest.raises(UserError, match=r"\\xff.*not UTF-8") as caught:
        FolderDataset(root).list("train")
    str(caught.value).encode()  # the message itself can be printed


def test_a_text_table_has_a_third_column(tmp_path: Path) -> None:
    filled(tmp_path, {"v": ["a.avi", "b.avi", "c.avi", "d.avi"]})
    table = tmp_path / "t.txt"
    table.write_text("v/a.avi jump rope train\nv/b.avi walk train\nv/c.avi jump rope val\nv/d.avi walk test\n")
    assert [(clip.label, clip.split) for clip in read_clips(table)] == [
        ("jump rope", "train"), ("walk", "train"), ("jump rope", "val"), ("walk", "val")
    ]  # fmt: skip
    table.write_text("v/a.avi jump rope\nv/b.avi walk\n")
    assert [clip.label for clip in read_clips(table)] == ["jump rope", "walk"]
    table.write_text("v/a.avi\tjump rope\ttrain\nv/b.avi\twalk\tval\n")
    assert [(clip.label, clip.split) for clip in read_clips(table)] == [("jump rope", "train"), ("walk", "val")]


def test_a_text_table_with_a_split_on_some_lines_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, {"v": ["a.avi", "b.avi"]})
    (tmp_path / "t.txt").write_text("v/a.avi walk train\nv/b.avi walk\n")
    with pytest.raises(UserError, match="line 2: no split, but line 1 ends in 'train'"):
        read_clips(tmp_path / "t.txt")


def test_two_lines_of_a_class_file_with_one_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Walk\nrun\nwalk\n")
    with pytest.raises(UserError, match=r"names\.txt: the classes 'Walk' and 'walk' are the same text"):
        read_class_names(tmp_path / "names.txt")


def test_the_cleaning_is_that_of_the_tokenizer() -> None:
    from open_clip import tokenizer

    for name in (
        "Walk",
        " a  b\t",
        "rock &amp;amp; roll",
        "cafe\u0301",
        "don\u2019t",
        "\uff37alk",
        "stra\u00dfe",
        "a_b-c",
    ):
        cleaned = tokenizer.whitespace_clean(tokenizer.basic_clean(name)).lower()
        assert tokenizer_text(name) == cleaned, name
