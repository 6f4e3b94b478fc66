"""Clusters of videos by their names: groups, films, people, and unmatched names alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.data.embedded.dataset import EmbeddedDataset
from harness.data.folders.dataset import FolderDataset
from harness.data.lists.clusters import INDEPENDENT, ClusterCard, NamedClusters, cluster_text
from harness.data.official.annotations.annotation_folder import AnnotationFolder
from harness.data.official.cards import OFFICIAL, load_card
from harness.data.official.dataset import OfficialDataset
from harness.data.official.generate import generate
from results.predictions import read_predictions
from results.record import find_records, read_record
from tests.conftest import in_process, write_clip


@pytest.mark.parametrize(
    ("path", "cluster"),
    [
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "ApplyEyeMakeup_g01"),
        ("v_ApplyEyeMakeup_g01_c07.avi", "ApplyEyeMakeup_g01"),
        ("v_Archery_g01_c01.avi", "Archery_g01"),
        ("mine.avi", "mine"),
    ],
)
def test_groups_count_within_their_class(path: str, cluster: str) -> None:
    assert load_card("ucf101").clusters.of(path) == cluster
    assert OfficialDataset("ucf101", ()).cluster(path) == cluster


@pytest.mark.parametrize(
    ("path", "cluster"),
    [
        ("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "April_09"),
        ("April_09_brush_hair_u_nm_np1_ba_goo_1.avi", "April_09"),
        ("TheBoondockSaints_shoot_gun_u_cm_np1_fr_med_24.avi", "TheBoondockSaints"),
        ("TheBoondockSaints_draw_sword_h_nm_np2_ri_bad_3.avi", "TheBoondockSaints"),
        ("a_walk_in_the_sun_walk_f_cm_np1_le_med_0.avi", "a_walk_in_the_sun"),
        ("unmatched name.avi", "unmatched name"),
        # Ten people are outside the official attributes, which have one digit.
        ("TheBoondockSaints_sit_u_nm_np10_ba_med_0.avi", "TheBoondockSaints_sit_u_nm_np10_ba_med_0"),
    ],
)
def test_films_count_across_classes(path: str, cluster: str) -> None:
    assert load_card("hmdb51").clusters.of(path) == cluster
    assert OfficialDataset("hmdb51", ()).cluster(path) == cluster


@pytest.mark.parametrize(
    ("name", "split", "videos", "clusters", "largest", "effective", "unmatched"),
    [
        ("ucf101", "val1", 3783, 707, 7, 670, 0),
        ("ucf101", "val2", 3734, 707, 7, 671, 0),
        ("ucf101", "val3", 3696, 707, 7, 669, 0),
        ("hmdb51", "val1", 1530, 479, 28, 246, 1),
    ],
)
def test_clusters_of_official_lists(
    name: str, split: str, videos: int, clusters: int, largest: int, effective: int, unmatched: int, shared: Path
) -> None:
    """The numbers of docs/statistics.md; more than 1 % of unmatched names would be a fault of the pattern."""
    folder = shared / "splits" / "official" / name
    if not folder.is_dir():
        pytest.skip(f"needs the official annotations in {folder}")
    rows = generate(load_card(name), AnnotationFolder(folder)).lists[split]
    found = Counter(OfficialDataset(name, ()).cluster(path) for path, _ in rows)
    shares = [count / len(rows) for count in found.values()]
    assert (len(rows), len(found), max(found.values())) == (videos, clusters, largest)
    assert round(1 / sum(share**2 for share in shares)) == effective
    alone = {path.removesuffix(".avi").rpartition("/")[2] for path, _ in rows} & set(found)
    assert len(alone) == unmatched <= 0.01 * len(rows)
    card = load_card(name)
    assert unmatched == sum(not card.clusters.matches(path) for path, _ in rows)
    if split == "val1":
        assert isinstance(card.cluster, ClusterCard)
        assert card.cluster.size == round(sum(count**2 for count in found.values()) / len(rows), 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFICIAL)
def test_at_most_one_percent_of_the_names_of_a_list_do_not_match_the_card(name: str, shared: Path) -> None:
    card, seen = load_card(name), 0
    for entry in card.lists.values():
        file = shared / "splits" / "vificlip" / "datasets_splits" / entry.file
        if not file.is_file():
            continue
        paths = [line.rpartition(" ")[0] for line in file.read_text("utf-8").splitlines()]
        odd = [path for path in paths if not card.clusters.matches(path)]
        assert len(odd) <= 0.01 * len(paths), (entry.file, len(odd), odd[0])
        seen += 1
    if not seen:
        pytest.skip(f"needs the published lists in {shared / 'splits'}")


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_card_of_a_dataset_describes_its_clusters(name: str) -> None:
    """Absent (SSv2) means unknown; a pattern has the group `cluster`."""
    card = load_card(name).cluster
    if name == "ssv2":
        assert card is None and cluster_text(card).startswith("unknown")
        assert OfficialDataset(name, ()).cluster("abc.webm") == ""
        return
    assert isinstance(card, ClusterCard) and card.what and not card.column and "(?P<cluster>" in card.pattern


@pytest.mark.parametrize("name", ["k400", "k600"])
def test_clips_of_one_youtube_video_are_a_cluster(name: str) -> None:
    paths = ("val/-0Wkj-Ug1YQ_000155_000165.mp4", "train/-0Wkj-Ug1YQ_000001_000011.mp4", "abc.mp4")
    assert [OfficialDataset(name, ()).cluster(path) for path in paths] == ["-0Wkj-Ug1YQ", "-0Wkj-Ug1YQ", "abc"]


def test_independent_videos_are_known_and_single() -> None:
    clusters = NamedClusters(INDEPENDENT)
    assert [clusters.of(path) for path in ("a/x.mp4", "a/y.mp4")] == ["x", "y"] and clusters.matches("a/x.mp4")
    assert cluster_text(INDEPENDENT) == "none: the videos are independent"


@pytest.mark.slow
def test_show_prints_the_clusters(capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("ucf101", "  clusters: class and group (v_(?P"), ("ssv2", "  clusters: unknown"),
                       ("mini_target", "  clusters: class and group (v_(?P")):  # fmt: skip
        assert in_process("show", name) == 0
        assert text in capsys.readouterr().out
    assert in_process("show", "ucf101", "--json") == 0
    card = json.loads(capsys.readouterr().out)["cluster"]
    assert card["what"] == "class and group" and card["size"] == 5.65 and card["pattern"].startswith("v_")
    assert in_process("show", "ssv2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["cluster"] is None


def _table(folder: Path, header: str, groups: dict[str, str], name: str = "t.csv") -> Path:
    for path in groups:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    comma = "\t" if name.endswith(".tsv") else ","
    lines = [header, *(f"{path},{path.partition('/')[0]},{group}" for path, group in groups.items())]
    (folder / name).write_text("\n".join(lines).replace(",", comma) + "\n", "utf-8")
    return folder / name


GROUPS = {f"{label}/clip{i}.avi": f"film {i % 3}" for label in "xy" for i in range(9)}


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_the_group_column_of_a_table_is_the_cluster_and_stays_on_one_side(tmp_path: Path, name: str) -> None:
    dataset = FolderDataset(_table(tmp_path, "path,class,group", GROUPS, name))
    assert {path: dataset.cluster(path) for path in GROUPS} == GROUPS
    assert cluster_text(dataset.cluster_card) == "source (column group)"
    sides = [{GROUPS[path] for path in dataset.list(side).paths} for side in ("train", "val")]
    assert all(sides) and not sides[0] & sides[1]


def test_the_group_column_stands_beside_a_split(tmp_path: Path) -> None:
    values = {path: f"{group},{'train' if i % 2 else 'test'}" for i, (path, group) in enumerate(GROUPS.items())}
    dataset = FolderDataset(_table(tmp_path, "video,label,group,split", values))
    assert {path: dataset.cluster(path) for path in GROUPS} == GROUPS
    assert set(dataset.list("train").paths) == {path for path, value in values.items() if value.endswith("train")}


@pytest.mark.parametrize(
    ("header", "group", "message"),
    [
        ("path,class,grup", "f", "line 1: there is no column 'grup'. Did you mean 'group'?"),
        ("path,class,group", "", "expected path,class,group, the same on every line"),
        ("path,class,group,split", "f,dev", "split 'dev', expected one of"),
    ],
)
def test_a_wrong_group_column_is_refused(tmp_path: Path, header: str, group: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        FolderDataset(_table(tmp_path, header, dict.fromkeys(GROUPS, group))).list("train")


def test_a_group_column_between_blanks_is_refused(tmp_path: Path) -> None:
    table = _table(tmp_path, "path,class,group", GROUPS)
    text = tmp_path / "t.txt"
    text.write_text(table.read_text("utf-8").replace(",", " "), "utf-8")
    with pytest.raises(UserError, match="Separate the columns") as caught:
        FolderDataset(text).list("train")
    assert "line 1" in str(caught.value)


def test_the_embedded_benchmark_has_groups(tmp_path: Path) -> None:
    dataset = EmbeddedDataset("mini_target", tmp_path)
    rows = dataset.list("val").rows
    clusters = {dataset.cluster(path) for path, _ in rows}
    assert 1 < len(clusters) < len(rows)


def test_people_count_across_classes_and_single_clips_alone(tmp_path: Path) -> None:
    for name in ("walk", "run"):
        for stem in (f"daria_{name}", f"{name}_012", "v_x_g07_c02", "clip0"):
            write_clip(tmp_path / "d" / name / f"{stem}.avi", frames=2)
    dataset = FolderDataset(tmp_path / "d")
    found = {path: dataset.cluster(path) for path in dataset._files}
    assert found == {
        "run/daria_run.avi": "daria", "walk/daria_walk.avi": "daria", "run/run_012.avi": "012",
        "walk/walk_012.avi": "012", "run/v_x_g07_c02.avi": "run/g07", "walk/v_x_g07_c02.avi": "walk/g07",
        "run/clip0.avi": "run/clip0", "walk/clip0.avi": "walk/clip0",
    }  # fmt: skip


def test_every_video_of_a_record_carries_its_cluster(finished_runs: Path) -> None:
    for path in find_records(finished_runs):
        frame = read_predictions(path.with_name(read_record(path).predictions.file))
        assert frame["cluster"].tolist() == [video.removesuffix(".avi") for video in frame["video"]]
