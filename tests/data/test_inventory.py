from __future__ import annotations

import json
import os
import shutil
import time
import unicodedata
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.data.catalog import open_dataset
from harness.data.check import check_data
from harness.data.files.inventory import Inventory
from harness.machine.settings import load_settings


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    return root


def test_a_video_is_found_in_any_layout_and_extension(tmp_path):
    touch(tmp_path, "flat.avi", "Class A/in_class.mp4", "train/deep/er/far.webm", "notes.txt", ".trash/flat.avi")
    inventory = Inventory.open(tmp_path)
    assert len(inventory) == 3
    assert inventory.extensions == {"avi": 1, "mp4": 1, "webm": 1}
    for path, file, how in (
        ("flat.avi", "flat.avi", "path"),
        ("val/in_class.avi", "Class A/in_class.mp4", "name"),
        ("far.webm", "train/deep/er/far.webm", "name"),
    ):
        match = inventory.find(path)
        assert (match.file, match.how) == (tmp_path / file, how)
    assert inventory.find("gone.avi").file is None and inventory.find("gone.avi").candidates == ()


def test_a_different_letter_case_is_the_second_choice(tmp_path):
    touch(tmp_path, "v_HandStandPushups_g01_c01.avi", "x/Clip.avi", "y/clip.avi")
    inventory = Inventory.open(tmp_path)
    assert inventory.find("v_HandstandPushups_g01_c01.avi").how == "case"
    assert inventory.find("clip.avi").file == tmp_path / "y/clip.avi"
    assert inventory.find("CLIP.avi").candidates == ("x/Clip.avi", "y/clip.avi")


def test_several_files_of_a_name_are_ambiguous_unless_they_are_copies(tmp_path):
    touch(tmp_path, "a/one.avi", "b/one.avi", "train/two.mp4", "val/two.mp4")
    (tmp_path / "a/copy.avi").write_text("same")
    (tmp_path / "b/copy.avi").write_text("same")
    inventory = Inventory.open(tmp_path)
    assert inventory.find("one.avi").file is None
    assert inventory.find("one.avi").candidates == ("a/one.avi", "b/one.avi")
    assert inventory.find("val/two.mp4").file == tmp_path / "val/two.mp4"  # the path of the list wins
    assert inventory.find("copy.avi").file == tmp_path / "a/copy.avi"


def test_a_kinetics_clip_is_found_by_its_youtube_id_alone(tmp_path):
    touch(tmp_path, "abseiling/0wR5jVB-WPk.mp4", "short.mp4")
    inventory = Inventory.open(tmp_path)
    assert inventory.find("val/0wR5jVB-WPk_000417_000427.mp4").how == "id"
    assert inventory.find("val/1wR5jVB-WPk_000417_000427.mp4").file is None


def test_the_index_is_read_from_the_cache_until_a_folder_changes(tmp_path, monkeypatch):
    root, cache = touch(tmp_path / "root", "a/1.avi", "a/2.avi", "b/3.avi"), tmp_path / "cache"
    for folder in (root / "a", root / "b", root):
        os.utime(folder, (time.time() - 60, time.time() - 60))
    Inventory.open(root, cache)
    read = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: read.append(Path(path).name) or real(path))
    assert len(Inventory.open(root, cache)) == 3 and read == []
    touch(root, "b/4.avi")
    assert len(Inventory.open(root, cache)) == 4 and read == ["b"]
    monkeypatch.undo()
    (root / "a/1.avi").unlink()
    assert Inventory.open(root, cache).paths == ("a/2.avi", "b/3.avi", "b/4.avi")
    shutil.rmtree(root / "a")
    touch(root, "c/5.avi")
    assert Inventory.open(root, cache).paths == ("b/3.avi", "b/4.avi", "c/5.avi")


def test_a_folder_that_just_changed_is_read_again(tmp_path):
    root, cache = touch(tmp_path / "root", "a/1.avi"), tmp_path / "cache"
    Inventory.open(root, cache)
    before = (root / "a").stat()
    touch(root, "a/2.avi")
    os.utime(root / "a", ns=(before.st_atime_ns, before.st_mtime_ns))  # the same time stamp, as of a coarse clock
    assert len(Inventory.open(root, cache)) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema":0}', b'{"schema":1,"root":"/else","folders":{}}'])
def test_a_damaged_cache_is_ignored(tmp_path, damage):
    root, cache = touch(tmp_path / "root", "a/1.avi"), tmp_path / "cache"
    Inventory.open(root, cache)
    (file,) = (cache / "inventory").iterdir()
    json.loads(file.read_bytes())
    file.write_bytes(damage)
    assert len(Inventory.open(root, cache)) == 1


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path):
    """B21."""
    touch(tmp_path / "videos", "a.avi")
    (tmp_path / "cache").write_text("a file in the way")
    for _ in range(2):
        assert len(Inventory.open(tmp_path / "videos", tmp_path / "cache")) == 1


def test_links_are_followed_and_a_link_back_ends(tmp_path):
    touch(tmp_path / "elsewhere", "1.avi")
    root = touch(tmp_path / "root", "a/2.avi")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "back").symlink_to(root)
    assert Inventory.open(root).paths == ("a/2.avi", "linked/1.avi")


def test_a_missing_root_is_one_clear_error(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        Inventory.open(tmp_path / "nowhere")


def test_many_files_are_indexed_and_looked_up_quickly(tmp_path):
    for folder in range(20):
        touch(tmp_path / "root", *(f"{folder}/{folder:03d}_{i:05d}.mp4" for i in range(200)))
    Inventory.open(tmp_path / "root", tmp_path / "cache")
    start = time.perf_counter()
    inventory = Inventory.open(tmp_path / "root", tmp_path / "cache")
    assert all(inventory.find(f"train/{i % 20:03d}_{i // 20:05d}.mp4").file for i in range(4000))
    assert time.perf_counter() - start < 2  # 240,000 files take under 3 s this way


def in_class_folders(clip: Path) -> str:
    return f"{clip.parent.name}/{clip.name}"


def flat(clip: Path) -> str:
    return clip.name


def in_splits_with_other_extensions(clip: Path) -> str:
    return f"{'train' if int(clip.stem[-1]) % 2 else 'val'}/{clip.parent.name.lower()}/{clip.stem}.mkv"


@pytest.mark.parametrize("layout", [in_class_folders, flat, in_splits_with_other_extensions])
def test_real_clips_are_found_in_three_layouts(shared, imported, tmp_path, layout):
    clips = sorted((shared / "videos" / "ucf101").glob("*/*.avi"))
    assert len(clips) == 132
    for clip in clips:
        target = tmp_path / "videos" / layout(clip)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(clip)
    flags = {"lists": str(imported.out), "cache": str(tmp_path / "cache"), "data.ucf101": str(tmp_path / "videos")}
    report = check_data(open_dataset("ucf101", load_settings(flags, {})))
    counts = {check.name: check.coverage.found for check in report.lists if check.coverage}
    assert report.files == 132 and not report.ambiguous
    names = ("val1", "val2", "val3", "base_val", "novel_val")
    assert [counts[name] for name in names] == [55, 28, 33, 34, 21]
    assert not report.complete
    assert "55 of 3,783 clips (published, level 1)" in report.text()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_found_in_both_unicode_forms(tmp_path, form):
    other = "NFD" if form == "NFC" else "NFC"
    (tmp_path / (unicodedata.normalize(form, "caf\u00e9_walk") + ".avi")).touch()
    match = Inventory.open(tmp_path).find(unicodedata.normalize(other, "caf\u00e9_walk") + ".avi")
    assert match.file is not None and match.file.is_file()


def test_folders_of_file_servers_and_archives_are_left_out(tmp_path):
    for folder in ("@eaDir", "__MACOSX", ".git", "walk/@eaDir", "$RECYCLE.BIN", "walk"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "a.avi").write_bytes(folder.encode())
    inventory = Inventory.open(tmp_path)
    assert inventory.paths == ("walk/a.avi",)
