"""Figures: valid SVG that holds what was measured, follows the page's colours and keeps foreign text as text."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.base.errors import UserError
from harness.spec import Column
from reports.aggregate import rows_of
from reports.classes import class_changes, confusion
from reports.columns import shots_of
from reports.curves import few_shot_curves
from reports.entries import read_entries
from reports.feature_map import feature_map
from reports.plot import INK, MARKERS
from reports.row import Row
from reports.scatter import accuracy_cost, base_novel
from results.compare import compare
from results.predictions import read_predictions
from results.record import read_record, write_record
from tests.results.factories import Sample, write_sample

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '$x^2$ <script>alert(1)</script> & "q" \u202e'


@pytest.fixture(scope="module")
def rows(grid_runs: Path) -> list[Row]:
    return rows_of(read_entries(grid_runs).entries)


def chosen(rows: list[Row], protocol: str) -> list[Row]:
    return [row for row in rows if row.protocol == protocol]


def texts(figure: str) -> list[str]:
    """All text of an SVG; fails on anything that is not well-formed."""
    root = ET.fromstring(figure)
    assert root.tag == f"{SVG}svg" and root.get("role") == "img" and root.get("aria-label")
    assert not list(root.iter(f"{SVG}script"))
    assert INK not in figure and "currentColor" in figure
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def marks(figure: str) -> int:
    """How many marker glyphs are drawn."""
    return len(list(ET.fromstring(figure).iter(f"{SVG}use")))


def test_few_shot_curves_have_a_dot_for_each_repeat(rows: list[Row], tmp_path: Path) -> None:
    figure = few_shot_curves(chosen(rows, "few_shot"), "mini target")
    shown = texts(figure)
    assert {"2", "4", "8", "16", "ViFi-CLIP", "Vanilla CLIP"} <= set(shown)
    before = marks(figure)
    few = Sample(protocol="few_shot", part="k16", shots=16)
    one = [write_sample(tmp_path / "one", few, repeat=("seed", 1))]
    assert one
    for index in (1, 2, 3):
        write_sample(tmp_path / "three", few, repeat=("seed", index))
    dots = [marks(few_shot_curves(rows_of(read_entries(tmp_path / name).entries), "x")) for name in ("one", "three")]
    assert dots[1] - dots[0] == 2 and before > 20


def test_a_custom_few_shot_protocol_of_untrained_rows_has_a_curve(tmp_path: Path) -> None:
    """Records of untrained methods state no K; the parts of the protocol are named after it."""
    for part, accuracy in (("k3", 0.4), ("k7", 0.6)):
        path = write_sample(tmp_path / "runs", protocol="few_shot", part=part, trained=False, accuracy=accuracy)
        record = read_record(path)
        columns = (Column("three", "k3"), Column("seven", "k7"))
        write_record(path, replace(record, columns=columns))
    rows = rows_of(read_entries(tmp_path / "runs").entries)
    assert shots_of(rows) == {"three": 3, "seven": 7}
    assert {"3", "7"} <= set(texts(few_shot_curves(rows, "mine")))


def test_base_against_novel_has_iso_curves_of_the_harmonic_mean(rows: list[Row]) -> None:
    shown = texts(base_novel(chosen(rows, "b2n"), "mini target"))
    assert "HM 50" in shown and "ViFi-CLIP" in shown


def without_cost(row: Row) -> Row:
    """A row of records whose GFLOPs could not be counted."""
    costs = [replace(entry.record.cost, gflops=None) for entry in row.entries]
    entries = [
        replace(entry, record=replace(entry.record, cost=cost)) for entry, cost in zip(row.entries, costs, strict=True)
    ]
    return replace(row, entries=tuple(entries))


def test_accuracy_against_cost(rows: list[Row]) -> None:
    b2n = chosen(rows, "b2n")
    assert "Trained parameters (millions)" in texts(accuracy_cost(b2n, "hm", "HM"))
    assert "GFLOPs per view" in texts(accuracy_cost(b2n, "hm", "HM", "gflops"))
    uncounted = [without_cost(row) for row in b2n]
    assert accuracy_cost(uncounted, "hm", "HM", "gflops") == "", "no method can be counted"
    assert marks(accuracy_cost([b2n[0], *uncounted[1:]], "hm", "HM", "gflops")) < marks(accuracy_cost(b2n, "hm", "HM"))


def test_more_rows_than_colours_are_drawn_grey(rows: list[Row]) -> None:
    many = chosen(rows, "b2n") * 4
    assert len(many) > len(MARKERS)
    assert "#888888" in base_novel(many, "x") and "#888888" in accuracy_cost(many, "hm", "x")
    assert "#888888" in few_shot_curves(chosen(rows, "few_shot") * 4, "x")


def test_class_changes_and_confusion(tmp_path: Path) -> None:
    a, b = (write_sample(tmp_path, method=m, accuracy=x, class_names=tuple(f"{EVIL}{i}" for i in range(12)))
            for m, x in (("a", 0.7), ("b", 0.4)))  # fmt: skip
    part = compare(a, b).parts[0]
    shown = texts(class_changes(part, EVIL, "b", top=5))
    assert sum(text.startswith("$x^2$ <script>") for text in shown) >= 5, "no mathematics, no markup"
    predictions = read_predictions(read_entries(tmp_path).entries[0].predictions)
    shown = texts(confusion(predictions, [f"class {i}" for i in range(12)], pairs=3))
    counts = predictions[predictions["id1"] != predictions["label"]].groupby(["label", "id1"]).size()
    label, predicted = counts.idxmax()
    assert f"class {label}" in shown and f"class {predicted}" in shown
    assert f"{counts.max() * 10:.0f}" in shown, "ten videos a class: percent of the true class"


def test_confusion_of_a_perfect_model_and_of_undecodable_videos(tmp_path: Path) -> None:
    write_sample(tmp_path, accuracy=1.0)
    predictions = read_predictions(read_entries(tmp_path).entries[0].predictions)
    predictions.loc[0, "id1"] = -1
    assert "100" in texts(confusion(predictions, [f"class {i}" for i in range(12)]))


def test_feature_map_separates_classes_and_is_repeatable() -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = 4 * np.eye(3, 16)[labels] + 0.3 * rng.normal(size=(60, 16))
    figure = feature_map(features, labels.tolist(), ["walk", "run", EVIL], title=EVIL)
    assert {"walk", "run"} <= set(texts(figure))
    assert figure == feature_map(features, labels.tolist(), ["walk", "run", EVIL], title=EVIL)


def test_feature_map_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(UserError, match="N > 3"):
        feature_map(np.zeros((2, 4)), [0, 1], ["a", "b"])
    with pytest.raises(UserError, match="NaN or infinite"):
        feature_map(np.full((5, 4), np.nan), [0] * 5, ["a"])
    with pytest.raises(UserError, match="no feature map named 'pca'"):
        feature_map(np.eye(5), [0] * 5, ["a"], method="pca")


def test_equal_figures_give_equal_text_and_names_make_ids_unique(rows: list[Row]) -> None:
    b2n = chosen(rows, "b2n")
    assert base_novel(b2n, "x", "one") == base_novel(b2n, "x", "one")
    ids = [
        {e.get("id") for e in ET.fromstring(base_novel(b2n, "x", name)).iter() if e.get("id")}
        for name in ("one", "two")
    ]
    assert not ids[0] & ids[1]
