"""`score` finds every way in which a record and its predictions can disagree."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from harness.base.errors import UserError
from results.measurement import keys_of
from results.measurement_words import signature
from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS, read_predictions, write_predictions
from results.record import read_record, write_record
from results.score import score
from results.statistics.metrics import NO_PREDICTION
from tests.conftest import in_process
from tests.results.factories import write_grid, write_sample


def predictions_of(record: Path) -> Path:
    return record.with_name(json.loads(record.read_text(encoding="utf-8"))["predictions"]["file"])


def change_record(record: Path, change: Callable[[dict], None]) -> None:
    value = json.loads(record.read_text(encoding="utf-8"))
    change(value)
    record.write_text(json.dumps(value), encoding="utf-8")


def change_evaluation(path: Path, **changes: object) -> None:
    """Alter the evaluation that a record is of, with key and signature brought up to date, as a forger would do."""
    record = read_record(path)
    listed = {name: changes.pop(name) for name in list(changes) if name in ("sha256", "labels_sha256")}
    evaluation = record.measurement.evaluation
    evaluation = replace(evaluation, list=replace(evaluation.list, **listed), **changes)
    m = replace(record.measurement, evaluation=evaluation)
    write_record(path, replace(record, measurement=m, key=keys_of(m).cell, signature=signature(m)))


def change_predictions(record: Path, change: Callable[[pd.DataFrame], pd.DataFrame], seal: bool) -> None:
    """Alter the predictions; with `seal` the record's file hash is brought up to date, as a forger would do."""
    file = predictions_of(record)
    sha = write_predictions(file, change(read_predictions(file)))
    if seal:
        change_record(record, lambda value: value["predictions"].update(sha256=sha))


def flip_one(frame: pd.DataFrame) -> pd.DataFrame:
    row = frame.index[frame["id1"] == frame["label"]][0]
    frame.loc[row, ["id1", "id2"]] = frame.loc[row, ["id2", "id1"]].to_numpy()
    return frame


def flip_wrong_to_wrong(frame: pd.DataFrame) -> pd.DataFrame:
    """Change a prediction so that no metric moves: only the file hash can tell."""
    wrong = frame[(frame["id1"] != frame["label"]) & (frame["id2"] != frame["label"])].index[0]
    frame.loc[wrong, ["id1", "id2"]] = frame.loc[wrong, ["id2", "id1"]].to_numpy()
    return frame


def test_an_untouched_grid_passes(tmp_path: Path) -> None:
    paths = write_grid(tmp_path)
    result = score(tmp_path)
    assert result.passed and len(result.records) == len(paths) == len(result.recomputed)


CHANGES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], set[str]]] = {
    "one changed prediction": (flip_one, {"metric"}),
    "one removed video": (lambda f: f.drop(index=5), {"count", "list_hash"}),
    "one added video": (
        lambda f: pd.concat([f, f.iloc[[0]].assign(video="new.mp4")], ignore_index=True), {"count", "list_hash"}
    ),
    "one duplicated video": (
        lambda f: pd.concat([f, f.iloc[[3]]], ignore_index=True), {"duplicate", "count", "list_hash"}
    ),
    "one video in place of another": (
        lambda f: pd.concat([f.drop(index=5), f.iloc[[3]]], ignore_index=True), {"duplicate", "list_hash"}
    ),
    "two rows exchanged": (lambda f: f.iloc[[1, 0, *range(2, len(f))]], {"list_hash"}),
    "one changed label": (lambda f: f.assign(label=f["label"].where(f.index != 4, 1)), {"list_hash"}),
    "an id outside the label set": (lambda f: f.assign(id5=99), {"ids"}),
    "a class predicted twice": (lambda f: f.assign(id5=f["id4"]), {"ids"}),
    "probabilities not sorted": (lambda f: f.assign(p1=0.0), {"probabilities"}),
    "a video without prediction": (
        lambda f: f.assign(**{c: f[c].where(f.index != 9, NO_PREDICTION if c in ID_COLUMNS else 0.0)
                              for c in [*ID_COLUMNS, *PROBABILITY_COLUMNS]}), {"undecodable"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("seal", [False, True], ids=["as it is", "with a new file hash"])
def test_changed_predictions_are_found(tmp_path: Path, name: str, seal: bool) -> None:
    record = write_sample(tmp_path)
    change, rules = CHANGES[name]
    change_predictions(record, change, seal)
    found = {finding.rule for finding in score(record).findings}
    assert rules <= found
    assert ("file_hash" in found) is not seal


def test_a_change_that_moves_no_metric_is_found_by_the_file_hash(tmp_path: Path) -> None:
    record = write_sample(tmp_path, accuracy=0.3)
    change_predictions(record, flip_wrong_to_wrong, seal=False)
    assert [finding.rule for finding in score(predictions_of(record)).findings] == ["file_hash"]


@pytest.mark.parametrize("metric", ["top1", "top5", "mean_class"])
def test_a_changed_metric_is_found(tmp_path: Path, metric: str) -> None:
    record = write_sample(tmp_path)
    change_record(record, lambda v: v["metrics"].update({metric: v["metrics"][metric] + 1e-6}))
    (finding,) = score(record).findings
    assert finding.rule == "metric" and metric in finding.message


def test_a_changed_strict_score_is_found(tmp_path: Path) -> None:
    record = write_sample(tmp_path)
    change_record(record, lambda v: v["overlap"].update(top1_strict=50.0))
    (finding,) = score(record).findings
    assert finding.rule == "metric" and "overlap.top1_strict is recorded as 50.0, the predictions give None" in str(
        finding
    )
    change_record(record, lambda v: v["overlap"].update(top1_strict=None, seen_classes=["class 3", "class 5"]))
    (finding,) = score(record).findings
    frame = read_predictions(predictions_of(record))
    left = frame[~frame["label"].isin([3, 5])]
    strict = 100.0 * float((left["label"] == left["id1"]).mean())
    assert f"the predictions give {strict}" in finding.message
    change_record(record, lambda v: v["overlap"].update(top1_strict=strict))
    assert score(record).passed


@pytest.mark.parametrize(("name", "rule"), [("sha256", "list_hash"), ("labels_sha256", "labels")])
def test_a_changed_hash_of_the_list_or_the_labels_is_found(tmp_path: Path, name: str, rule: str) -> None:
    record = write_sample(tmp_path)
    change_evaluation(record, **{name: "0" * 64})
    assert [finding.rule for finding in score(record).findings] == [rule]
    change_record(record, lambda v: v["measurement"]["evaluation"]["list"].update({name: "1" * 64}))
    (finding,) = score(record).findings
    assert finding.rule == "record" and "key is" in finding.message, "key and signature no longer follow"


def test_a_record_of_a_part_of_its_list_passes_if_it_says_so(tmp_path: Path) -> None:
    record = write_sample(tmp_path)
    change_predictions(record, lambda f: f.drop(index=5), seal=True)
    metrics = score(record).recomputed[record].metrics
    change_record(record, lambda v: v["metrics"].update(metrics))
    assert {finding.rule for finding in score(record).findings} == {"count", "list_hash"}
    change_evaluation(record, evaluated=119)
    assert score(record).passed and read_record(record).incomplete == ("1 of 120 videos missing",)


def test_undecodable_videos_are_compared_by_name(tmp_path: Path) -> None:
    record = write_sample(tmp_path)
    undecodable = {"video": "base_1/v00003.mp4", "reason": "damaged", "sha256": "0" * 64}
    change_record(record, lambda v: v.update(undecodable=[undecodable]))
    (finding,) = score(record).findings
    assert finding.rule == "undecodable" and "base_1/v00003.mp4" in finding.message


def test_missing_and_broken_files_are_findings_and_nothing_to_score_is_an_error(tmp_path: Path) -> None:
    gone = write_sample(tmp_path, method="gone")
    predictions_of(gone).unlink()
    broken = write_sample(tmp_path, method="broken")
    broken.write_text("{", encoding="utf-8")
    cut = write_sample(tmp_path, method="cut")
    predictions_of(cut).write_bytes(predictions_of(cut).read_bytes()[:200])
    old = write_sample(tmp_path, method="old")
    change_record(old, lambda v: v.update(schema=2))
    folder = write_sample(tmp_path, method="folder")
    folder.unlink()
    folder.mkdir()
    empty = write_sample(tmp_path, method="empty")
    change_predictions(empty, lambda f: f.iloc[:0], seal=True)
    good = write_sample(tmp_path, method="good")
    result = score(tmp_path)
    rules = {finding.path: finding.rule for finding in result.findings}
    assert rules == {gone: "file", broken: "record", cut: "file", old: "record", empty: "count"}
    assert set(result.recomputed) == {good}, "one damaged record never stops the others"
    assert all("\n" not in finding.message for finding in result.findings)
    with pytest.raises(UserError, match="no record"):
        score(tmp_path / "nothing.record.json")


def test_the_verb_names_damaged_records_scores_the_others_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_sample(tmp_path, method="good")
    assert in_process("score", tmp_path) == 0
    assert capsys.readouterr().out == "1 records recomputed, 0 findings\n"
    bad = write_sample(tmp_path, method="bad")
    bad.write_text(bad.read_text(encoding="utf-8")[:300], encoding="utf-8")
    assert in_process("score", tmp_path, "--drop-last") == 1
    out, err = capsys.readouterr()
    assert f"{good}: 8 of 120 videos left out" in out and out.endswith("1 of 2 records recomputed, 1 findings\n")
    assert f"{bad}: record: {bad} is not a JSON file of schema 3" in err
    assert in_process("score", tmp_path, "--json") == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["records"], data["recomputed"]) == (2, 1) and [finding["rule"] for finding in data["findings"]] == [
        "record"
    ]
    assert in_process("score", tmp_path, "--drop-last", 0) == 2


def _with_clusters(record: Path, clusters: Callable[[str], str]) -> None:
    frame = read_predictions(predictions_of(record))
    frame["cluster"] = [clusters(video) for video in frame["video"]]
    write_predictions(predictions_of(record), frame)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clusters", "count"),
    [
        (lambda video: "film", 0),
        (lambda video: "", 0),
        (lambda video: Path(video).stem, 0),
        (lambda video: Path(video).stem if video.endswith(("v00003.mp4", "v00007.mp4")) else "film", 2),
        (lambda video: "" if video.endswith("v00003.mp4") else "film", 1),
    ],
    ids=["all match", "unknown", "independent", "two do not match", "one is unknown"],
)
def test_names_without_a_source_are_counted_with_the_first_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clusters: Callable[[str], str], count: int
) -> None:
    record = write_sample(tmp_path / "runs")
    _with_clusters(record, clusters)
    (recomputed,) = score(tmp_path / "runs").recomputed.values()
    found = recomputed.unmatched
    assert (found.videos if found else 0) == count
    in_process("score", record)
    text = capsys.readouterr().err
    assert ("of 120 video names do not have the format of the dataset" in text) == bool(count)
    in_process("score", record, "--json")
    shown = json.loads(capsys.readouterr().out).get("unmatched")
    if not count:
        assert shown is None
        return
    assert found is not None and found.first.endswith("v00003.mp4")
    assert f"{count} of 120 video names" in text and found.first in text
    assert shown == {str(record): {"videos": count, "first": found.first}}
