"""Figures: valid SVG that holds what was measured, follows the page's colours and keeps foreign text as text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.base.errors import UserError
from harness.spec import Column
from reports.aggregate import rows_of
from reports.board import groups_of
from reports.columns import shots_of
from reports.entries import read_entries
from reports.feature_map import FeatureMap, MethodFeatures, draw_feature_map
from reports.figures.axes import Box, Scale, cost_scale, percent_scale, round_step
from reports.figures.classes import class_changes, confusion
from reports.figures.few_shot import few_shot_curves
from reports.figures.labels import label_points
from reports.figures.palette import COLOURS, REST
from reports.figures.scatter import accuracy_cost, base_novel, pareto
from reports.figures.separable import separable_rows
from reports.figures.svg import Drawing, Figure, text_width
from reports.ranks import analyse, rank_rows
from reports.row import Row
from results.compare import compare
from results.predictions import read_predictions
from results.record import read_record, write_record
from tests.results.factories import Sample, write_sample

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '$x^2$ <script>alert(1)</script> & "q" \u202e'


@pytest.fixture(scope="module")
def rows(grid_runs: Path) -> list[Row]:
    return list(analyse(rows_of(read_entries(grid_runs).entries)).rows)


def chosen(rows: list[Row], protocol: str) -> list[Row]:
    return [row for row in rows if row.protocol == protocol]


def texts(figure: Figure | None) -> list[str]:
    """All text of a figure; fails on anything that is not well-formed."""
    assert figure and figure.caption.endswith(".")
    return texts_of(figure.svg)


def texts_of(svg: str) -> list[str]:
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg" and root.get("role") == "img" and root.get("aria-label")
    assert not list(root.iter(f"{SVG}script"))
    assert "currentColor" in svg
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def marks(figure: Figure | None) -> int:
    """How many markers are drawn."""
    assert figure
    dots = re.findall(r'class="dots"[^>]* d="([^"]+)"', figure.svg)
    return figure.svg.count('class="mark"') + sum(path.count("h0") for path in dots)


def write_few_shot(folder: Path, index: int) -> None:
    for shots in (8, 16):
        write_sample(folder, Sample(protocol="few_shot", part=f"k{shots}", shots=shots), repeat=("seed", index))


def test_few_shot_curves_have_a_dot_for_each_repeat(rows: list[Row], tmp_path: Path) -> None:
    figure = few_shot_curves(chosen(rows, "few_shot"), "mini target")
    shown = texts(figure)
    assert {"2", "4", "8", "16", "ViFi-CLIP", "Vanilla CLIP"} <= set(shown)
    before = marks(figure)
    write_few_shot(tmp_path / "one", 1)
    for index in (1, 2, 3):
        write_few_shot(tmp_path / "three", index)
    dots = [marks(few_shot_curves(rows_of(read_entries(tmp_path / name).entries), "x")) for name in ("one", "three")]
    assert dots[1] - dots[0] == 2 * 2 and before > 20
    assert few_shot_curves(chosen(rows, "b2n"), "no shots") is None


def test_rows_of_one_k_are_dodged(rows: list[Row]) -> None:
    """The bars of different rows at one K are not at the same position."""
    few = chosen(rows, "few_shot")[:3]
    figure = few_shot_curves(few, "x")
    assert figure
    # The bars of a row are one path with a line for each K.
    paths = dict(re.findall(r'stroke="(#\w+)" stroke-width="2" [^>]*d="([^"]+)"', figure.svg))
    lines = {colour: re.findall(r"M([\d.]+) [\d.]+L([\d.]+) [\d.]+", path) for colour, path in paths.items()}
    assert all(left == right for bars in lines.values() for left, right in bars)
    at = {colour: {left for left, _ in bars} for colour, bars in lines.items()}
    assert len(at) == 3 and not set.intersection(*at.values())


def test_a_custom_few_shot_protocol_of_untrained_rows_has_a_curve(tmp_path: Path) -> None:
    """Records of untrained methods state no K; the parts of the protocol are named after it."""
    for part, accuracy in (("k3", 0.4), ("k7", 0.6)):
        path = write_sample(tmp_path / "runs", protocol="few_shot", part=part, trained=False, accuracy=accuracy)
        record = read_record(path)
        columns = (Column("three", "k3"), Column("seven", "k7"))
        write_record(path, replace(record, columns=columns))
    rows = rows_of(read_entries(tmp_path / "runs").entries)
    assert shots_of(rows) == {"three": 3, "seven": 7}
    figure = few_shot_curves(rows, "mine")
    assert figure and "At K=7" in figure.caption and "at K=3" in figure.caption


def test_base_against_novel_has_iso_curves_of_the_harmonic_mean(rows: list[Row]) -> None:
    b2n = chosen(rows, "b2n")
    figure = base_novel(b2n, "mini target")
    shown = texts(figure)
    assert "ViFi-CLIP" in shown and sum(text.startswith("HM ") for text in shown) in range(2, 9)
    best = max(b2n, key=lambda row: row.cells["base"].mean)
    assert figure and f"Base is highest for {best.title} ({best.cells['base'].mean:.1f} %)" in figure.caption
    assert base_novel(chosen(rows, "few_shot"), "x") is None


def without_cost(row: Row) -> Row:
    """A row of records whose GFLOPs could not be counted."""
    costs = [replace(entry.record.cost, gflops=None) for entry in row.entries]
    entries = [
        replace(entry, record=replace(entry.record, cost=cost)) for entry, cost in zip(row.entries, costs, strict=True)
    ]
    return replace(row, entries=tuple(entries))


def test_accuracy_against_cost(rows: list[Row]) -> None:
    b2n = chosen(rows, "b2n")
    figure = accuracy_cost(b2n, "hm", "HM")
    assert figure and {"Trained parameters (millions)", "HM (%)", "0"} <= set(texts(figure))
    assert figure.caption.startswith("On the Pareto step: ")
    assert accuracy_cost([without_cost(row) for row in b2n], "hm", "HM", "gflops") is None, "no method can be counted"
    assert accuracy_cost(b2n[:1], "hm", "HM") is None, "a single cost"


@pytest.mark.parametrize(("cost", "field"), [("fit_minutes", "seconds"), ("fit_memory", "peak_memory_gib")])
def test_costs_of_fits_compare_rows_of_one_device(rows: list[Row], cost: str, field: str) -> None:
    trained = [row for row in chosen(rows, "b2n") if row.record.fit]

    def measured(row: Row, value: float, device: str) -> Row:
        entries = []
        for entry in row.entries:
            fit = replace(entry.record.fit, **{field: value}) if entry.record.fit else None
            environment = replace(entry.record.environment, device=device)
            entries.append(replace(entry, record=replace(entry.record, fit=fit, environment=environment)))
        return replace(row, entries=tuple(entries))

    devices = ["one", "one", "other"]
    few = [measured(row, 60.0 * (i + 1), d) for i, (row, d) in enumerate(zip(trained, devices, strict=False))]
    figure = accuracy_cost(few, "hm", "HM", cost)
    assert figure and "Rows measured on one." in figure.caption
    assert few[2].title not in " ".join(texts(figure))
    assert accuracy_cost([measured(row, 0.0, "cpu") for row in trained], "hm", "HM", cost) is None


def test_pareto() -> None:
    points = [(3.0, 50.0), (1.0, 40.0), (1.0, 45.0), (2.0, 44.0), (4.0, 50.0), (5.0, 60.0)]
    assert pareto(points) == [2, 0, 5]


def test_more_rows_than_colours_are_drawn_grey_with_a_label(rows: list[Row]) -> None:
    many = chosen(rows, "b2n") * 4
    assert len(many) > len(COLOURS)
    curves = few_shot_curves(chosen(rows, "few_shot") * 4, "x")
    for figure in (base_novel(many, "x"), accuracy_cost(many, "hm", "x"), curves):
        assert figure and REST in figure.svg and figure.svg.count("<title>") >= len(many)


@pytest.mark.slow
def test_separable_rows_are_not_connected(grid_runs: Path) -> None:
    rows = rows_of(read_entries(grid_runs).entries)
    ranks = rank_rows(rows)
    groups = [group for group in groups_of(rows, ranks) if not group.published and group.dataset == "mini_target"]
    (group,) = [group for group in groups if group.protocol == "b2n"]
    ranked = [board for board in group.rows if board.row and board.rank]
    keys = [board.anchor for board in ranked]
    shown = [board.row for board in ranked if board.row]
    pairs = group.pairs[group.primary]
    figure = separable_rows(shown, pairs, keys, group.primary, "x")
    assert figure and {row.title for row in shown} <= set(texts(figure))
    alike = [replace(pair, p_holm=1.0) for pair in pairs]
    one = separable_rows(shown, alike, keys, group.primary, "x")
    assert one and one.caption.startswith(f"{shown[0].title} cannot be told apart from the next {len(shown) - 1} rows")
    apart = separable_rows(shown, [replace(pair, p_holm=0.0) for pair in pairs], keys, group.primary, "x")
    assert apart and apart.caption == "Every two rows are separable."
    assert separable_rows(shown, pairs[1:], keys, group.primary, "x") is None, "not all pairs are known"
    assert separable_rows(shown[:2], pairs, keys, group.primary, "x") is None


def test_scales() -> None:
    assert round_step(0.3) == 0.5 and round_step(2.0) == 2.0 and round_step(21) == 50
    scale = percent_scale([40.0, 60.0], 0, 100)
    assert scale.low < 40 < 60 < scale.high and 2 <= len(scale.ticks()) <= 7
    equal = percent_scale([50.0, 50.0], 0, 100)
    assert equal(50.0) == pytest.approx(50)
    cost = cost_scale([0.0, 0.2, 169.0], 50, 400)
    assert cost(0.0) < cost(0.2) < cost(1.0) < cost(169.0) < 400
    assert cost.ticks() == pytest.approx([1.0, 10.0, 100.0])
    assert Scale(1, 16, 0, 40, 2.0).ticks() == pytest.approx([1, 2, 4, 8, 16])


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(60, 380), st.floats(20, 280), st.text("ab c", min_size=1)), max_size=20))
def test_labels_do_not_overlap(points: list[tuple[float, float, str]]) -> None:
    drawing = Drawing(560, 340)
    label_points(drawing, Box(52, 14, 430, 296), [((x, y), name) for x, y, name in points])
    root = ET.fromstring(drawing.svg("x"))
    boxes = []
    for element in root.iter(f"{SVG}text"):
        x, y = float(element.get("x", "")), float(element.get("y", ""))
        boxes.append((x, y, x + text_width(element.text or ""), y + 11))
    assert all(box[2] <= 560.1 for box in boxes)
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[2] <= b[0] + 0.2 or b[2] <= a[0] + 0.2 or a[3] <= b[1] + 0.2 or b[3] <= a[1] + 0.2


def test_class_changes_and_confusion(tmp_path: Path) -> None:
    a, b = (write_sample(tmp_path, method=m, accuracy=x, class_names=tuple(f"{EVIL}{i}" for i in range(12)))
            for m, x in (("a", 0.7), ("b", 0.4)))  # fmt: skip
    part = compare(a, b).parts[0]
    figure = class_changes(part, EVIL, "b", top=5)
    shown = texts(figure)
    assert sum(text.startswith("$x^2$ <script>") for text in shown) >= 5, "no mathematics, no markup"
    assert sum("(n = " in text for text in shown) == 5 and "percent points better on" in figure.caption
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


def test_feature_map_separates_classes_and_is_repeatable(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = 4 * np.eye(3, 16)[labels] + 0.3 * rng.normal(size=(60, 16))
    noise = rng.normal(size=(60, 16))
    shown = FeatureMap(
        (MethodFeatures(EVIL, features.astype(np.float32)), MethodFeatures("noise", noise.astype(np.float32))),
        tuple(labels.tolist()), ("walk", "run", EVIL), "mini",
    )  # fmt: skip
    assert shown.nearest(shown.methods[0]) == 100 > 60 > shown.nearest(shown.methods[1])
    assert "the accuracy is 100 % with $x^2$" in shown.caption and "32 % of all pairs of videos" in shown.caption
    for name in ("a.svg", "b.svg"):
        draw_feature_map(shown, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    root = ET.fromstring((tmp_path / "a.svg").read_text("utf-8"))
    written = {"".join(element.itertext()) for element in root.iter(f"{SVG}text")}
    assert {"walk", "run", "class"} <= written and not list(root.iter(f"{SVG}script"))
    assert any(text.startswith("$x^2$ <script>") and text.endswith(": 5-NN accuracy 100 %") for text in written)


def test_the_nearest_neighbour_decides_a_tie() -> None:
    """Each video has one near neighbour of its class and one of another class."""
    angles = np.array([0.0, 0.1, 0.5, 0.6])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    shown = FeatureMap((MethodFeatures("m", features),), (0, 0, 1, 1), ("a", "b"))
    assert shown.nearest(shown.methods[0]) == 0.0, "three neighbours: one of the class, two of the other class"
    assert FeatureMap(shown.methods, (0, 0, 1, 2), ("a", "b", "c")).nearest(shown.methods[0]) == 50.0


def test_feature_map_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    def drawn(features: NDArray[np.float64], labels: tuple[int, ...], by: str = "tsne") -> None:
        methods = (MethodFeatures("m", features.astype(np.float32)),)
        draw_feature_map(FeatureMap(methods, labels, ("a", "b"), by=by), tmp_path / "f.png")

    with pytest.raises(UserError, match="N > 3"):
        drawn(np.zeros((2, 4)), (0, 1))
    with pytest.raises(UserError, match="NaN or infinite"):
        drawn(np.full((5, 4), np.nan), (0,) * 5)
    with pytest.raises(UserError, match="no feature map named 'pca'"):
        drawn(np.eye(5), (0,) * 5, by="pca")
    assert not list(tmp_path.iterdir())


def test_figures_are_small_and_equal_figures_give_equal_text(rows: list[Row]) -> None:
    b2n = chosen(rows, "b2n")
    figure = base_novel(b2n, "x")
    assert figure and figure == base_novel(b2n, "x")
    assert len(figure.svg) < 12_000
    assert not re.search(r'\bid="', figure.svg), "several figures share a page"
