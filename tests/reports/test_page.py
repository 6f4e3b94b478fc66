"""The first screen without a browser: verdicts, published values, explanations, tests of pairs, panels."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from reports.aggregate import rows_of
from reports.board import groups_of
from reports.board_rows import Group
from reports.class_scores import ClassScores
from reports.entries import read_entries
from reports.figures.strips import MOST_BARS, class_strip, curve_strip
from reports.page.beside import two_words
from reports.page.heads import explanations
from reports.page.pairs import pair_matrix
from reports.page.standing import standing
from reports.ranks import rank_rows
from reports.site import build_report
from results.curve_file import CURVE, curve_of
from results.published_numbers import is_own_number, published_numbers
from tests.reports.mixed import Mixed
from tests.results.factories import Sample, write_sample


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ("frames 32, paper 16", "16 frames"),
        ("frames 8, prescribed 16", "8 frames"),
        ("clips 1, paper 4", "4 clips"),
        ("normalize imagenet, paper clip", "other normalize"),
        ("1x1 views, paper 3 views", "3 views"),
        ("backbone ViT-L-14/openai, paper ViT-B-16/openai", "other backbone"),
        ("corrected class names", "corrected names"),
        ("class text llm-rewritten, paper class names", "class text"),
        ("starts from clip, paper ViFi-CLIP trained on K-400", "other start"),
        ("changed recipe: lr 8e-06 against 2e-06", "changed recipe"),
        ("not a published recipe", "own recipe"),
        ("precision of the fit fp16, paper not stated", "fit precision"),
        ("own training list", "own list"),
        ("1 of 3 repeats", "1 of 3 repeats"),
        ("extra data: k400", "extra data"),
    ],
)
def test_a_difference_in_few_words(difference: str, words: str) -> None:
    assert two_words(difference) == words


def test_values_of_the_own_paper_are_known() -> None:
    own = {(n.method, n.source) for n in published_numbers() if is_own_number(n)}
    assert {
        ("vifi-clip", "vificlip_slides"),
        ("x-clip", "xclip"),
        ("tc-clip", "tc_clip"),
        ("froster", "froster"),
    } <= own
    assert not {("vanilla-clip", "froster"), ("open-vclip", "froster"), ("aim", "froster")} & own


def group_of(mixed: Mixed, choose: Callable[[Group], bool]) -> Group:
    return next(group for group in mixed.groups if choose(group))


@pytest.mark.slow
def test_the_verdict_names_the_leader_and_the_rows_that_cannot_be_told_apart(mixed: Mixed) -> None:
    ranked = group_of(mixed, lambda group: sum(bool(row.rank) for row in group.rows) > 1)
    found = standing(ranked)
    assert found.leader is not None and found.leader.rank == 1
    assert len(found.ties) + found.more == sum(row.rank == 1 for row in ranked.rows) - 1
    assert found.worse == sum((row.rank or 0) > 1 for row in ranked.rows)
    alone = group_of(mixed, lambda group: not any(row.rank for row in group.rows))
    assert standing(alone).leader is None and standing(alone).reason


def test_every_column_is_explained(mixed: Mixed) -> None:
    found = explanations(mixed.groups)
    anchors = [explanation.anchor for explanation in found]
    assert len(anchors) == len(set(anchors)) and all(len(explanation.text) > 25 for explanation in found)
    for anchor in re.findall(r'data-x="([^"]+)"', mixed.page):
        assert f'id="{anchor}"' in mixed.page


def test_a_comparison_has_the_harmonic_mean_with_the_test_of_the_ranks(mixed: Mixed) -> None:
    """Difference, interval and p values are those of `leaderboard.json`, in the direction A minus B."""
    sections = re.findall(r'<details class="comparison".*?</details>', mixed.page, flags=re.S)
    line = re.compile(r'<tr><th scope="row"><bdi>HM</bdi></th>(.*?)</tr>', flags=re.S)
    lines = [line.search(section) for section in sections]
    assert any(lines)
    groups = {group["id"]: group for group in mixed.board["groups"]}
    for section, found in zip(sections, lines, strict=True):
        anchor = re.search(r'id="c-(\w+)\.', section)
        assert anchor
        group = next(group for name, group in groups.items() if re.sub(r"\W+", "_", name) == anchor[1])
        if found is None:
            assert "hm" not in group["pairs"]
            continue
        first, second = [row for row in group["rows"] if row.get("rank")][:2]
        pair = next(p for p in group["pairs"]["hm"] if {p["a"], p["b"]} == {first["id"], second["id"]})
        sign = 1 if pair["a"] == first["id"] else -1
        cells = re.findall(r"<td[^>]*>(.*?)</td>", found[1])
        assert float(cells[0].replace("\N{MINUS SIGN}", "-")) == pytest.approx(sign * pair["D"], abs=0.051)
        low, high = (float(end) for end in cells[1].replace("\N{MINUS SIGN}", "-").split(" to "))
        assert low < high and [low, high] == pytest.approx(sorted(sign * x for x in pair["interval"]), abs=0.051)
        for cell, p in ((cells[2], pair["p"]), (cells[3], pair["p_holm"])):
            assert cell == ("< 0.0001" if p < 1e-4 else f"{p:.4f}").replace("<", "&lt;")


@pytest.mark.parametrize("complete", [True, False])
def test_the_text_of_pairs_holds_their_intervals(mixed: Mixed, complete: bool) -> None:
    group = group_of(mixed, lambda group: any(len(pairs) > 2 for pairs in group.pairs.values()))
    column, pairs = next((column, pairs) for column, pairs in group.pairs.items() if len(pairs) > 2)
    kept = pairs if complete else pairs[:-1]
    text = json.loads(pair_matrix(replace(group, pairs={column: kept})))[column]
    rows, entries = text[0], [entry.split(" ") for entry in text[1].split(";")]
    positions = {row.anchor: number for number, row in enumerate(group.rows)}
    order = list(combinations(rows, 2)) if complete else [(int(entry[0]), int(entry[1])) for entry in entries]
    for pair in kept:
        at = order.index(tuple(sorted((positions[pair.a], positions[pair.b]))))
        half, p = (float(number) for number in entries[at][-2:])
        assert pair.interval and half == pytest.approx((pair.interval[1] - pair.interval[0]) / 2, abs=0.06)
        assert pair.p_holm is not None and (p == pytest.approx(pair.p_holm, rel=0.06) or pair.p_holm < 1e-4)


def test_a_strip_of_classes_has_at_most_a_hundred_bars_and_names_the_worst() -> None:
    labels = np.repeat(np.arange(400), 4)
    hits = np.arange(1600) % 4 >= (labels % 5)
    figure = class_strip(ClassScores.of([f"class {i}" for i in range(401)], labels, hits), "Top-1")
    assert figure is not None and f'viewBox="0 0 {MOST_BARS} ' in figure.svg
    assert "400 classes" in figure.caption and "(n = 4)" in figure.caption, "a class without videos is left out"
    assert class_strip(ClassScores.of(["a"], labels[:0], hits[:0]), "Top-1") is None


@pytest.mark.slow
def test_training_curves_are_in_the_panel_of_their_row(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "runs", Sample(part="base", shots=16))
    lines = [
        {"epoch": epoch, "iteration": 2 * epoch + step, "loss": 3.0 / (epoch + 1), "lr": 1e-6, "seconds": 1.0}
        for epoch in range(3) for step in range(2)
    ]  # fmt: skip
    (path.parent / CURVE).write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"epoch": 3, "it', "utf-8")
    page = unescape(build_report(tmp_path / "runs", tmp_path / "site").index.read_text("utf-8"))
    assert "Training loss of 1 fit over 3 epochs: from 3.00 to 1.00 nats" in page
    assert curve_strip([[1.0]]) is None and curve_strip([]) is None


@pytest.mark.slow
def test_names_in_any_script_cause_no_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    title = "\u89c6\u9891\u5206\u7c7b \u05e9\u05dc\u05d5\u05dd \u0627\u0644\u0641\u064a\u062f\u064a\u0648 \U0001f3c3"
    for number in range(3):
        write_sample(
            tmp_path / "runs", Sample(protocol="few_shot", part="k16", shots=16, list_name="val"),
            method=f"m{number}", title=f"{title} {number}", accuracy=0.4 + 0.1 * number,
            class_names=tuple(f"{title} {i}" for i in range(12)),
        )  # fmt: skip
    page = build_report(tmp_path / "runs", tmp_path / "site").index.read_text("utf-8")
    assert page.count(title) > 9 and not recwarn.list and capfd.readouterr() == ("", "")


def test_measured_tables_come_before_tables_of_papers(mixed: Mixed) -> None:
    for protocol in mixed.page.split('<section class="protocol')[1:]:
        datasets = protocol.split('<section class="dataset"')[1:]
        measured = ['data-as="as published"' not in part.split('<div class="group')[1] for part in datasets]
        assert measured == sorted(measured, reverse=True)


@pytest.mark.slow
def test_a_table_without_ranks_is_in_the_order_of_its_values(tmp_path: Path) -> None:
    """A table says that it is sorted; rows that cannot be ranked are below the others only if there are ranks."""
    changed = Sample(method="other", accuracy=0.7, recipe=(("lr", 1e-3),))
    for part in ("base", "novel"):
        write_sample(tmp_path / "runs", replace(changed, part=part))
        write_sample(tmp_path / "runs", method="vanilla_clip", accuracy=0.4, part=part)
    names = []
    for _ in range(2):
        rows = rows_of(read_entries(tmp_path / "runs").entries)
        group = next(group for group in groups_of(rows, rank_rows(rows)) if not group.published)
        names.append([row.row.method for row in group.rows if row.row])
        for part in ("base", "novel"):
            write_sample(tmp_path / "runs", method="vificlip", accuracy=0.6, part=part)
    assert names == [["other", "vanilla_clip"], ["vificlip", "vanilla_clip", "other"]]


@pytest.mark.slow
def test_a_table_is_sorted_by_the_most_shots_that_were_measured(tmp_path: Path) -> None:
    for method in ("a", "b"):
        for shots in (2, 4):
            write_sample(tmp_path / "runs", Sample(protocol="few_shot", part=f"k{shots}", shots=shots, method=method))
    build_report(tmp_path / "runs", tmp_path / "site")
    (group,) = [g for g in json.loads((tmp_path / "site/leaderboard.json").read_text("utf-8"))["groups"]
                if not g["published"]]  # fmt: skip
    assert (group["primary"], group["columns"]) == ("k4", ["k2", "k4"])
    assert [row["rank"] for row in group["rows"]] != [None, None]


def test_the_curve_of_a_record_is_in_the_folder_of_its_fit() -> None:
    assert curve_of(Path("fit/evals/x.record.json")) == curve_of(Path("fit/x.record.json")) == Path("fit") / CURVE
