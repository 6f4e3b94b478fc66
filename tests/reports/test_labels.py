"""Rows of one title have different names wherever they are shown, and the overview shows the declared row."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from reports.aggregate import rows_of
from reports.board import groups_of
from reports.console import summary
from reports.entries import read_entries
from reports.export import render_table
from reports.figures.few_shot import few_shot_curves
from reports.figures.scatter import base_novel
from reports.overview import GlanceCell, overview
from reports.ranks import rank_rows
from reports.site import build_report
from results.record import find_records
from tests.reports.mixed import Mixed, board_rows, measured, write_row
from tests.results.factories import Sample, write_sample

VARIANTS = {"", "lr 8e-06", "seed 7"}


def test_three_recipes_of_one_method_are_told_apart_on_the_board(mixed: Mixed) -> None:
    rows = [row for row in measured(mixed) if row["title"] == "ViFi-CLIP"]
    assert {row["label"] for row in rows if "own training list" not in " ".join(row["marks"])} == VARIANTS
    (group,) = [g for g in mixed.groups if g.dataset == "mini_target" and len(g.rows) > 3]
    names = [row.name for row in group.rows]
    assert len(set(names)) == len(names)
    for label in VARIANTS - {""}:
        assert f'<bdi class="variant">{label}</bdi>' in mixed.page
        assert f'data-name="ViFi-CLIP ({label})"' in mixed.page, "sorting, pair selects and copies use it"


@pytest.mark.slow
def test_they_are_told_apart_in_comparisons_figures_cards_tables_and_on_the_console(mixed: Mixed) -> None:
    rows = [row for row in mixed.rows if row.dataset == "mini_target" and row.title == "ViFi-CLIP"]
    figure = base_novel(rows, "x")
    legend = re.sub(r"<[^>]+>", "\n", figure.svg if figure else "")
    for name in ("ViFi-CLIP", "ViFi-CLIP (lr 8e-06)", "ViFi-CLIP (seed 7)"):
        assert name in legend.splitlines()
    cards = mixed.page.split('<section id="methods">')[1].split("</section>")[0]
    assert '<bdi class="variant">lr 8e-06</bdi>' in cards and '<bdi class="variant">seed 7</bdi>' in cards
    for format in ("md", "latex", "html"):
        text = render_table("b2n", mixed.runs, False, format).text
        assert "ViFi-CLIP (lr 8e-06)" in text and "ViFi-CLIP (seed 7)" in text
    lines = list(csv.DictReader(render_table("b2n", mixed.runs, False, "csv").text.splitlines()))
    assert {line["label"] for line in lines if line["method"] == "ViFi-CLIP"} >= VARIANTS
    records = [path for path in find_records(mixed.runs) if not path.is_relative_to(mixed.runs / "old")]
    text = summary(records, mixed.runs).text
    assert len([line for line in text.splitlines() if "ViFi-CLIP (lr 8e-06)" in line]) == 1
    assert len(set(text.splitlines())) == len(mixed.rows)


@pytest.mark.slow
def test_compared_rows_have_their_second_labels(tmp_path: Path) -> None:
    write_row(tmp_path / "runs", 0.7, options=(("layers", 2),))
    write_row(tmp_path / "runs", 0.5, options=(("layers", 3),))
    page = build_report(tmp_path / "runs", tmp_path / "site").index.read_text("utf-8")
    summary_line = page.split('<details class="comparison"')[1].split("</summary>")[0]
    assert "ViFi-CLIP (option layers 2)" in summary_line and "ViFi-CLIP (option layers 3)" in summary_line


def test_legends_of_long_titles_and_labels_stay_different(tmp_path: Path) -> None:
    few = Sample(protocol="few_shot", shots=16, title="A title that is much longer than a legend takes")
    for value in ("one long value that goes on and on", "one long value that goes on, and then ends"):
        for shots in (8, 16):
            write_sample(tmp_path, few, part=f"k{shots}", shots=shots, options=(("template", value),))
    figure = few_shot_curves(rows_of(read_entries(tmp_path).entries), "x")
    lines = re.sub(r"<title>[^<]*</title>|<[^>]+>", "\n", figure.svg if figure else "").splitlines()
    shown = [line for line in lines if line.startswith("A title")]
    assert len(shown) == len(set(shown)) == 2


@pytest.mark.slow
def test_default_options_keep_the_plain_title(tmp_path: Path) -> None:
    for layers in (2, 3):
        write_row(tmp_path, 0.5, options=(("layers", layers),), defaults=(("layers", 2),))
    labels = {row["label"] for row in board_rows(tmp_path)}
    assert labels == {"", "option layers 3"}


def glance(mixed_or_runs: Mixed | Path, title: str = "ViFi-CLIP") -> GlanceCell:
    if isinstance(mixed_or_runs, Mixed):
        groups = mixed_or_runs.groups
    else:
        rows = rows_of(read_entries(mixed_or_runs).entries)
        groups = groups_of(rows, rank_rows(rows))
    found = overview(groups)
    (line,) = [line for line in found.lines if line.title == title]
    place = next(i for i, group in enumerate(found.groups) if group.dataset == "mini_target")
    cell = line.cells[place]
    assert cell is not None
    return cell


def test_the_overview_shows_the_declared_row_and_never_the_best_one(mixed: Mixed) -> None:
    cell = glance(mixed)
    assert cell.cell is not None and cell.cell.value == pytest.approx(74, abs=1), "0.84 and 0.79 are variants"
    assert cell.variants == 2 and set(cell.names) == VARIANTS - {""}
    assert "+2 variants" in mixed.page.split('id="glance"')[1].split("</section>")[0]


@pytest.mark.slow
def test_the_overview_gives_a_range_where_no_row_is_the_declared_one(tmp_path: Path) -> None:
    write_row(tmp_path, 0.8, recipe=(("lr", 8e-6),))
    write_row(tmp_path, 0.6, seed=7)
    write_row(tmp_path, 0.5, method="text_ft")
    cell = glance(tmp_path)
    assert cell.cell is None and cell.variants == 2
    assert (cell.low, cell.high) == (pytest.approx(64, abs=1), pytest.approx(84, abs=1))
    page = build_report(tmp_path, tmp_path / "board").index.read_text("utf-8")
    assert re.search(r"2 variants</span> <i>6\d\.\d to 8\d\.\d", page)


@pytest.mark.slow
def test_a_single_changed_row_is_no_number_of_its_method_either(tmp_path: Path) -> None:
    write_row(tmp_path, 0.8, recipe=(("lr", 8e-6),))
    cell = glance(tmp_path)
    assert cell.cell is None and cell.variants == 1 and cell.names == ("lr 8e-06",)


@pytest.mark.slow
def test_two_declared_rows_are_two_variants(tmp_path: Path) -> None:
    """Without known defaults neither of two options is the usual one."""
    for layers in (2, 3):
        write_row(tmp_path, 0.5 + layers / 10, options=(("layers", layers),))
    assert glance(tmp_path).cell is None and glance(tmp_path).variants == 2
