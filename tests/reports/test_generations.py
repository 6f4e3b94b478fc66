"""The board of a folder with everything that must not be mixed.

`write_folder` makes it: two generations of a row, three recipes of one method, own training lists, a repeat that is
missing, two own datasets of one name, a damaged record and one of an old schema. Run this file to look at its board:
`python -m tests.reports.test_generations FOLDER`.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from reports.aggregate import rows_of
from reports.board import groups_of
from reports.board_rows import Group
from reports.console import summary
from reports.curves import few_shot_curves
from reports.entries import read_entries
from reports.export import render_table
from reports.frame import records_frame
from reports.overview import GlanceCell, overview
from reports.ranks import Ranks, rank_rows
from reports.row import Row
from reports.scatter import base_novel
from reports.site import BuiltReport, build_report
from results.record import find_records
from tests.results.factories import Sample, write_sample

OLD, NEW = "2025-03-01T00:00:00Z", "2026-03-01T00:00:00Z"
PARTS = ("base", "novel", "joint")
TITLES = {"vificlip": "ViFi-CLIP", "text_ft": "CLIP text-FT", "image_ft": "CLIP image-FT", "mine": "Mine"}


def write_row(runs: Path, accuracy: float, leave_out: tuple[tuple[str, int], ...] = (), **changes: Any) -> list[Path]:
    """All records of a base-to-novel row, without those to leave out."""
    sample = {"method": "vificlip", "created": NEW, "videos": 60, "shots": 16, **changes}
    sample.setdefault("title", TITLES.get(sample["method"], ""))
    return [
        write_sample(runs, Sample(part=part, repeat=("train_subset", i)), accuracy=accuracy + 0.02 * i, **sample)
        for part in PARTS
        for i in (1, 2, 3)
        if (part, i) not in leave_out
    ]


def write_folder(runs: Path) -> None:
    """The folder that this file is about."""
    write_row(runs / "old", 0.3, created=OLD, engine=1)
    write_row(runs, 0.7, engine=2)
    write_row(runs, 0.8, engine=2, recipe=(("lr", 8e-6),))
    write_row(runs, 0.75, engine=2, seed=7)
    write_row(runs, 0.6, engine=2, method="text_ft")
    write_row(runs, 0.4, engine=2, method="image_ft")
    write_row(runs, 0.9, engine=2, training_origin="own", lists="drawn")
    write_row(runs, 0.5, engine=2, method="mine", leave_out=(("novel", 3),))
    for root, content, accuracy in (("one", "x", 0.5), ("two", "y", 0.8)):
        own = {"dataset": "w10", "list_origin": "own", "training_origin": "own", "embedded": False}
        write_row(runs / root, accuracy, root=root, content=content, **own)
        write_row(runs / root, accuracy - 0.3, root=root, content=content, method="text_ft", **own)
    (cut, *_) = write_row(runs / "damaged", 0.5, engine=2, method="cut")
    cut.write_bytes(cut.read_bytes()[:500])
    (aged, *_) = write_row(runs / "aged", 0.5, engine=2, method="aged")
    aged.write_text(json.dumps({**json.loads(aged.read_text("utf-8")), "schema": 2}), "utf-8")


@dataclass(frozen=True)
class Made:
    """The folder, its board and what the board is made of."""

    runs: Path
    site: Path
    built: BuiltReport
    rows: list[Row]
    ranks: Ranks
    groups: list[Group]
    page: str
    board: dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("generations")
    write_folder(folder / "runs")
    built = build_report(folder / "runs", folder / "site")
    rows = rows_of(read_entries(folder / "runs").entries)
    ranks = rank_rows(rows)
    groups = [group for group in groups_of(rows, ranks) if not group.published]
    page = built.index.read_text("utf-8")
    board = json.loads((folder / "site" / "leaderboard.json").read_text("utf-8"))
    return Made(folder / "runs", folder / "site", built, rows, ranks, groups, page, board)


def measured(made: Made, dataset: str = "mini_target") -> list[dict[str, Any]]:
    """The rows of the board in JSON."""
    groups = [group for group in made.board["groups"] if not group["published"] and group["dataset"] == dataset]
    return [row for group in groups for row in group["rows"]]


def json_row(made: Made, title: str, label: str, dataset: str = "mini_target") -> dict[str, Any]:
    (row,) = [row for row in measured(made, dataset) if (row["title"], row["label"]) == (title, label)
              and not any("own training" in mark for mark in row["marks"])]  # fmt: skip
    return row


def panel(made: Made, row: dict[str, Any]) -> str:
    """The HTML of a row."""
    return made.page.split(f'<tr id="{row["id"]}"')[1].split("\n<tr id=")[0]


# --- generations


def test_two_generations_are_not_averaged(made: Made) -> None:
    row = json_row(made, "ViFi-CLIP", "")
    base = row["cells"]["base"]
    assert base["n"] == 3 and base["mean"] == pytest.approx(74, abs=1), "0.3 of the old generation has no part in it"
    assert {repeat["index"] for repeat in base["repeats"]} == {1, 2, 3}
    assert not any(name.startswith("old/") for name in row["records"])


def test_the_older_generation_is_listed_with_what_changed(made: Made) -> None:
    row = json_row(made, "ViFi-CLIP", "")
    assert len(row["superseded"]) == 9
    assert {one["record"].split("/")[0] for one in row["superseded"]} == {"old"}
    assert all("engine version 1 against 2" in one["reason"] for one in row["superseded"])
    assert any("engine version 1 against 2" in mark for mark in row["marks"])
    text = panel(made, row)
    assert '<span class="chip">9 superseded</span>' in text and "engine version 1 against 2" in text
    assert "../runs/old/" in text, "the panel links to the old records"
    with (made.site / "leaderboard.csv").open(encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["superseded"]]
    assert {line["label"] for line in lines} == {""} and "9 records" in lines[0]["superseded"]
    frame = records_frame(made.runs).frame
    assert set(frame[frame["superseded"] != ""]["record"].str.split("/").str[0]) == {"old"}


def test_a_newer_incomplete_generation_does_not_replace_a_complete_one(tmp_path: Path) -> None:
    write_row(tmp_path / "old", 0.3, created=OLD)
    write_row(tmp_path / "new", 0.9, engine=2, leave_out=(("joint", 3),))
    (row,) = rows_of(read_entries(tmp_path).entries)
    assert row.cells["base"].mean == pytest.approx(34, abs=1) and len(row.superseded) == 8
    assert "although older: these are incomplete" in row.superseded[0].reason


def accept(folder: Path, time: str) -> None:
    """Make a folder one of an accepted submission."""
    (folder / "acceptance.json").write_text(json.dumps({"accepted": time}), "utf-8")


@pytest.mark.parametrize(("accepted", "shown"), [("2025-09-01T00:00:00Z", 74), ("2026-09-01T00:00:00Z", 94)])
def test_a_submission_counts_from_its_acceptance_whatever_it_claims(
    tmp_path: Path, accepted: str, shown: float
) -> None:
    write_row(tmp_path / "own", 0.7, created=NEW)
    write_row(tmp_path / "board" / "vificlip" / "v1" / "records", 0.9, engine=2, created="9999-01-01T00:00:00Z")
    accept(tmp_path / "board" / "vificlip" / "v1", accepted)
    # A submission cannot bring the time of its own acceptance.
    (tmp_path / "board" / "vificlip" / "v1" / "records" / "acceptance.json").write_text('{"accepted": "9999"}', "utf-8")
    (row,) = rows_of(read_entries(tmp_path).entries)
    assert row.cells["base"].mean == pytest.approx(shown, abs=1) and len(row.superseded) == 9


def test_an_unreadable_acceptance_is_named_and_its_records_are_the_oldest(tmp_path: Path) -> None:
    write_row(tmp_path / "own", 0.7, created=OLD)
    write_row(tmp_path / "board" / "vificlip" / "v1" / "records", 0.9, engine=2, created="9999-01-01T00:00:00Z")
    (tmp_path / "board" / "vificlip" / "v1" / "acceptance.json").write_text("{", "utf-8")
    found = read_entries(tmp_path)
    assert [one.name for one in found.damaged] == ["board/vificlip/v1/acceptance.json"]
    (row,) = rows_of(found.entries)
    assert row.cells["base"].mean == pytest.approx(74, abs=1)


def test_times_of_several_zones_are_compared_as_times(tmp_path: Path) -> None:
    """Noon in UTC is later than 13 o'clock two zones further east, and a text that is no time is oldest."""
    write_row(tmp_path / "east", 0.3, created="2026-01-01T13:00:00+02:00", engine=2)
    write_row(tmp_path / "utc", 0.7, created="2026-01-01T12:00:00Z")
    write_row(tmp_path / "odd", 0.5, created="tomorrow", engine=3)
    (row,) = rows_of(read_entries(tmp_path).entries)
    assert row.cells["base"].mean == pytest.approx(74, abs=1)


# --- one fit for all parts of a repeat


def test_parts_of_another_fit_of_the_same_repeat_do_not_enter_its_row(tmp_path: Path) -> None:
    write_row(tmp_path / "a", 0.4, created=OLD)
    again = write_row(tmp_path / "b", 0.9, created=NEW, draw=1)
    for path in again:
        if "novel-" in path.name or "joint-" in path.name:
            path.unlink()
    (row,) = rows_of(read_entries(tmp_path).entries)
    assert set(row.cells) == {"base"}, "base is of the new fits, and the other parts of the old ones do not count"
    assert row.cells["base"].mean == pytest.approx(94, abs=1)
    assert len(row.superseded) == 9 and "its fit was computed again" in row.superseded[0].reason
    assert rank_rows([row]).of(row, "base") is None


# --- names


VARIANTS = {"", "lr 8e-06", "seed 7"}


def test_three_recipes_of_one_method_are_told_apart_on_the_board(made: Made) -> None:
    rows = [row for row in measured(made) if row["title"] == "ViFi-CLIP"]
    assert {row["label"] for row in rows if "own training list" not in " ".join(row["marks"])} == VARIANTS
    (group,) = [g for g in made.groups if g.dataset == "mini_target" and len(g.rows) > 3]
    names = [row.name for row in group.rows]
    assert len(set(names)) == len(names)
    for label in VARIANTS - {""}:
        assert f'<bdi class="variant">{label}</bdi>' in made.page
        assert f'data-name="ViFi-CLIP ({label})"' in made.page, "sorting, pair selects and copies use it"


def test_they_are_told_apart_in_comparisons_figures_cards_tables_and_on_the_console(made: Made) -> None:
    rows = [row for row in made.rows if row.dataset == "mini_target" and row.title == "ViFi-CLIP"]
    legend = re.sub(r"<[^>]+>", "\n", base_novel(rows, "x"))
    for name in ("ViFi-CLIP", "ViFi-CLIP (lr 8e-06)", "ViFi-CLIP (seed 7)"):
        assert name in legend.splitlines()
    cards = made.page.split('<section id="methods">')[1].split("</section>")[0]
    assert '<bdi class="variant">lr 8e-06</bdi>' in cards and '<bdi class="variant">seed 7</bdi>' in cards
    for format in ("md", "latex", "html"):
        text = render_table("b2n", made.runs, False, format).text
        assert "ViFi-CLIP (lr 8e-06)" in text and "ViFi-CLIP (seed 7)" in text
    lines = list(csv.DictReader(render_table("b2n", made.runs, False, "csv").text.splitlines()))
    assert {line["label"] for line in lines if line["method"] == "ViFi-CLIP"} >= VARIANTS
    records = [path for path in find_records(made.runs) if not path.is_relative_to(made.runs / "old")]
    text = summary(records, made.runs).text
    assert len([line for line in text.splitlines() if "ViFi-CLIP (lr 8e-06)" in line]) == 1
    assert len(set(text.splitlines())) == len(made.rows)


def test_compared_rows_have_their_second_labels(tmp_path: Path) -> None:
    write_row(tmp_path / "runs", 0.7, options=(("layers", 2),))
    write_row(tmp_path / "runs", 0.5, options=(("layers", 3),))
    page = build_report(tmp_path / "runs", tmp_path / "site").index.read_text("utf-8")
    summary_line = page.split('<details class="comparison"')[1].split("</summary>")[0]
    assert "ViFi-CLIP (option layers 2)" in summary_line and "ViFi-CLIP (option layers 3)" in summary_line


def test_legends_of_long_titles_and_labels_stay_different(tmp_path: Path) -> None:
    few = Sample(protocol="few_shot", shots=16, title="A title that is much longer than a legend takes")
    for value in ("one long value that goes on and on", "one long value that goes on, and then ends"):
        write_sample(tmp_path, few, part="k16", options=(("template", value),))
    figure = few_shot_curves(rows_of(read_entries(tmp_path).entries), "x")
    shown = [line for line in re.sub(r"<[^>]+>", "\n", figure).splitlines() if line.startswith("A title")]
    assert len(shown) == len(set(shown)) == 2


def test_default_options_keep_the_plain_title(tmp_path: Path) -> None:
    for layers in (2, 3):
        write_row(tmp_path, 0.5, options=(("layers", layers),), defaults=(("layers", 2),))
    labels = {row["label"] for row in made_of(tmp_path)}
    assert labels == {"", "option layers 3"}


def made_of(runs: Path) -> list[dict[str, Any]]:
    """The measured rows of a folder's board."""
    site = runs.parent / f"{runs.name}-site"
    build_report(runs, site)
    groups = json.loads((site / "leaderboard.json").read_text("utf-8"))["groups"]
    return [row for group in groups if not group["published"] for row in group["rows"]]


# --- the overview


def glance(made_or_runs: Made | Path, title: str = "ViFi-CLIP") -> GlanceCell:
    if isinstance(made_or_runs, Made):
        groups = made_or_runs.groups
    else:
        rows = rows_of(read_entries(made_or_runs).entries)
        groups = groups_of(rows, rank_rows(rows))
    found = overview(groups)
    (line,) = [line for line in found.lines if line.title == title]
    place = next(i for i, group in enumerate(found.groups) if group.dataset == "mini_target")
    cell = line.cells[place]
    assert cell is not None
    return cell


def test_the_overview_shows_the_declared_row_and_never_the_best_one(made: Made) -> None:
    cell = glance(made)
    assert cell.cell is not None and cell.cell.value == pytest.approx(74, abs=1), "0.84 and 0.79 are variants"
    assert cell.variants == 2 and set(cell.names) == VARIANTS - {""}
    assert "+2 variants" in made.page.split('id="glance"')[1].split("</section>")[0]


def test_the_overview_gives_a_range_where_no_row_is_the_declared_one(tmp_path: Path) -> None:
    write_row(tmp_path, 0.8, recipe=(("lr", 8e-6),))
    write_row(tmp_path, 0.6, seed=7)
    write_row(tmp_path, 0.5, method="text_ft")
    cell = glance(tmp_path)
    assert cell.cell is None and cell.variants == 2
    assert (cell.low, cell.high) == (pytest.approx(64, abs=1), pytest.approx(84, abs=1))
    page = build_report(tmp_path, tmp_path / "board").index.read_text("utf-8")
    assert re.search(r"2 variants</span> <span class=\"sd\">6\d\.\d to 8\d\.\d", page)


def test_a_single_changed_row_is_no_number_of_its_method_either(tmp_path: Path) -> None:
    write_row(tmp_path, 0.8, recipe=(("lr", 8e-6),))
    cell = glance(tmp_path)
    assert cell.cell is None and cell.variants == 1 and cell.names == ("lr 8e-06",)


def test_two_declared_rows_are_two_variants(tmp_path: Path) -> None:
    """Without known defaults neither of two options is the usual one."""
    for layers in (2, 3):
        write_row(tmp_path, 0.5 + layers / 10, options=(("layers", layers),))
    assert glance(tmp_path).cell is None and glance(tmp_path).variants == 2


# --- own lists and own datasets


def test_own_training_lists_have_a_table_of_their_own_a_mark_and_their_command(made: Made) -> None:
    (row,) = [row for row in measured(made) if any("own training list" in mark for mark in row["marks"])]
    assert "--lists own" in row["command"] and "+own-training" in row["signature"] and "|open|" in row["signature"]
    assert row["rank"] is None
    (group,) = [g for g in made.board["groups"] if row in g["rows"]]
    assert len(group["rows"]) == 1 and "own training list" in group["measured_as"]
    assert '<span class="chip warn">own training list</span>' in panel(made, row)
    text = render_table("b2n", made.runs, False, "md").text
    assert "own training list" in text, "a printed table says it too"


def test_two_own_datasets_of_one_name_stay_two_everywhere(made: Made) -> None:
    datasets = sorted({row.dataset for row in made.rows if row.dataset.startswith("w10")})
    assert len(datasets) == 2 and all(re.fullmatch(r"w10 \([0-9a-f]{8}\)", name) for name in datasets)
    means = {row.dataset: row.cells["base"].mean for row in made.rows if row.method == "vificlip"}
    assert sorted(round(means[name]) for name in datasets) == [54, 84], "not averaged"
    groups = [group for group in made.groups if group.dataset in datasets]
    assert len({group.anchor for group in groups}) == len(groups) == 2
    for group in groups:
        assert [row.rank for row in group.rows] == [1, 2], "own datasets are ranked among themselves"
        assert f'<option value="{group.dataset}">' in made.page, "each can be selected"
        assert f'id="{group.anchor}"' in made.page
        figures = made.page.split(f'<table id="{group.anchor}"')[1].split('<details class="figures">')[1]
        assert group.dataset in figures.split("</details>")[0]
    tables = {line["table"] for line in csv.DictReader(render_table("b2n", made.runs, False, "csv").text.splitlines())}
    assert {f"b2n_{name}" for name in datasets} <= tables
    sections = made.page.split('<section id="datasets">')[1]
    assert all(f"<bdi>{name}</bdi>" in sections for name in datasets)
    text = summary(find_records(made.runs / "one") + find_records(made.runs / "two"), made.runs).text
    assert all(name in text for name in datasets)
    assert set(records_frame(made.runs).frame["shown_dataset"]) >= set(datasets)


def test_one_own_dataset_needs_no_second_name_wherever_it_lies(tmp_path: Path) -> None:
    own = {"dataset": "w10", "list_origin": "own", "training_origin": "own", "content": "x"}
    write_row(tmp_path / "a", 0.5, root="a", **own)
    write_row(tmp_path / "b", 0.4, root="b", method="text_ft", **own)
    rows = rows_of(read_entries(tmp_path).entries)
    assert {row.dataset for row in rows} == {"w10"} and len({row.group for row in rows}) == 1


def test_a_dataset_may_be_called_like_another_with_its_place(tmp_path: Path) -> None:
    own = {"list_origin": "own", "training_origin": "own"}
    for root in ("a", "b"):
        write_row(tmp_path / root, 0.5, dataset="w10", root=root, content=root, **own)
    shown = {row.dataset for row in rows_of(read_entries(tmp_path).entries)}
    odd = min(shown)
    write_row(tmp_path / "odd", 0.5, dataset=odd, root="c", content="c", **own)
    rows = rows_of(read_entries(tmp_path).entries)
    assert len({row.dataset for row in rows}) == 3


def test_the_place_of_an_own_dataset_is_to_be_filled_in(made: Made) -> None:
    row = measured(made, next(row.dataset for row in made.rows if row.dataset.startswith("w10")))[0]
    assert "--dataset PATH-TO-w10" in row["command"] and row["command_notes"][0].startswith("PATH-TO-w10: ")


# --- damaged records


def test_damaged_and_old_records_are_left_out_and_named(
    made: Made, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names = {one.name for one in made.built.damaged}
    assert {name.split("/")[0] for name in names} == {"damaged", "aged"} and len(names) == 2
    section = made.page.split('<section id="damaged">')[1].split("</section>")[0]
    assert all(name in section for name in names) and "schema is 2" in section and "python -m harness run" in section
    assert str(made.runs) not in made.page, "the board tells no place on this machine"
    assert {one["record"] for one in made.board["damaged"]} == names
    assert {one.name for one in records_frame(made.runs).damaged} == names
    shown = {row.method for row in made.rows}
    assert {"cut", "aged"} <= shown, "the other records of these rows are shown"
    code = main(["report", "--runs", str(made.runs), "--out", str(tmp_path / "site")])
    errors = capsys.readouterr().err
    assert code == 1 and (tmp_path / "site" / "index.html").is_file()
    assert all(name in errors for name in names) and errors.count("left out:") == 2
    code = main(["report", "--runs", str(made.runs), "--table", "b2n", "--out", str(tmp_path / "table.md")])
    errors = capsys.readouterr().err
    assert code == 1 and "ViFi-CLIP" in (tmp_path / "table.md").read_text("utf-8") and errors.count("left out:") == 2


def test_a_report_without_damage_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_row(tmp_path / "runs", 0.5)
    assert main(["report", "--runs", str(tmp_path / "runs")]) == 0
    assert "left out" not in capsys.readouterr().err


def test_a_folder_of_damaged_records_alone_has_a_board(tmp_path: Path) -> None:
    for path in write_row(tmp_path / "runs", 0.5):
        path.write_text("{", "utf-8")
    built = build_report(tmp_path / "runs", tmp_path / "site")
    assert len(built.damaged) == 9 and "9 damaged files" in built.index.read_text("utf-8")
    assert "ViFi-CLIP" in render_table("b2n", tmp_path / "runs").text


def test_the_summary_of_a_run_names_damaged_records(tmp_path: Path) -> None:
    first, *others = write_row(tmp_path, 0.5)
    first.write_text("", "utf-8")
    found = summary([first, *others], tmp_path)
    assert "ViFi-CLIP" in found.text and [one.name for one in found.damaged] == [first.relative_to(tmp_path).as_posix()]
    assert "2 of 3 repeats" in found.text


def test_unreadable_predictions_stop_nothing(tmp_path: Path) -> None:
    for method in ("vificlip", "text_ft", "image_ft"):
        paths = write_row(tmp_path / "runs", 0.5, method=method)
    file = next(paths[0].parent.glob("*.predictions.csv.gz"))
    file.unlink()
    rows = {row["method"]: row for row in made_of(tmp_path / "runs")}
    (reason,) = rows["image_ft"]["not_ranked"]
    assert file.name in reason and str(tmp_path) not in reason and rows["image_ft"]["rank"] is None
    assert rows["vificlip"]["rank"] is not None and rows["text_ft"]["rank"] is not None


# --- a copy


def test_copies_of_records_change_nothing_but_are_listed(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.runs, tmp_path / "runs")
    shutil.copytree(made.runs / "one", tmp_path / "runs" / "one again")
    rows = rows_of(read_entries(tmp_path / "runs").entries)
    assert [row.key for row in rows] == [row.key for row in made.rows]
    before = {row.key: row.cells for row in made.rows}
    for row in rows:
        assert {name: cell.mean for name, cell in row.cells.items()} == {
            name: cell.mean for name, cell in before[row.key].items()
        }
    assert sum(len(row.superseded) for row in rows) == 9 + 18


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    write_folder(folder / "runs")
    sys.stdout.write(f"{build_report(folder / 'runs', folder / 'site').index}\n")
