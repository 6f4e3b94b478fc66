from __future__ import annotations

import shutil

import pytest

from harness.base.errors import UserError
from harness.data.catalog import open_dataset
from harness.data.official.cards import load_card, published_labels, published_lists
from harness.data.official.dataset import OfficialDataset
from harness.data.official.import_lists import import_lists
from harness.machine.settings import load_settings
from tests.conftest import in_process

NOT_OBTAINED = ("base2novel_splits/k400_splits/base_train.txt", "k400_splits/train.txt")
VAL = "hmdb_splits/val1.txt"
K400 = "base2novel_splits/k400_splits/fs_base_s1_train.txt"


def test_all_published_files_are_verified_and_the_two_missing_named(imported, published):
    assert len(published_lists()) == 49
    assert len(imported.lists) == 47
    assert imported.missing == NOT_OBTAINED
    assert imported.labels == tuple(sorted(published_labels())) and len(imported.labels) == 16
    for file in imported.lists:
        assert (imported.out / file).read_bytes() == (published / "datasets_splits" / file).read_bytes()
    assert "missing: k400_splits/train.txt (git blob d3bf1ab8" in imported.text()


@pytest.mark.parametrize("dataset", ["k400", "k600", "hmdb51", "ucf101", "ssv2"])
def test_imported_lists_are_published_lists_of_their_dataset(imported, dataset):
    opened = OfficialDataset(dataset, [imported.out])
    for name in opened.list_names():
        if opened.card.find_list(name).file in imported.lists:
            video_list = opened.list(name)
            assert video_list.origin == "published"
            assert opened.acceptance(name).level == 1
            assert len(video_list) == published_lists()[opened.card.find_list(name).file].rows


@pytest.fixture
def one_list(published, tmp_path):
    """A function: make a folder with one published list after a change of its bytes."""

    def write(file, change):
        target = tmp_path / "in" / file
        target.parent.mkdir(parents=True)
        target.write_bytes(change((published / "datasets_splits" / file).read_bytes()))
        return tmp_path / "in"

    return write


def on_line(number, old, new):
    def change(data):
        lines = data.split(b"\n")
        assert old in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new)
        return b"\n".join(lines)

    return change


def without_line(number):
    return lambda data: b"\n".join(line for i, line in enumerate(data.split(b"\n"), 1) if i != number)


# Damage that the grammar does not detect: the list is well formed but not the published one.
QUIET_DAMAGE = {
    "row removed": (VAL, without_line(40), "1 of 51 classes differ (1 clips fewer, 0 more): ids 1"),
    "row exchanged for another clip": (VAL, on_line(31, b"_0.avi", b"_9.avi"), "(0 clips fewer, 0 more): ids 1"),
    "another class's id, paths without class": (K400, on_line(17, b" 1", b" 2"), "2 of 200 classes differ"),
}


@pytest.mark.parametrize("kind", QUIET_DAMAGE)
def test_a_well_formed_list_that_is_not_the_published_one_is_refused(one_list, tmp_path, kind):
    file, change, words = QUIET_DAMAGE[kind]
    with pytest.raises(UserError) as caught:
        import_lists(one_list(file, change), tmp_path / "out")
    text = str(caught.value)
    assert file in text and ", line" in text and words in text and "Rule: an imported list" in text
    assert not (tmp_path / "out").exists()


LOUD_DAMAGE = {
    "wrong id": (on_line(45, b" 1", b" 51"), 45, "below the number of classes"),
    "id of another class": (on_line(45, b" 1", b" 2"), 45, "one label"),
    "duplicate row": (lambda d: b"\n".join([*d.split(b"\n")[:9], d.split(b"\n")[3], *d.split(b"\n")[9:]]), 10, "once"),
    "blank line": (on_line(12, b".avi 0", b".avi 0\n"), 13, "no blank lines"),
    "tab": (on_line(12, b".avi 0", b".avi\t0"), 12, "white space"),
    "CRLF mix": (on_line(12, b".avi 0", b".avi 0\r"), 12, "one kind of line end"),
    "absent class": (lambda d: b"".join(r for r in d.splitlines(True) if not r.endswith(b" 7\n")), 1500, "has a row"),
    "truncated line": (lambda d: d[:-6], 1530, "path, one blank, label"),
    "traversal path": (lambda d: b"../" + d, 1, "stays inside"),
}


@pytest.mark.parametrize("kind", LOUD_DAMAGE)
def test_damage_to_a_real_list_names_file_line_and_rule(one_list, tmp_path, kind):
    change, line, rule = LOUD_DAMAGE[kind]
    with pytest.raises(UserError) as caught:
        import_lists(one_list(VAL, change), tmp_path / "out")
    assert f"{VAL}, line {line}:" in str(caught.value) and rule in str(caught.value)


def test_different_line_ends_are_accepted(one_list, tmp_path):
    report = import_lists(one_list(VAL, lambda data: data.replace(b"\n", b"\r\n")), tmp_path / "out")
    assert report.lists == (VAL,)
    assert OfficialDataset("hmdb51", [tmp_path / "out"]).acceptance("val").level == 2


def reversed_rows(data):
    return b"\n".join([*data.split(b"\n")[:-1][::-1], b""])


def test_rows_in_another_order_are_level_3(one_list, tmp_path):
    report = import_lists(one_list(VAL, reversed_rows), tmp_path / "out")
    assert report.lists == (VAL,) and report.levels == {VAL: 3}
    assert f"level 3 (same clips and labels, other order or folders): {VAL}" in report.text()
    dataset = OfficialDataset("hmdb51", [tmp_path / "out"])
    assert dataset.acceptance("val").level == 3 and dataset.list("val").origin == "published"


def test_another_order_never_replaces_the_published_one(one_list, published, tmp_path):
    (tmp_path / "out" / VAL).parent.mkdir(parents=True)
    shutil.copy(published / "datasets_splits" / VAL, tmp_path / "out" / VAL)
    assert import_lists(one_list(VAL, reversed_rows), tmp_path / "out").levels == {VAL: 3}
    assert (tmp_path / "out" / VAL).read_bytes() == (published / "datasets_splits" / VAL).read_bytes()


def rows_of(data):
    return [line.rsplit(" ", 1) for line in data.decode().splitlines()]


FOREIGN = {
    "class folders and commas": (VAL, "splits/test.csv", "{name}/{path},{label}", 1),
    "blanks in .csv": ("ucf_splits/val1.txt", "ucf/test.csv", "{path} {label}", 1),
    "paths of another machine": ("base2novel_splits/hmdb_splits/fs_base_s1_train.txt", "a/train.txt",
                                 "/home/user/data/{path} {label}", 1),
    "another prefix of a side": ("base2novel_splits/k400_splits/fs_base_s1_train.txt", "train_prefix.txt",
                                 "train_base_s1/{stem} {label}", 1),
    "semicolons": ("base2novel_splits/ssv2_splits/novel_val.txt", "val.csv", "{path};{label}", 1),
    "tabs and another extension": (VAL, "val.tsv", "{path}\t{label}", 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOREIGN)
def test_lists_of_another_project_are_recognised_by_their_clips(published, tmp_path, kind):
    file, name, form, level = FOREIGN[kind]
    data = (published / "datasets_splits" / file).read_bytes()
    foreign = tmp_path / "project" / name
    foreign.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        form.format(path=path, stem=path.rpartition("/")[2], label=label, name=f"class_{label}")
        for path, label in rows_of(data)
    ]
    foreign.write_text("\r\n".join(lines))
    report = import_lists(tmp_path / "project", tmp_path / "out")
    assert report.lists == (file,) and report.sources == {file: name} and report.levels == {file: level}
    assert (tmp_path / "out" / file).read_bytes() == data, "written as the published file"
    assert f"from another file: {file} is {name}" in report.text()


@pytest.fixture
def foreign(tmp_path):
    """A project with a list of clips of UCF-101 that is not published, in a layout like FROSTER's."""
    folder = tmp_path / "project" / "B2N_mine"
    folder.mkdir(parents=True)
    rows = [f"{c}/v_{c}_g0{g}_c01.avi,{i}" for i, c in enumerate(("Archery", "Biking")) for g in (1, 2)]
    (folder / "test.csv").write_text("\n".join(rows))
    (folder / "test_idx2cls.csv").write_text("0,archery\n1,biking\n")
    (folder / "test_rephrased.json").write_text('{"0": "Archery: a person shoots.", "1": "Biking: a person rides."}')
    return folder


def test_lists_that_are_not_published_are_named_with_the_way_to_use_them(foreign, tmp_path):
    report = import_lists(foreign.parent, tmp_path / "out")
    assert report.lists == () and [other.file for other in report.others] == ["B2N_mine/test.csv"]
    text = report.text()
    assert "1 other lists, not published and not copied:" in text
    assert "B2N_mine/test.csv: 4 clips, 2 classes, clips of UCF-101. As a table: --dataset " in text
    assert f"--data test=DIR --data-labels test={foreign / 'test_idx2cls.csv'}" in text
    assert report.as_dict()["others"][0]["labels"] == "B2N_mine/test_idx2cls.csv"


def test_a_part_of_a_published_list_is_named(published, tmp_path):
    shutil.copytree(published / "datasets_splits" / "hmdb_splits", tmp_path / "in" / "hmdb_splits")
    rows = (published / "datasets_splits" / VAL).read_text().splitlines()[::7]
    (tmp_path / "in" / "short.txt").write_text("\n".join(rows))
    (other,) = import_lists(tmp_path / "in", tmp_path / "out").others
    assert (other.dataset, other.subset_of) == ("hmdb51", VAL) and f"all in {VAL}" in other.facts()


def test_one_list_becomes_a_table_with_class_names_and_videos(foreign, tmp_path, capsys):
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("v_Archery_g01_c01", "v_Archery_g02_c01", "v_Biking_g01_c01"):
        (videos / f"{name}.avi").touch()
    out = tmp_path / "out"
    arguments = ("data", "import-lists", foreign / "test.csv", "--out", out, "--cache", tmp_path / "cache")
    assert in_process(*arguments) == 2
    assert f"--labels FILE. {foreign / 'test_idx2cls.csv'} has as many names." in capsys.readouterr().err
    assert not out.exists()
    assert in_process(*arguments, "--labels", foreign / "test_idx2cls.csv", "--videos", videos) == 0
    printed = capsys.readouterr().out
    assert "not a published list: 4 clips, 2 classes, clips of UCF-101" in printed
    assert "videos found: 3 of 4" in printed and "missing: Biking/v_Biking_g02_c01.avi" in printed
    table = out / "tables" / "B2N_mine_test.csv"
    assert f"--dataset {table} --data B2N_mine_test={videos}" in printed
    (videos / "v_Biking_g02_c01.avi").touch()
    settings = load_settings({"data.B2N_mine_test": str(videos), "cache": str(tmp_path / "cache")}, {})
    dataset = open_dataset(str(table), settings)
    assert dataset.labels("all").names == ("archery", "biking") and dataset.list_names() == ("val",)
    assert dataset.locate("Archery/v_Archery_g01_c01.avi") == videos / "v_Archery_g01_c01.avi"


def test_one_published_list_of_another_name_is_imported(published, tmp_path, capsys):
    (tmp_path / "test1.csv").write_bytes((published / "datasets_splits" / VAL).read_bytes())
    assert in_process("data", "import-lists", tmp_path / "test1.csv", "--out", tmp_path / "out") == 0
    assert f"from another file: {VAL} is test1.csv" in capsys.readouterr().out
    assert (tmp_path / "out" / VAL).is_file()


def test_a_file_that_is_not_a_list_is_refused(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("walk\nrun\n")
    assert in_process("data", "import-lists", tmp_path / "notes.txt", "--out", tmp_path / "out") == 2
    assert "is not a list of clips and class ids" in capsys.readouterr().err


def test_official_annotations_and_class_files_are_not_taken_for_lists(tmp_path):
    (tmp_path / "walk_test_split1.txt").write_text("a_walk_u_nm_np1_ba_med_3.avi 1\n")
    (tmp_path / "trainlist01.txt").write_text("A/v_A_g01_c01.avi 1\n")
    (tmp_path / "labels.csv").write_text("0,walk\n1,run\n")
    with pytest.raises(UserError, match="and no other list of clips and class ids"):
        import_lists(tmp_path, tmp_path / "out")


def test_a_corrected_label_file_is_pointed_to_the_variant(published, tmp_path):
    shutil.copytree(published / "labels", tmp_path / "in" / "labels")
    target = tmp_path / "in" / "datasets_splits" / VAL
    target.parent.mkdir(parents=True)
    shutil.copy(published / "datasets_splits" / VAL, target)
    labels = tmp_path / "in" / "labels" / "hmdb_51_labels.csv"
    labels.chmod(0o644)
    names = labels.read_bytes().replace(b"20,kick ball", b"20,kick").replace(b"21,kick\r", b"21,kick ball\r")
    labels.write_bytes(names)
    with pytest.raises(UserError) as caught:
        import_lists(tmp_path / "in", tmp_path / "out")
    text = str(caught.value)
    assert "hmdb_51_labels.csv, line 22: class 20 is 'kick', expected the published name 'kick ball'" in text
    assert "'corrected'" in text


def test_a_folder_without_lists_is_one_clear_error(tmp_path):
    with pytest.raises(UserError, match="none of the 49 published lists"):
        import_lists(tmp_path, tmp_path / "out")


def test_cards_agree_with_the_published_label_files(published):
    for dataset in ("k400", "k600", "hmdb51", "ucf101", "ssv2"):
        card = load_card(dataset)
        for name, entry in card.label_files.items():
            assert card.label_bytes(name) == (published / "labels" / entry.file).read_bytes()
            assert published_labels()[entry.file].classes == len(card.labels(name))
