from __future__ import annotations

import csv

import pytest

from harness.data.catalog import open_dataset
from harness.data.check import check_data, coverage
from harness.data.folders.dataset import FolderDataset
from harness.data.official.prepare import prepare
from harness.engine.video.decode_check import DecodeWorker, centre_indices, compare_readers
from harness.machine.settings import load_settings
from tests.engine.numbered import Coding, damaged, write


def test_centre_indices_are_the_published_ones():
    assert centre_indices(64, 4) == [8, 24, 40, 56]
    assert centre_indices(3, 8) == [0, 0, 0, 1, 1, 2, 2, 2]
    for total in (1, 7, 32, 1000):
        assert centre_indices(total) == [int(i * total / 32 + total / 64) for i in range(32)]


def test_a_folder_is_reported_with_its_extensions(shared):
    report = check_data(FolderDataset(shared / "videos" / "weizmann"))
    assert report.complete and report.files == 80 and dict(report.extensions) == {"avi": 80}
    assert report.root == shared / "videos" / "weizmann"
    assert report.as_dict()["missing"] == []


def test_a_deleted_clip_is_missing(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(4):
            (tmp_path / name / f"{i}.avi").touch()
    dataset = FolderDataset(tmp_path)
    train = dataset.list("train")
    (tmp_path / train.paths[0]).unlink()
    covered = coverage(dataset, train)
    assert (covered.expected, covered.found, covered.missing) == (len(train), len(train) - 1, (train.paths[0],))
    report = check_data(dataset)
    assert not report.complete and "missing: 1 clips" in report.text()


def test_ambiguous_videos_are_reported_by_name(tmp_path, official):
    settings = load_settings({"lists": str(tmp_path / "l"), "data.hmdb51": str(tmp_path / "v")}, {})
    (tmp_path / "l" / "hmdb_splits").mkdir(parents=True)
    prepare("hmdb51", official, tmp_path / "l")
    clip = open_dataset("hmdb51", settings).list("val1").paths[0]
    for folder in ("x", "y"):
        (tmp_path / "v" / folder).mkdir(parents=True)
        (tmp_path / "v" / folder / clip).write_text(folder)
    report = check_data(open_dataset("hmdb51", settings))
    assert report.ambiguous == (clip,) and "ambiguous: 1 clips" in report.text()
    assert {check.name: check.coverage.found for check in report.lists if check.coverage}["val1"] == 0


def test_decode_counts_the_clips_on_which_the_readers_disagree(shared, tmp_path):
    pytest.importorskip("decord")
    pytest.importorskip("av")
    table = tmp_path / "clips.csv"
    with (shared / "videos" / "INDEX.csv").open(newline="") as file:
        index = {row["path"]: row for row in csv.DictReader(file)}
    hmdb = [path for path in index if path.startswith("hmdb51/")][:3]
    weizmann = [path for path in index if path.startswith("weizmann/")][:3]
    rows = [f'"{shared / "videos" / path}",{"h" if path in hmdb else "w"}' for path in (*hmdb, *weizmann)]
    table.write_text("\n".join(rows) + "\n")
    steps = []
    with DecodeWorker() as worker:
        report = check_data(FolderDataset(table), worker.check, lambda done, total: steps.append((done, total)))
    assert {path.split("/")[-1] for path in report.disagree} == {path.split("/")[-1] for path in hmdb}
    assert not report.undecodable and steps[-1] == (6, 6)
    assert "decord returns other frames than a sequential decode on 3 of 6 clips (" in report.text()


def test_the_clip_with_a_far_key_frame_is_measured_as_specified(shared):
    pytest.importorskip("decord")
    pytest.importorskip("av")
    clip = shared / "videos" / "ucf101" / "BoxingSpeedBag" / "v_BoxingSpeedBag_g09_c01.avi"
    check = compare_readers(clip)
    assert (check.wrong, check.declared, check.decoded, check.problem) == (8, 402, 402, "")


@pytest.mark.slow
def test_a_file_that_is_not_a_video_is_one_line(tmp_path):
    pytest.importorskip("decord")
    (tmp_path / "x.avi").write_bytes(b"not a video")
    with DecodeWorker() as worker:
        first = worker.check(tmp_path / "x.avi")
        assert first.problem == "the file is not a video, but text"
        assert worker.check(tmp_path / "gone.avi").problem


def test_an_overrun_ends_the_child_and_the_next_clip_gets_a_new_one(tmp_path):
    (tmp_path / "x.avi").write_bytes(b"not a video")
    with DecodeWorker(timeout_s=0.0) as worker:
        assert "no answer after 0 s" in worker.check(tmp_path / "x.avi").problem
        worker._timeout = 60.0
        assert worker.check(tmp_path / "x.avi").problem == "the file is not a video, but text"


@pytest.mark.slow
def test_a_damaged_clip_is_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            write(tmp_path / name / f"{i}.avi", Coding("mpeg4", "avi", gop=6), range(30))
    damaged(tmp_path / "a" / "1.avi", write(tmp_path / "whole.avi", Coding("mpeg4", "avi", gop=6), range(30)), 12)
    (tmp_path / "whole.avi").unlink()
    report = check_data(FolderDataset(tmp_path), compare_readers)
    assert dict(report.damaged) == {"a/1.avi": 1} and report.as_dict()["decode"]["damaged"] == {"a/1.avi": 1}
    assert "damaged: a/1.avi: 1 corrupt packets, which the reader exact skips as ffmpeg does" in report.text()
    assert report.undecodable["a/1.avi"].endswith("the reader exact does")
