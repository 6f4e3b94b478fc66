from __future__ import annotations

import shutil

import pytest

from harness.base.errors import UserError
from harness.data.official.cards import load_card, published_labels, published_lists
from harness.data.official.dataset import OfficialDataset
from harness.data.official.import_lists import import_lists

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
    "rows in another order": (VAL, lambda data: b"\n".join(data.split(b"\n")[1::-1] + data.split(b"\n")[2:]), "order"),
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
