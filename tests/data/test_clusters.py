"""Clusters of videos by their names: groups, films, people, and unmatched names alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.data.embedded.dataset import EmbeddedDataset
from harness.data.folders.dataset import FolderDataset
from harness.data.lists.clusters import film_cluster, group_cluster
from harness.data.official.annotations.annotation_folder import AnnotationFolder
from harness.data.official.cards import load_card
from harness.data.official.dataset import OfficialDataset
from harness.data.official.generate import generate
from results.predictions import read_predictions
from results.record import find_records, read_record
from tests.conftest import write_clip


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
    assert group_cluster(path) == cluster
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
    assert film_cluster(path, load_card("hmdb51").names) == cluster
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


def test_datasets_without_known_sources_say_nothing() -> None:
    assert {OfficialDataset(name, ()).cluster("abc.mp4") for name in ("k400", "k600", "ssv2")} == {""}


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
