from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.base.canonical import row_order_sha256
from harness.base.errors import UserError
from harness.data.catalog import dataset_names, open_dataset
from harness.data.official.annotations.annotation_folder import AnnotationFolder
from harness.data.official.annotations.hmdb51 import read_hmdb51
from harness.data.official.annotations.kinetics import read_kinetics
from harness.data.official.annotations.ssv2 import read_ssv2
from harness.data.official.annotations.ucf101 import read_ucf101
from harness.data.official.annotations.zsar import read_zsar
from harness.data.official.cards import OFFICIAL, load_card, published_lists
from harness.data.official.prepare import prepare
from harness.machine.settings import load_settings


@pytest.fixture
def settings(tmp_path):
    return load_settings({"lists": str(tmp_path / "lists"), "cache": str(tmp_path / "cache")}, {})


def test_names_are_listed_and_opened(settings):
    assert dataset_names() == (*OFFICIAL, "mini_source", "mini_target")
    for name in dataset_names():
        dataset = open_dataset(name, settings)
        assert dataset.name == name and dataset.title
        for test in dataset.zero_shot_tests:
            assert dataset.has_list(test.list) and len(dataset.labels(test.labels)) > 1


def test_opening_needs_neither_torch_nor_a_decoder():
    code = (
        "import sys; from harness.data.catalog import dataset_names, open_dataset; import harness.data.check, "
        "harness.data.official.prepare, harness.data.leakage; from harness.machine.settings import load_settings; "
        "[open_dataset(n, load_settings({}, {})) for n in dataset_names()]; "
        "print([m for m in ('torch', 'decord', 'av', 'cv2', 'open_clip') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_names_suggest_the_nearest(settings):
    with pytest.raises(UserError, match="Did you mean hmdb51"):
        open_dataset("hmdb_51", settings)
    with pytest.raises(UserError, match="does not exist"):
        open_dataset("./nowhere", settings).list("train")
    with pytest.raises(UserError, match="expected one of published, corrected, split"):
        open_dataset("hmdb51", settings, variant="fixed")


def test_a_folder_never_has_the_name_of_an_official_dataset(settings, tmp_path):
    for name in ("ucf101", "mini_target"):
        folder = tmp_path / name
        folder.mkdir()
        assert open_dataset(str(folder), settings).name == f"custom_{name}"


def test_a_configured_folder_is_a_dataset_by_its_name(tmp_path):
    settings = load_settings({"data.mine": str(tmp_path), "data.k400": str(tmp_path)}, {})
    dataset = open_dataset("mine", settings)
    assert (dataset.kind, dataset.name, dataset.source) == ("custom", "mine", "k400")
    assert "mine" in dataset_names(settings)
    assert open_dataset(str(tmp_path), load_settings({}, {})).source == "k400", "synthetic clips only on request"


def test_hmdb_names_in_both_variants(settings):
    published, corrected = (open_dataset("hmdb51", settings, variant=v) for v in ("published", "corrected"))
    wrong = {20: ("kick ball", "kick"), 21: ("kick", "kick ball"), 44: ("sword exercise", "sword")}
    wrong[45] = ("sword", "sword exercise")
    for label, names in wrong.items():
        assert (published.labels("all").names[label], corrected.labels("all").names[label]) == names
    differing = [a != b for a, b in zip(published.labels("base").names, corrected.labels("base").names, strict=True)]
    assert [i for i, differs in enumerate(differing) if differs] == [19, 20]
    differing = [a != b for a, b in zip(published.labels("novel").names, corrected.labels("novel").names, strict=True)]
    assert [i for i, differs in enumerate(differing) if differs] == [20, 21]
    assert corrected.labels("all").variant == "corrected" and published.labels("all").variant == "published"
    assert open_dataset("ucf101", settings, variant="corrected").labels("all").variant == "published"


def test_ucf_names_split_into_words(settings):
    published, split = (open_dataset("ucf101", settings, variant=v) for v in ("published", "split"))
    pairs = list(zip(published.labels("all").names, split.labels("all").names, strict=True))
    assert sum(a != b for a, b in pairs) == 77 and all(a == b.replace(" ", "") for a, b in pairs)
    assert {"YoYo": "Yo Yo", "TaiChi": "Tai Chi", "ApplyEyeMakeup": "Apply Eye Makeup"}.items() <= dict(pairs).items()
    assert split.labels("novel").variant == "split"
    for name in ("k400", "k600", "hmdb51", "ssv2"):
        assert open_dataset(name, settings, variant="split").labels("all").variant == "published"


def test_an_absent_list_says_how_to_get_it(settings):
    with pytest.raises(UserError) as caught:
        open_dataset("ucf101", settings).list("few_shot_16")
    text = str(caught.value)
    assert "ucf_splits/train1_few_shot_16.txt" in text
    assert "data prepare ucf101" in text and "import-lists" in text and "--lists own" in text
    with pytest.raises(UserError, match="Did you mean few_shot_"):
        open_dataset("ucf101", settings).list("few_shots_16")
    with pytest.raises(UserError, match="HARNESS_DATA_UCF101"):
        open_dataset("ucf101", settings).locate("v_Punch_g01_c01.avi")


@pytest.mark.slow
def test_own_draws_replace_only_absent_published_lists(settings, official):
    prepare("hmdb51", official, settings.lists.path)
    own = open_dataset("hmdb51", settings, lists="own", seed=5)
    drawn = own.list("few_shot_4")
    assert (drawn.name, drawn.origin, len(drawn)) == ("few_shot_4_own5", "own", 204)
    assert own.acceptance("few_shot_4") is None
    assert set(drawn.rows) <= set(own.list("train").rows)
    assert own.list("base_s1").origin == "published"  # generated here, and equal to the published bytes
    assert own.list("train").origin == "generated"
    assert drawn.rows != open_dataset("hmdb51", settings, lists="own", seed=6).list("few_shot_4").rows
    for seed in (1, 2, 3):
        (settings.lists.path / own.card.find_list(f"base_s{seed}").file).unlink()
    own = open_dataset("hmdb51", settings, lists="own", seed=5)
    draws = [own.list(f"base_s{i}") for i in (1, 2, 3)]
    assert {d.origin for d in draws} == {"own"} and {len(d) for d in draws} == {416}
    assert len({d.rows for d in draws}) == 3
    with pytest.raises(UserError):
        open_dataset("hmdb51", settings).list("base_s1")


def test_a_list_that_is_not_the_published_one_says_so(settings, imported):
    shutil.copytree(imported.out / "ucf_splits", settings.lists.path / "ucf_splits")
    file = settings.lists.path / "ucf_splits" / "val1.txt"
    file.write_bytes(file.read_bytes().replace(b"v_YoYo_g01_c01.avi 100\n", b""))
    dataset = open_dataset("ucf101", settings)
    assert dataset.list("val").origin == "generated" and dataset.acceptance("val").level == 4
    assert dataset.list("val2").origin == "published"


def test_lists_beside_the_videos_are_found(tmp_path, official):
    prepare("ucf101", official, tmp_path / "videos")
    settings = load_settings({"lists": str(tmp_path / "none"), "data.ucf101": str(tmp_path / "videos")}, {})
    assert open_dataset("ucf101", settings).list("val3").origin == "published"


def test_embedded_lists_follow_the_contract(settings):
    target, source = open_dataset("mini_target", settings), open_dataset("mini_source", settings)
    assert target.source == "mini_source" and source.source is None
    assert target.list("val").rows == target.list("val1").rows
    for dataset in (source, target):
        base, novel = dataset.labels("base").names, dataset.labels("novel").names
        assert len(base) == len(novel) and set(base) | set(novel) == set(dataset.labels("all").names)
        assert [len(dataset.list(f"base_s{i}")) for i in (1, 2, 3)] == [16 * len(base)] * 3
        assert not set(dataset.list("train").paths) & set(dataset.list("val").paths)
        for shots in (2, 4, 8, 16):
            assert len(dataset.list(f"few_shot_{shots}")) == shots * len(dataset.labels("all"))
        with pytest.raises(UserError, match="Did you mean"):
            dataset.list("vals")
    assert target.locate(target.list("val").paths[0]) is None  # a look-up renders nothing


def write(folder, **files):
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return AnnotationFolder(folder)


def ucf_files(folder, **changed):
    card = load_card("ucf101")
    files = {"classInd__txt": "".join(f"{i} {name}\r\n" for i, name in enumerate(card.names, 1))}
    for split in (1, 2, 3):
        files[f"testlist0{split}__txt"] = "".join(f"{n}/v_{n}_g0{split}_c01.avi\r\n" for n in card.names)
    files["trainlist01__txt"] = "".join(f"{n}/v_{n}_g09_c01.avi {i}\r\n" for i, n in enumerate(card.names, 1))
    return write(folder, **{**files, **changed})


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("classInd__txt", "1 Archery\n", "class 0 is 'Archery', expected 'ApplyEyeMakeup'"),
        ("classInd__txt", "0 ApplyEyeMakeup\n", "line 1"),
        ("trainlist01__txt", "Archery/v_Archery_g01_c01.avi 1\n", "line 1: .*the id 3 of class Archery"),
        ("trainlist01__txt", "Archery/v_Archery_g01_c01.avi\n", "line 1"),
        ("testlist02__txt", "Archery/v_Archery_g01_c01.avi\nv_x_g01_c01.avi\n", "line 2"),
        ("testlist02__txt", "Nothing/v_Nothing_g01_c01.avi\n", "line 1"),
    ],
)
def test_damaged_ucf_files_are_named(tmp_path, file, text, words):
    assert len(read_ucf101(ucf_files(tmp_path), load_card("ucf101"))["val3"]) == 101
    with pytest.raises(UserError, match=words):
        read_ucf101(ucf_files(tmp_path, **{file: text}), load_card("ucf101"))


def test_damaged_hmdb_files_are_named(tmp_path):
    names = [name.replace(" ", "_") for name in load_card("hmdb51").labels("all", "corrected").names]
    for name in names:
        for split in (1, 2, 3):
            lines = f"a_{name}.avi 1 \nb_{name}.avi 2 \nc_{name}.avi 0 \n"
            (tmp_path / f"{name}_test_split{split}.txt").write_text(lines)
    lists = read_hmdb51(AnnotationFolder(tmp_path), load_card("hmdb51"))
    assert lists["val2"][20:22] == (("b_kick.avi", 20), ("b_kick_ball.avi", 21))
    (tmp_path / "wave_test_split2.txt").write_text("a.avi 1\nb.avi 3\n")
    with pytest.raises(UserError, match=r"wave_test_split2.txt, line 2"):
        read_hmdb51(AnnotationFolder(tmp_path), load_card("hmdb51"))
    for split in (1, 2, 3):
        (tmp_path / f"wave_test_split{split}.txt").unlink()
    with pytest.raises(UserError, match="lacks the lists of 1 of 51 classes: wave"):
        read_hmdb51(AnnotationFolder(tmp_path), load_card("hmdb51"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label,youtube_id\na,b\n", "line 1: .*the columns"),
        ("label,youtube_id,time_start,time_end,split\nnothing,0wR5jVB-WPk,1,11,val\n", "line 2: 'nothing'"),
        ("label,youtube_id,time_start,time_end,split\nyoga,0wR5jVB-WPk,1.5,11,val\n", "whole seconds"),
        ("label,youtube_id,time_start,time_end\n" + "yoga,0wR5jVB-WPk,1,11\n" * 2, "line 3: .*each clip once"),
        ('label,youtube_id,time_start,time_end,split\n"yoga,0wR5jVB-WPk,1,11,val\n', "cannot be read"),
    ],
)
def test_damaged_kinetics_files_are_named(tmp_path, text, words):
    (tmp_path / "val.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_kinetics(tmp_path / "val.csv", load_card("k400").names, "val")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train__json": "["}, "cannot be read as JSON"),
        ({"train__json": "{}"}, "does not hold a list of objects .*array.*, got .*object"),
        ({"train__json": '[{"id": "1"}]'}, r"objects with id and template: .*template.* at `\$\[0\]`"),
        ({"train__json": '[{"id": "1", "template": "Flying [something]"}]'}, "not one of the 174 classes"),
        ({"train__json": '[{"id": "a", "template": "Poking [something] so that it falls over"}]'}, "expected digits"),
        ({"labels__json": '{"Flying [something]": "0"}'}, "class 0 is 'Flying something'"),
        ({"labels__json": '{"Poking": 0}'}, "does not hold an object of class names and ids"),
        ({"test__json": "[]"}, "neither train.json nor validation.json"),
    ],
)
def test_damaged_ssv2_files_are_named(tmp_path, files, words):
    with pytest.raises(UserError, match=words):
        read_ssv2(write(tmp_path, **files), load_card("ssv2"))


def test_damaged_zero_shot_files_are_named(tmp_path):
    files = {"classes620_label_defn__json": '[{"word": "yoga"}]', "tst_class_idxs__json": "[[0]]"}
    meta = '{"videoname": "a.mp4", "nframes": 1, "label": 0}\n'
    with pytest.raises(UserError, match="line 2"):
        read_zsar(write(tmp_path, **files, tst_video_metas__jsonl=f"{meta}{{}}\n"), load_card("k600"))
    with pytest.raises(UserError, match="split 1 are not the published classes"):
        read_zsar(write(tmp_path, **files, tst_video_metas__jsonl=meta), load_card("k600"))


def test_two_different_files_of_one_name_are_ambiguous(tmp_path):
    for folder, text in (("a", "1"), ("b", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "classInd.txt").write_text(text)
    with pytest.raises(UserError, match=r"two different files named classInd\.txt"):
        AnnotationFolder(tmp_path).find("classInd.txt")


@pytest.mark.slow
def test_the_pinned_orders_are_those_of_the_published_lists(shared: Path) -> None:
    """Rows in another order are another list: hashes of base names and labels, in the order of the published files."""
    files = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in (shared / "splits").rglob("*.txt")}
    compared = 0
    for name, pinned in published_lists().items():
        if pinned.sha256:
            rows = [line.rsplit(" ", 1) for line in files[pinned.sha256].read_text().splitlines()]
            assert row_order_sha256((path, int(label)) for path, label in rows) == pinned.order_sha256, name
            compared += 1
    assert compared == 47
