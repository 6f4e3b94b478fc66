"""Rows of own lists and custom datasets: separate tables, names, marks and commands."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from reports.aggregate import rows_of
from reports.console import summary
from reports.entries import read_entries
from reports.export import render_table
from reports.frame import records_frame
from results.record import find_records
from tests.reports.mixed import Mixed, measured, panel, write_row


@pytest.mark.slow
def test_own_training_lists_have_a_table_of_their_own_a_mark_and_their_command(mixed: Mixed) -> None:
    (row,) = [row for row in measured(mixed) if any("own training list" in mark for mark in row["marks"])]
    assert "--lists own" in row["command"] and "+own-training" in row["signature"] and "|open|" in row["signature"]
    assert row["rank"] is None
    (group,) = [g for g in mixed.board["groups"] if row in g["rows"]]
    assert len(group["rows"]) == 1 and "own training list" in group["measured_as"]
    assert '<span class="chip warn">own training list</span>' in panel(mixed, row)
    text = render_table("b2n", mixed.runs, False, "md").text
    assert "own training list" in text, "a printed table says it too"


@pytest.mark.slow
def test_two_own_datasets_of_one_name_stay_two_everywhere(mixed: Mixed) -> None:
    datasets = sorted({row.dataset for row in mixed.rows if row.dataset.startswith("w10")})
    assert len(datasets) == 2 and all(re.fullmatch(r"w10 \([0-9a-f]{8}\)", name) for name in datasets)
    means = {row.dataset: row.cells["base"].mean for row in mixed.rows if row.method == "vificlip"}
    assert sorted(round(means[name]) for name in datasets) == [54, 84], "not averaged"
    groups = [group for group in mixed.groups if group.dataset in datasets]
    assert len({group.anchor for group in groups}) == len(groups) == 2
    for group in groups:
        assert [row.rank for row in group.rows] == [1, 2], "own datasets are ranked among themselves"
        assert f'<option value="{group.dataset}">' in mixed.page, "each can be selected"
        assert f'id="{group.anchor}"' in mixed.page
        figures = mixed.page.split(f'<table id="{group.anchor}"')[1].split('<details class="figures">')[1]
        assert group.dataset in figures.split("</details>")[0]
    tables = {line["table"] for line in csv.DictReader(render_table("b2n", mixed.runs, False, "csv").text.splitlines())}
    assert {f"b2n_{name}" for name in datasets} <= tables
    sections = mixed.page.split('<section id="datasets">')[1]
    assert all(f"<bdi>{name}</bdi>" in sections for name in datasets)
    text = summary(find_records(mixed.runs / "one") + find_records(mixed.runs / "two"), mixed.runs).text
    assert all(name in text for name in datasets)
    assert set(records_frame(mixed.runs).frame["shown_dataset"]) >= set(datasets)


@pytest.mark.slow
def test_one_own_dataset_needs_no_second_name_wherever_it_lies(tmp_path: Path) -> None:
    own = {"dataset": "w10", "list_origin": "own", "training_origin": "own", "content": "x"}
    write_row(tmp_path / "a", 0.5, root="a", **own)
    write_row(tmp_path / "b", 0.4, root="b", method="text_ft", **own)
    rows = rows_of(read_entries(tmp_path).entries)
    assert {row.dataset for row in rows} == {"w10"} and len({row.group for row in rows}) == 1


@pytest.mark.slow
def test_a_dataset_may_be_called_like_another_with_its_place(tmp_path: Path) -> None:
    own = {"list_origin": "own", "training_origin": "own"}
    for root in ("a", "b"):
        write_row(tmp_path / root, 0.5, dataset="w10", root=root, content=root, **own)
    shown = {row.dataset for row in rows_of(read_entries(tmp_path).entries)}
    odd = min(shown)
    write_row(tmp_path / "odd", 0.5, dataset=odd, root="c", content="c", **own)
    rows = rows_of(read_entries(tmp_path).entries)
    assert len({row.dataset for row in rows}) == 3


@pytest.mark.slow
def test_the_place_of_an_own_dataset_is_to_be_filled_in(mixed: Mixed) -> None:
    row = measured(mixed, next(row.dataset for row in mixed.rows if row.dataset.startswith("w10")))[0]
    assert "--dataset PATH-TO-w10" in row["command"] and row["command_notes"][0].startswith("PATH-TO-w10: ")
