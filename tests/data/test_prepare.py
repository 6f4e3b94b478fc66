from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.data.lists.grammar import format_list
from harness.data.lists.rules import base_draw, base_novel_split, class_counts, rows_by_class
from harness.data.official.acceptance import compare, git_blob, published_bytes
from harness.data.official.cards import load_card, pinned_lists, published_lists
from harness.data.official.dataset import OfficialDataset
from harness.data.official.prepare import prepare

UCF = ["val1", "val2", "val3", "base_train", "base_val", "novel_val", "base_s1", "base_s2", "base_s3"]
DOCS = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"


@pytest.fixture(scope="module")
def reports(official, ssv2_annotations, tmp_path_factory):
    """A report of every official dataset, generated only from the official annotations."""
    out = tmp_path_factory.mktemp("out")
    prepared = {name: prepare(name, official, out / name) for name in ("ucf101", "hmdb51", "k400", "k600")}
    prepared["ssv2"] = prepare("ssv2", ssv2_annotations(""), out / "ssv2")
    return prepared


def levels(report):
    return {row.name: row.acceptance.level for row in report.lists if row.acceptance}


@pytest.mark.parametrize("dataset", ["ucf101", "hmdb51"])
def test_ucf_and_hmdb_lists_equal_the_published_bytes(reports, published, dataset):
    report = reports[dataset]
    assert levels(report) == dict.fromkeys([*UCF, "full"], 1)
    for name in UCF:
        entry = load_card(dataset).find_list(name)
        written = (report.out / entry.file).read_bytes()
        assert written == (published / "datasets_splits" / entry.file).read_bytes()
        assert hashlib.sha256(written).hexdigest() == published_lists()[entry.file].sha256


FULL = {
    "ucf101": (13320, "de8f3e4448e80c12a7b7beb49014a6cf652964bc590955d113b90937d03bd526"),
    "hmdb51": (6766, "e891f6957921d9972137db9b5a09cbdfb4e2824e2c06bf86bdcd63b07b5e0c48"),
}


@pytest.mark.parametrize("dataset", FULL)
def test_the_list_of_all_clips_has_the_known_number_and_the_pinned_bytes(reports, dataset):
    entry = load_card(dataset).find_list("full")
    written = (reports[dataset].out / entry.file).read_bytes()
    rows = written.decode().splitlines()
    count, sha256 = FULL[dataset]
    assert len(rows) == len(set(rows)) == pinned_lists()[entry.file].rows == sum(pinned_lists()[entry.file].counts)
    assert len(rows) == count and hashlib.sha256(written).hexdigest() == pinned_lists()[entry.file].sha256 == sha256
    for name in ("train", "val1", "val2", "val3"):
        file = load_card(dataset).find_list(name).file
        assert set((reports[dataset].out / file).read_text().splitlines()) < set(rows)
    opened = OfficialDataset(dataset, (reports[dataset].out,))
    assert opened.list("full").origin == "published" and opened.acceptance("full").level == 1


def test_the_zero_shot_list_of_ssv2_is_the_published_validation_list(reports):
    opened = OfficialDataset("ssv2", (reports["ssv2"].out,))
    test = opened.zero_shot_tests[0]
    assert (opened.source, len(opened.zero_shot_tests)) == ("k400", 1)
    assert (len(opened.list(test.list)), len(opened.labels(test.labels))) == (24777, 174)
    assert opened.list(test.list).sha256 == published_lists()["ssv2_splits/validation.txt"].content_sha256


@pytest.mark.parametrize("dataset", ["ucf101", "hmdb51", "k400", "k600", "ssv2"])
def test_label_files_are_written_as_published(reports, published, dataset):
    for entry in load_card(dataset).label_files.values():
        written = (reports[dataset].out / "labels" / entry.file).read_bytes()
        assert written == (published / "labels" / entry.file).read_bytes()


def test_k400_validation_lists_reach_the_bytes(reports):
    assert levels(reports["k400"]) == {"val": 1, "base_val": 1, "novel_val": 1}
    absent = {row.name: row.note for row in reports["k400"].lists if row.status == "absent"}
    assert absent["train"] == absent["base_s1"] == "needs the training annotations"


def test_k600_subsets_reach_the_same_clips_and_labels(reports):
    assert levels(reports["k600"]) == {"zs_split1": 3, "zs_split2": 3, "zs_split3": 3}


@pytest.mark.parametrize("prefix", ["", "something-something-v2-"])
def test_ssv2_lists_from_json_in_either_naming(reports, ssv2_annotations, prefix, tmp_path):
    report = prepare("ssv2", ssv2_annotations(prefix), tmp_path) if prefix else reports["ssv2"]
    expected = dict.fromkeys(["val", "base_val", "novel_val", "base_s1", "base_s2", "base_s3"], 1)
    # The order of the training JSON over classes is not known here, so base_train is equal as a set.
    assert levels(report) == {**expected, "base_train": 3}


@pytest.mark.parametrize("dataset", ["ucf101", "hmdb51", "ssv2"])
def test_the_pinned_class_sets_follow_the_published_rule(reports, dataset):
    card = load_card(dataset)
    rows = (reports[dataset].out / card.find_list("train").file).read_text().splitlines()
    counts = class_counts([(path, int(label)) for path, label in map(str.split, rows)], len(card.names))
    assert base_novel_split(counts) == card.split


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_k400_draws_follow_the_rule_on_every_class_whose_rows_are_known(official, published_rows, seed):
    base = load_card("k400").labels("base").names
    published = rows_by_class(published_rows("k400", f"base_s{seed}"), len(base))
    checked = 0
    for part in ("static", "temporal"):
        folder = official / "kinetics400" / "partial_train"
        lines = (folder / f"kinetics_400_{part}32_labels.csv").read_text().splitlines()[1:]
        names = [line.split(",", 1)[1].strip('"') for line in lines]
        known_rows = defaultdict(list)
        for line in (folder / f"train_{part}32.txt").read_text().splitlines():
            path, number = line.split(" ")
            if path.startswith("train/"):
                known_rows[int(number)].append((path, 0))
        for label, name in enumerate(names):
            if name in base:
                drawn = [path for path, _ in base_draw(known_rows[label], 1, seed)]
                assert drawn == [path for path, _ in published[base.index(name)]]
                checked += 1
    assert checked == 33


@pytest.mark.slow
def test_a_verified_file_is_never_replaced(official, published, tmp_path):
    entry = load_card("k600").find_list("zs_split1")
    target = tmp_path / entry.file
    target.parent.mkdir(parents=True)
    target.write_bytes((published / "datasets_splits" / entry.file).read_bytes())
    report = prepare("k600", official, tmp_path)
    row = next(row for row in report.lists if row.name == "zs_split1")
    assert (row.status, row.acceptance.level) == ("kept", 1)
    assert git_blob(target.read_bytes()) == published_lists()[entry.file].git_blob


@pytest.mark.slow
def test_videos_are_counted_if_their_folder_is_given(official, shared, tmp_path):
    report = prepare("ucf101", official, tmp_path, shared / "videos" / "ucf101")
    assert (report.found, report.expected) == (132, 13320)


def test_kinetics_training_lists_hold_what_is_on_disk(tmp_path):
    names = load_card("k400").names
    lines = ["label,youtube_id,time_start,time_end,split"]
    clips = [(i, f"clip{i:04d}{k:03d}") for i in range(len(names)) for k in range(3)]
    lines += [f'"{names[i]}",{clip},5,15,train' for i, clip in clips]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    videos = tmp_path / "videos"
    videos.mkdir()
    for i, clip in clips:
        if i % 2 == 0 or clip.endswith("1"):
            (videos / f"{clip}_000005_000015.mkv").touch()
    report = prepare("k400", tmp_path, tmp_path / "out", videos)
    rows = {row.name: row for row in report.lists}
    assert rows["train"].rows == 200 * 3 + 200
    assert rows["train"].level_text == "unverified"
    assert "expected at least 16" in rows["base_s1"].note
    first = (tmp_path / "out" / rows["train"].file).read_text().splitlines()[0]
    assert first == "train/clip0000000_000005_000015.mp4 0"


def test_the_four_levels(published_rows, published):
    entry = load_card("ucf101").find_list("novel_val")
    pinned = published_lists()[entry.file]
    rows = published_rows("ucf101", "novel_val")
    data = (published / "datasets_splits" / entry.file).read_bytes()
    assert published_bytes(rows, pinned) == data
    assert compare(rows, data, pinned).level == 1
    assert compare(rows, format_list(rows, "\r\n"), pinned).level == 2
    assert compare(rows[::-1], format_list(rows[::-1]), pinned).level == 3
    fewer = compare(rows[:-2], format_list(rows[:-2]), pinned)
    assert (fewer.level, fewer.missing, fewer.extra) == (4, 2, 0)
    assert rows[-1][1] in fewer.changed_classes
    swapped = (("v_Other_g01_c01.avi", rows[0][1]), *rows[1:])
    exchanged = compare(swapped, format_list(swapped), pinned)
    assert (exchanged.level, exchanged.missing, exchanged.extra, exchanged.changed_classes) == (4, 0, 0, (rows[0][1],))
    gone = tuple(row for row in rows if row[1] != 7)
    assert compare(gone, format_list(gone), pinned).level is None


def test_the_list_known_by_its_blob_alone_is_recognised():
    pinned = published_lists()["k400_splits/train.txt"]
    assert pinned.sha256 == "" and compare((("a", 0),), b"a 0\n", pinned).level is None
    assert git_blob(b"what is up, doc?") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"  # the Git book's example


def test_missing_annotations_say_where_they_come_from(tmp_path):
    for dataset in ("ucf101", "hmdb51", "k400", "k600", "ssv2"):
        with pytest.raises(UserError) as caught:
            prepare(dataset, tmp_path, tmp_path / "out")
        assert "http" in str(caught.value) and str(tmp_path) in str(caught.value)


def test_the_table_in_the_docs_is_what_prepare_prints(reports):
    parts = []
    for name, report in reports.items():
        parts.append(f"**{load_card(name).title}** (`{name}`)\n\n{report.table()}\n")
    block = "\n".join(parts)
    begin, end = "<!-- levels: begin -->\n", "<!-- levels: end -->"
    before, rest = DOCS.read_text().split(begin)
    if os.environ.get("HARNESS_UPDATE_DOCS"):
        DOCS.write_text(f"{before}{begin}\n{block}\n{end}{rest.split(end)[1]}")
    else:
        assert rest.split(end)[0].strip() == block.strip()
