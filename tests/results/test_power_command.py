"""`power`: smallest differences of evaluation lists, from published sizes, list files and records."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.cells.evaluation_lists import evaluation_lists
from harness.machine.settings import load_settings
from results.measured_pairs import measured_pairs, stored_records
from results.power import ListSize, MeasuredPair, list_power
from results.predictions import read_predictions
from tests.conftest import in_process
from tests.results.factories import Sample, write_sample

UCF = ListSize("few_shot", "ucf101", "val", ("k2",), 3783, 707, 5.65)
HMDB = ListSize("few_shot", "hmdb51", "val", ("k2",), 1530, 479, 6.22)


def rounded(values: tuple[float | None, ...]) -> list[float]:
    return [round(value, 1) for value in values if value is not None]


@pytest.mark.parametrize(
    ("size", "discordance", "one_fit", "three_fits", "again_3", "again_5"),
    [(UCF, 0.12, 2.2, 1.8, 3.5, 2.4), (HMDB, 0.15, 4.0, 3.2, 4.4, None)], ids=["ucf101", "hmdb51"]
)  # fmt: skip
def test_the_table_of_the_specification(
    size: ListSize, discordance: float, one_fit: float, three_fits: float, again_3: float, again_5: float | None
) -> None:
    one, three, five = list_power(size, discordance=discordance).smallest
    assert rounded((one.other_videos, three.other_videos, three.trained_again[2])) == [one_fit, three_fits, again_3]
    assert again_5 is None or rounded(five.trained_again[2:]) == [again_5]
    assert one.trained_again == (), "one fit cannot show that another training would give the same"


def test_independent_videos_of_a_single_fit_add_a_video() -> None:
    size = ListSize("b2n", "k400", "novel_val", ("novel",), 750, None, 1.0)
    difference = list_power(size).smallest[0].other_videos
    assert difference is not None
    assert round(difference - 100 / 750, 1) == 4.0, "the specification's table, to which the exact test adds a video"
    three = list_power(size).smallest[1]
    assert rounded((three.other_videos, three.trained_again[2])) == [3.2, 4.4]


def test_more_pairs_need_a_larger_difference_and_guesses_are_named() -> None:
    plain, many = list_power(UCF), list_power(UCF, pairs=45)
    for a, b in zip(plain.smallest, many.smallest, strict=True):
        assert a.other_videos is not None and b.other_videos is not None and a.other_videos < b.other_videos
    assert plain.fit_sds == (0.0, 0.5, 1.0) and plain.design_effect == pytest.approx(1.93)
    texts = ("discordance 15 %", "design effect 1.93", "correlation 0.5 between repeats", "SD between fits: 0, 0.5, 1")
    assert len(plain.guesses) == 4 and all(t in g for t, g in zip(texts, plain.guesses, strict=True))
    stated = list_power(UCF, discordance=0.15)
    assert len(stated.guesses) == 3 and stated.smallest == plain.smallest


def test_measured_numbers_replace_guesses() -> None:
    pairs = [MeasuredPair("a", "b", 0.1, 0.4, 1.5, 0.0001), MeasuredPair("b", "c", 0.2, 0.6, 2.5, 0.0003)]
    power = list_power(UCF, pairs)
    assert (power.discordance, power.agreement, power.design_effect) == pytest.approx((15.0, 0.5, 2.0))
    assert power.fit_sds == pytest.approx((100 * math.sqrt(0.0002),)) and not power.guesses
    assert power.measured == ("a - b", "b - c")


def test_sizes_of_lists_that_are_not_prepared_are_the_published_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ("--runs", tmp_path / "runs", "--lists-dir", tmp_path, "--cache", tmp_path)
    assert in_process("power", "--protocol", "b2n", "--dataset", "ucf101", "hmdb51", "--json", *folders) == 0
    data = json.loads(capsys.readouterr().out)
    sizes = [(power["size"]["dataset"], power["size"]["list"], power["size"]["videos"]) for power in data]
    assert sizes == [
        ("ucf101", "base_val", 2088), ("ucf101", "novel_val", 1695), ("ucf101", "val", 3783),
        ("hmdb51", "base_val", 780), ("hmdb51", "novel_val", 750), ("hmdb51", "val", 1530),
    ]  # fmt: skip
    assert not any(power["size"]["prepared"] for power in data)
    assert [[s["fits"] for s in power["smallest"]] for power in data] == [[1, 3, 5]] * 6
    assert in_process("power", "--protocol", "few_shot", "zero_shot", "--dataset", "ucf101", *folders) == 0
    out = capsys.readouterr().out
    assert "few_shot/ucf101 val    k2 k4 k8 k16  3,783" in out, "one list of four parts is shown once"
    assert all(f"zero_shot/ucf101 val{i}" in out for i in (1, 2, 3))
    assert "published size; the list is not prepared" in out and "guessed for few_shot/ucf101 val, zero_shot" in out


def test_all_published_datasets_are_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ("--runs", tmp_path / "runs", "--lists-dir", tmp_path, "--cache", tmp_path)
    assert in_process("power", "--protocol", "b2n", "--json", *folders) == 0
    datasets = [power["size"]["dataset"] for power in json.loads(capsys.readouterr().out)]
    assert list(dict.fromkeys(datasets)) == ["k400", "hmdb51", "ucf101", "ssv2"]


def test_clusters_are_counted_in_the_rows_of_a_list(shared: Path) -> None:
    folder = next((path for path in (shared / "splits").rglob("datasets_splits") if path.is_dir()), None)
    folder = folder or next(path.parent.parent for path in (shared / "splits").rglob("ucf_splits/val1.txt"))
    settings = load_settings({"lists": str(folder)})
    ucf, hmdb = evaluation_lists(["few_shot"], ["ucf101", "hmdb51"], settings)
    assert (ucf.videos, ucf.clusters, ucf.prepared, ucf.guesses) == (3783, 707, True, ())
    assert ucf.videos_per_cluster == pytest.approx(5.65, abs=0.005)
    # One name does not have the format of the card, so that it is a cluster by itself.
    assert hmdb.clusters == 479 and hmdb.videos_per_cluster == pytest.approx(6.22, abs=0.005)


def records_of_two_methods(folder: Path, videos: int = 120) -> ListSize:
    """Three fits of two methods on one list without clusters."""
    for method, accuracy in (("a", 0.7), ("b", 0.6)):
        for index in (1, 2, 3):
            sample = Sample(
                method=method, repeat=("train_subset", index), accuracy=accuracy + 0.02 * index, shots=16, videos=videos
            )
            write_sample(folder, replace(sample, list_name="base_val"))
    return ListSize("b2n", "mini_target", "base_val", ("base",), videos, videos, 1.0)


@pytest.mark.slow
def test_a_measured_pair_gives_the_variance_of_its_difference(tmp_path: Path) -> None:
    size = records_of_two_methods(tmp_path)
    records, damaged = stored_records(tmp_path)
    pairs, unread = measured_pairs(records, [size])
    assert not damaged and not unread
    ((pair,),) = pairs.values()
    hits: dict[str, dict[int, np.ndarray]] = {"a": {}, "b": {}}
    for item in records:
        frame = read_predictions(item.path.with_name(item.record.predictions.file))
        m = item.record.measurement
        hits[m.method.name][m.protocol.repeat.index] = (frame["id1"] == frame["label"]).to_numpy(dtype=float)
    differences = np.stack([hits["a"][i] - hits["b"][i] for i in (1, 2, 3)])
    labels = frame["label"].to_numpy()
    mean = differences.mean(axis=0)
    variance = sum(mean[labels == c].var(ddof=1) * (labels == c).sum() for c in np.unique(labels)) / 120**2
    psi, pooled = (differences**2).mean(), (mean**2).mean()
    assert pair.discordance == pytest.approx(psi)
    assert pair.agreement == pytest.approx((3 * pooled / psi - 1) / 2)
    assert pair.design_effect * pooled / 120 == pytest.approx(variance)
    assert pair.between is not None and pair.between >= 0
    power = list_power(size, [pair])
    delta = power.smallest[1].other_videos
    assert delta is not None
    delta /= 100
    rest = (pooled - delta**2) * pair.design_effect / 120
    expected = stats.norm.isf(0.025) * math.sqrt(variance) + stats.norm.ppf(0.8) * math.sqrt(rest)
    assert delta == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_records_of_other_lists_and_equal_predictions_are_not_used(tmp_path: Path) -> None:
    size = records_of_two_methods(tmp_path)
    records, _ = stored_records(tmp_path)
    for other in (replace(size, list="novel_val"), replace(size, dataset="ucf101"), replace(size, videos=121)):
        assert measured_pairs(records, [other]) == ({}, [])
    only_a = [item for item in records if item.record.measurement.method.name == "a"]
    assert measured_pairs(only_a, [size]) == ({}, [])


@pytest.mark.slow
def test_the_verb_reads_records_and_names_damaged_files(
    finished_runs: Path, small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ("power", "--protocol", "b2n", "--dataset", small_dataset, "--cache", tmp_path)
    assert in_process(*request, "--runs", finished_runs) == 0
    out = capsys.readouterr().out
    assert "b2n/shapes base_val" in out and "guessed for" in out and "measured from" not in out, "one row is no pair"
    broken = tmp_path / "records" / "x.record.json"
    broken.parent.mkdir()
    broken.write_text("{", encoding="utf-8")
    assert in_process(*request, "--records", broken.parent) == 1
    assert f"{broken} is not a JSON file" in capsys.readouterr().err
    assert in_process(*request, "--runs", broken.parent, "--discordance", 0.2) == 0, "no records are read"
    assert "discordance 20 %" in capsys.readouterr().out


@pytest.mark.slow
def test_the_verb_measures_from_stored_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = (
        "power",
        "--protocol",
        "b2n",
        "--dataset",
        "mini_target",
        "--cache",
        tmp_path,
        "--runs",
        tmp_path / "runs",
    )
    assert in_process(*request, "--json") == 0
    base = json.loads(capsys.readouterr().out)[0]["size"]
    assert (base["list"], base["prepared"]) == ("base_val", True)
    records_of_two_methods(tmp_path / "records", base["videos"])
    assert in_process(*request, "--json", "--records", tmp_path / "records") == 0
    measured, *others = json.loads(capsys.readouterr().out)
    assert measured["measured"] == ["a - b"] and len(measured["fit_sds"]) == 1 and measured["guesses"] == []
    assert all(not other["measured"] and len(other["fit_sds"]) == 3 for other in others)
    assert in_process(*request, "--records", tmp_path / "records") == 0
    assert "  measured from a - b\n" in capsys.readouterr().out
    assert in_process(*request, "--json", "--records", tmp_path / "records", "--discordance", 0.5) == 0
    stated = json.loads(capsys.readouterr().out)[0]
    assert stated["discordance"] == 50.0 and stated["design_effect"] == measured["design_effect"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--protocol is missing.\n  Example: python -m harness power --protocol b2n"),
        (("--protocol", "b2n", "--discordance", "0"), "--discordance is 0, expected a share above 0 and up to 1."),
        (("--protocol", "b2n", "--discordance", "nan"), "--discordance is nan, expected a share above 0 and up to 1."),
        (("--protocol", "b2n", "--discordance", "15"), "--discordance is 15, expected a share above 0 and up to 1."),
        (("--protocol", "b2n", "--pairs", "0"), "--pairs is 0, expected a number of pairs from 1."),
        (("--protocol", "b2n", "--dataset", "hmdb51", "--records", "nowhere"), "folder nowhere of --records does not"),
        (("--protocol", "b3n"), "no protocol"),
        (("--protocol", "zero_shot", "--dataset", "k400"), "k400 is a zero-shot target only with another source."),
        (("--protocol", "supervised", "--dataset", "k600"), "python -m harness data prepare k600 --annotations DIR"),
    ],
)
def test_errors_name_the_value_and_the_fix(
    arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ("--runs", tmp_path / "runs", "--lists-dir", tmp_path, "--cache", tmp_path)
    assert in_process("power", *arguments, *folders) == 2
    assert message in capsys.readouterr().err
