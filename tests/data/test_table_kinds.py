"""Kinds of tables and folders that users have: read with the same clips and classes, or refused in one sentence."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.data.catalog import open_dataset
from harness.data.folders.clip import GivenFiles
from harness.data.folders.read_clips import read_clips, read_source
from harness.machine.settings import load_settings

CLIPS = {"v/a 1.avi": "walk", "v/b.mp4": "jump rope", "v/c.avi": "walk", "v/d.webm": "jump rope"}
LABELS = ("jump rope", "walk")
IDS = {path: LABELS.index(name) for path, name in CLIPS.items()}
NFD = unicodedata.normalize("NFD", "caf\u00e9")


def files(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def rows(form: str, values: dict[str, str] | dict[str, int] = CLIPS, header: str = "") -> str:
    lines = [form.format(path=path, name=path.rpartition("/")[2], label=label, i=i)
             for i, (path, label) in enumerate(values.items())]  # fmt: skip
    return "\n".join([*([header] if header else []), *lines]) + "\n"


NAMED = {
    "comma": ("t.csv", rows("{path},{label}")),
    "header": ("t.csv", rows("{path},{label}", header="path,class")),
    "header in capitals": ("t.csv", rows("{path},{label}", header="Path,Class")),
    "other header": ("t.csv", rows("{path},{label}", header="video_path,label")),
    "class before path": ("t.csv", rows("{label},{path}", header="label,filename")),
    "class before path without header": ("t.csv", rows("{label},{path}")),
    "semicolon": ("t.csv", rows("{path};{label}")),
    "semicolon with header": ("t.csv", rows("{path};{label}", header="path;class")),
    "semicolon and commas": ("t.csv", rows("{path};{label};1,5;2,5", header="path;class;start;end")),
    "tab": ("t.csv", rows("{path}\t{label}")),
    "bar": ("t.txt", rows("{path}|{label}", header="path|class")),
    "commas in .txt": ("t.txt", rows("{path},{label}")),
    "tsv": ("t.tsv", rows("{path}\t{label}", header="file\taction")),
    "pandas index": ("t.csv", rows("{i},{path},{label}", header=",path,class")),
    "pandas index as read again": ("t.csv", rows("{i},{path},{label}", header="Unnamed: 0,path,class")),
    "pandas index without header": ("t.csv", rows("{i},{path},{label}")),
    "further columns": ("t.csv", rows("{path},320x240,{label},7.5", header="video,size,class,seconds")),
    "id and name": ("t.csv", rows("{i},{path},{label}", header="label,path,class_name")),
    "quoted": ("t.csv", rows('"{path}","{label}"', header='"path","class"')),
    "blanks": ("t.txt", rows("{path} {label}")),
    "blanks with header": ("t.txt", rows("{path} {label}", header="path class")),
    "CRLF and byte-order mark": ("t.csv", "\ufeff" + rows("{path},{label}", header="path,class").replace("\n", "\r\n")),
    "blank lines": ("t.csv", "\n" + rows("{path},{label}\n")),
    "old Macintosh": ("t.csv", rows("{path},{label}", header="path,class").replace("\n", "\r")),
    "Excel's first line": ("t.csv", "sep=;\n" + rows("{path};{label}", header="path;class")),
    "header with blanks": ("t.csv", rows("{path},{label}", header="Video Path,Class Name")),
    "capital suffix": ("T.CSV", rows("{path},{label}")),
}
BY_ID = {
    "path label": ("t.txt", rows("{path} {label}", IDS)),
    "path label in .csv": ("t.csv", rows("{path} {label}", IDS)),
    "path,id": ("t.csv", rows("{path},{label}", IDS)),
    "path;id": ("t.csv", rows("{path};{label}", IDS)),
    "header of an id": ("t.csv", rows("{path},{label}", IDS, header="path,label_id")),
    "path label with tabs": ("t.txt", rows("{path}\t{label}", IDS)),
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_table_with_class_names(tmp_path: Path, kind: str) -> None:
    name, text = NAMED[kind]
    table = files(tmp_path, *CLIPS) / name
    table.write_text(text, encoding="utf-8", newline="")
    assert {clip.path: clip.label for clip in read_clips(table)} == CLIPS
    assert all(clip.file.is_file() and not clip.split for clip in read_clips(table))


@pytest.mark.parametrize("kind", BY_ID)
def test_a_table_with_ids_takes_names_from_a_file(tmp_path: Path, kind: str) -> None:
    name, text = BY_ID[kind]
    table = files(tmp_path, *CLIPS) / name
    table.write_text(text)
    with pytest.raises(UserError, match=r"the classes are numbers \(0, 1, \.\.\.\), expected class names") as caught:
        read_clips(table)
    assert "--data-labels t=FILE, or the file t.labels.csv beside the table" in caught.value.hint
    (tmp_path / "names.json").write_text(json.dumps(dict(enumerate(LABELS))))
    source = read_source(table, GivenFiles(labels=tmp_path / "names.json"))
    assert {clip.path: clip.label for clip in source.clips} == CLIPS
    assert source.labels is not None and source.labels.names == LABELS
    (tmp_path / "t.labels.txt").write_text("\n".join(LABELS))
    assert {clip.path: clip.label for clip in read_clips(table)} == CLIPS


def test_a_list_of_frame_folders_has_the_number_of_frames(tmp_path: Path) -> None:
    files(tmp_path, *(f"{clip}/img_{i:05d}.jpg" for clip in ("a 1", "b", "c", "d") for i in (1, 2)))
    (tmp_path / "t.txt").write_text("a 1 2 0\nb 2 1\nc 2 0\nd 2 1\n")
    (tmp_path / "t.labels.txt").write_text("walk\nrun\n")
    clips = read_clips(tmp_path / "t.txt")
    assert [(clip.path, clip.label) for clip in clips] == [("a 1", "walk"), ("b", "run"), ("c", "walk"), ("d", "run")]


@pytest.mark.parametrize("header", ["path,class,split", "video,subset,label", "split,file,action,group"])
def test_columns_are_found_by_name_in_any_order(tmp_path: Path, header: str) -> None:
    sides = dict(zip(CLIPS, ("train", "valid", "Test", "training"), strict=True))
    table = files(tmp_path, *CLIPS) / "t.csv"
    lines = [header]
    for path, label in CLIPS.items():
        cells = {"split": sides[path], "subset": sides[path], "group": "g", "path": path, "video": path, "file": path}
        lines.append(",".join(cells.get(name, label) for name in header.split(",")))
    table.write_text("\n".join(lines))
    clips = {clip.path: clip for clip in read_clips(table)}
    assert {path: clip.label for path, clip in clips.items()} == CLIPS
    assert [clips[path].split for path in CLIPS] == ["train", "val", "val", "train"]
    assert {clip.group for clip in clips.values()} == {"g" if "group" in header else ""}


def test_paths_of_windows_are_found(tmp_path: Path) -> None:
    files(tmp_path, "v/a.avi", "v/b.avi", "v\\c.avi")  # on Linux, a backslash may be part of a name
    (tmp_path / "t.csv").write_text("v\\a.avi,walk\nC:\\data\\v\\b.avi,run\nv\\c.avi,run\n")
    clips = {clip.path: clip.file.name for clip in read_source(tmp_path / "t.csv", GivenFiles(videos=tmp_path)).clips}
    assert clips == {"v/a.avi": "a.avi", "v/b.avi": "b.avi", "v\\c.avi": "v\\c.avi"}


def test_classes_one_level_deeper_are_named(tmp_path: Path) -> None:
    files(tmp_path, "videos/walk/1.avi", "videos/run/2.avi")
    with pytest.raises(UserError, match="one class, 'videos'") as caught:
        open_dataset(str(tmp_path), load_settings({}, {})).list("train")
    assert caught.value.hint == f"The classes may be the 2 folders in {tmp_path / 'videos'}: give this folder."


def test_columns_that_are_not_read_are_named(tmp_path: Path) -> None:
    table = files(tmp_path, *CLIPS) / "t.csv"
    table.write_text(rows("{path},320x240,{label},7.5", header="video,size,class,seconds"))
    assert read_source(table, GivenFiles()).notes == ("t.csv: columns that are not read: size, seconds",)


def test_a_table_may_have_a_video_root(tmp_path: Path) -> None:
    """Paths below the root, of another machine, of other folders and with other extensions are found by their name."""
    files(tmp_path / "videos", "deep/a 1.avi", "v/b.mp4", "deep/c.mkv", "v/d.webm")
    table = files(tmp_path / "lists") / "t.csv"
    table.parent.mkdir()
    table.write_text(rows("{path},{label}").replace("v/c.avi", "/home/user/data/c.avi"))
    settings = load_settings({"data.t": str(tmp_path / "videos"), "cache": str(tmp_path / "cache")}, {})
    dataset = open_dataset(str(table), settings)
    paths = {*dataset.list("train").paths, *dataset.list("val").paths}
    assert paths == {"v/a 1.avi", "v/b.mp4", "data/c.avi", "v/d.webm"}
    assert {str(dataset.locate(path)) for path in paths} == {
        str(tmp_path / "videos" / path) for path in ("deep/a 1.avi", "v/b.mp4", "deep/c.mkv", "v/d.webm")
    }


def test_video_root_and_class_names_are_given_by_name(tmp_path: Path) -> None:
    files(tmp_path / "videos", *CLIPS)
    table = tmp_path / "ucf101.csv"  # a custom table with the name of a dataset
    table.write_text(rows("{path} {label}", IDS))
    (tmp_path / "names.csv").write_text("0;jump rope\n1;walk\n2;swim\n")
    flags = {"data.ucf101": str(tmp_path / "videos"), "labels.ucf101": str(tmp_path / "names.csv")}
    dataset = open_dataset(str(table), load_settings(flags, {}))
    assert dataset.name == "custom_ucf101"
    assert dataset.labels("all").names == (*LABELS, "swim"), "a class without a clip is a candidate, too"
    assert len(dataset.list("train")) == 2 == len(dataset.list("val")) and dataset.has_list("few_shot_2") is False
    assert {label for _, label in dataset.list("val").rows} == {0, 1}


def test_classes_of_the_file_without_clips_are_in_no_half(tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(6)]
    table = files(tmp_path, *(f"{i}_{k}.avi" for i in (1, 2, 3, 5) for k in range(4))) / "t.txt"
    table.write_text("".join(f"{i}_{k}.avi {i}\n" for i in (1, 2, 3, 5) for k in range(4)))
    (tmp_path / "t.labels.txt").write_text("\n".join(names))
    dataset = open_dataset(str(table), load_settings({}, {}))
    assert dataset.labels("all").names == tuple(names)
    halves = (*dataset.labels("base").names, *dataset.labels("novel").names)
    assert sorted(halves) == ["class 1", "class 2", "class 3", "class 5"]
    assert len(dataset.list("base_s1")) == 6 and len(dataset.list("few_shot_2")) == 8


@pytest.mark.parametrize("in_table", ["NFC", "NFD"])
def test_names_match_in_both_unicode_forms(tmp_path: Path, in_table: str) -> None:
    on_disk = unicodedata.normalize("NFD" if in_table == "NFC" else "NFC", "caf\u00e9")
    files(tmp_path, f"{on_disk}/{on_disk} 1.avi", f"{on_disk}/2.avi", "x/3.avi", "x/4.avi")
    written = unicodedata.normalize(in_table, "caf\u00e9")
    table = tmp_path / "t.csv"
    table.write_text(f"{written}/{written} 1.avi,{written}\n{on_disk}/2.avi,{on_disk}\nx/3.avi,x\nx/4.avi,x\n", "utf-8")
    clips = read_clips(table)
    assert {clip.label for clip in clips} == {"caf\u00e9", "x"} and all(clip.file.is_file() for clip in clips)
    assert [clip.path for clip in clips] == ["caf\u00e9/2.avi", "caf\u00e9/caf\u00e9 1.avi", "x/3.avi", "x/4.avi"]
    folder = open_dataset(str(files(tmp_path / "d", f"{on_disk}/1.avi", f"{on_disk}/2.avi", "x/3.avi", "x/4.avi")),
                          load_settings({}, {}))  # fmt: skip
    assert folder.labels("all").names == ("caf\u00e9", "x")


def test_given_classes_match_in_both_unicode_forms(tmp_path: Path) -> None:
    files(tmp_path, *(f"{name}/{i}.avi" for name in ("caf\u00e9", "b", "c", "d") for i in range(3)))
    (tmp_path / "novel_classes.txt").write_text(f"{NFD}\nb\n", "utf-8")
    assert open_dataset(str(tmp_path), load_settings({}, {})).labels("novel").names == ("b", "caf\u00e9")


BAD = {
    "UTF-16": (rows("{path},{label}").encode("utf-16"), "The table .*t.csv is not UTF-8 text: it is probably UTF-16"),
    "GBK": ("path,class\nv/b.mp4,\u8d70\u8def\n".encode("gbk"), "probably GBK"),
    "Excel": (b"PK\x03\x04\x14\x00", "is not text: it is an Excel workbook"),
    "binary": (b"\x00\x01\x02,\x03\n", "is not text: it is binary data"),
    "unknown header": (b"clip_uri,text\nv/b.mp4,walk\n", "line 1: columns clip_uri, text, without a column of paths"),
    "no class column": (b"path,size,seconds\nv/b.mp4,1,2\n", "line 1: columns path, size, seconds, without a c"),
    "Kinetics": (b"label,youtube_id,time_start,time_end,split\nwalk,abcdefghijk,0,10,train\nrun,b.mp4,0,10,val\n",
                 "(?s)without a column of paths.*data prepare k400 --annotations DIR"),
    "misspelt split": (b"path,class,spilt\nv/b.mp4,walk,train\n", "no column 'spilt'. Did you mean 'split'"),
    "path alone": (b"v/b.mp4\nv/c.avi\n", "line 1: .*expected path,class"),
    "four columns": (b"v/b.mp4,walk,train,7\n", "line 1: .*expected path,class or path,class,split"),
    "a row too short": (b"path,class\nv/b.mp4,walk\nv/c.avi\n", "line 3: .*expected path,class, the same"),
    "a clip of two classes": (b"v/b.mp4,walk\nv/b.mp4,run\n", "(?s)line 2: .*duplicate of line 1.*several labels"),
    "gone": (b"v/b.mp4,walk\nv/x.avi,run\nv/y.avi,run\n", r"(?s)line 2: the file .*x.avi does not exist \(2 of 3 rows\)"
             ".*--data t=DIR"),
    "empty": (b"\n\n", "has no rows"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_another_table_is_refused_with_the_way_out(tmp_path: Path, kind: str) -> None:
    data, words = BAD[kind]
    table = files(tmp_path, *CLIPS) / "t.csv"
    table.write_bytes(data)
    with pytest.raises(UserError, match=words):
        read_clips(table)


@pytest.mark.parametrize("suffix", [".xlsx", ".json", ".parquet"])
def test_a_file_that_is_not_a_table_is_refused_with_the_accepted_forms(tmp_path: Path, suffix: str) -> None:
    files(tmp_path, f"t{suffix}")
    with pytest.raises(UserError, match=r"neither a folder nor a \.csv, \.tsv or \.txt table") as caught:
        read_clips(tmp_path / f"t{suffix}")
    assert "path,class" in caught.value.hint


def test_ids_that_count_from_one_are_named(tmp_path: Path) -> None:
    table = files(tmp_path, *CLIPS) / "t.txt"
    table.write_text(rows("{path} {label}", {path: label + 1 for path, label in IDS.items()}))
    (tmp_path / "t.labels.txt").write_text("\n".join(LABELS))
    with pytest.raises(UserError, match=r"line 1: the class id is 2, expected 0 to 1, .*seem to count from 1"):
        read_clips(table)


def _split_tables(root: Path) -> None:
    files(root, *CLIPS)
    paths = list(CLIPS.items())
    for side, part in (("train", paths[:2]), ("val", paths[2:])):
        (root / f"{side}.csv").write_text("".join(f"{path},{label}\n" for path, label in part))


def _sides(root: Path) -> None:
    files(root, "train/walk/1.avi", "train/jump rope/2.avi", "val/walk/3.avi", "val/jump rope/4.avi")


def _annotations_beside(root: Path) -> None:
    _sides(root)
    files(root, "annotations/labels.json", "annotations/readme.txt")


def _numbered_folders(root: Path) -> None:
    files(root, "1/1.avi", "1/3.avi", "0/2.avi", "0/4.avi")
    (root / "labels.json").write_text(json.dumps(LABELS))


def _system_folders(root: Path) -> None:
    for name in ("walk", "jump rope"):
        files(root, f"{name}/1.avi", f"{name}/2.avi", f"{name}/@eaDir/1.avi/thumb.mp4", f"{name}/.cache/x.avi")
    files(root, "@eaDir/x.avi", "__MACOSX/walk/._1.avi", ".git/x.avi", "$RECYCLE.BIN/x.avi", "lost+found/x.avi",
          "System Volume Information/x.avi", ".DS_Store", "Thumbs.db")  # fmt: skip


FOLDERS: dict[str, tuple[Callable[[Path], None], int]] = {
    "tables train.csv and val.csv": (_split_tables, 0), "train and val": (_sides, 0),
    "annotations beside train and val": (_annotations_beside, 1), "numbers with labels.json": (_numbered_folders, 0),
    "hidden and system folders": (_system_folders, 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_is_read_with_the_same_classes(tmp_path: Path, kind: str) -> None:
    make, notes = FOLDERS[kind]
    make(tmp_path)
    source = read_source(tmp_path, GivenFiles())
    assert len(source.clips) == 4 and {clip.label for clip in source.clips} == set(LABELS)
    assert len(source.notes) == notes


def test_skipped_folders_are_named(tmp_path: Path) -> None:
    _system_folders(tmp_path)
    (note,) = read_source(tmp_path, GivenFiles()).notes
    assert ".git" in note and "@eaDir" in note and "__MACOSX" in note and "more" in note
    (tmp_path / "b").mkdir()
    _annotations_beside(tmp_path / "b" / "d")
    assert read_source(tmp_path / "b" / "d", GivenFiles()).notes == (
        f"{tmp_path / 'b' / 'd'}: folders that are skipped: annotations",
    )


def test_class_folders_beside_a_split_are_refused(tmp_path: Path) -> None:
    _sides(tmp_path)
    files(tmp_path, "swim/1.avi")
    with pytest.raises(UserError, match="holds train, val and also swim with videos"):
        read_clips(tmp_path)


def test_numbered_folders_without_names_are_refused(tmp_path: Path) -> None:
    files(tmp_path, "0/1.avi", "1/2.avi")
    with pytest.raises(UserError, match="the classes are numbers") as caught:
        read_clips(tmp_path)
    assert f"--data-labels {tmp_path.name}=FILE, or the file labels.csv in the folder" in caught.value.hint


@pytest.mark.parametrize(("name", "side"), [("test.csv", "val"), ("Val.csv", "val"), ("train.csv", "train")])
def test_a_table_named_after_a_side_is_this_side(tmp_path: Path, name: str, side: str) -> None:
    table = files(tmp_path, *CLIPS) / name
    table.write_text(rows("{path},{label}"))
    source = read_source(table, GivenFiles())
    assert {clip.split for clip in source.clips} == {side} and len(source.notes) == 1
    assert "by the name of the table" in source.notes[0]
    table.write_text(rows("{path},{label},train", header="path,class,split") + "v/e.avi,walk,val\n")
    files(tmp_path, "v/e.avi")
    source = read_source(table, GivenFiles())
    assert len({clip.split for clip in source.clips}) == 2 and not source.notes


def test_two_evaluation_tables_are_refused(tmp_path: Path) -> None:
    _split_tables(tmp_path)
    (tmp_path / "test.csv").write_text("v/b.mp4,walk\n")
    with pytest.raises(UserError, match="test, train, val: more than one evaluation folder or table"):
        read_clips(tmp_path)
