"""Published numbers: every printed value, compared with the reference copies, and the tables rebuilt from them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.plugins import registry
from reports.export import render_table
from reports.layout import LAYOUTS
from reports.lines import lines_of
from reports.tables import published_table
from results.published_numbers import (
    FOLDER,
    METHODS_FILE,
    PublishedNumber,
    common_setting,
    harness_names,
    is_own_number,
    published_numbers,
    sources,
)
from results.statistics.metrics import harmonic_mean

SHARED_TABLES = {
    "zero_shot": "zero_shot", "base_to_novel": "b2n", "few_shot": "few_shot", "supervised_k400": "supervised",
    "compute": "compute",
}  # fmt: skip


def rows_of(shared: Path, name: str) -> list[dict[str, str]]:
    with (shared / "published" / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def find(source: str, table: str, row: dict[str, str], column: str) -> PublishedNumber:
    wanted = (source, table, row["method_id"], row["dataset"], column)
    (number,) = [n for n in published_numbers() if (n.source, n.table, n.method, n.dataset, n.column) == wanted]
    return number


def column_of(row: dict[str, str]) -> str:
    """Our column: `top1` with shots is the column of that K, unless shots only restate the protocol's 16."""
    return f"k{row['shots']}" if row.get("shots") and row["metric"] == "top1" else row["metric"]


def test_every_printed_number_of_the_slides(shared: Path) -> None:
    """343 printed numbers: values, spreads, frames, GFLOPs, throughputs and the 28 differences."""
    compared: Counter[str] = Counter()
    for name, table in SHARED_TABLES.items():
        for row in rows_of(shared, name):
            number = find("vificlip_slides", table, row, column_of(row))
            assert (number.value, number.std or "") == (row["value"], row["std"]), row
            compared["value"] += 1
            compared["std"] += bool(row["std"])
            assert (number.name, number.family) == (row["method"], row["family"])
            assert str(number.reference or "") == row["ref"]
            assert number.emphasis == row.get("emphasis", "")
            for ours, theirs in ((number.setting.frames, "frames"), (number.setting.views, "views")):
                if row.get(theirs):
                    assert str(ours).replace("1x1", "1") == row[theirs], (row, ours)
            for repeats in ("n_splits", "n_seeds"):
                if row.get(repeats):
                    assert str(number.setting.n) == row[repeats]
            if name == "supervised_k400" and row["metric"] == "top1":
                compared["frames"] += 1
                for extra in ("gflops", "throughput"):
                    if row[extra]:
                        assert find("vificlip_slides", table, row, extra).value == row[extra]
                        compared[extra] += 1
    compared["delta"] = compare_deltas(shared)
    assert compared == {
        "value": 48 + 84 + 84 + 20 + 9, "std": 46, "frames": 10, "gflops": 9, "throughput": 5, "delta": 28,
    }  # fmt: skip
    assert sum(compared.values()) == 343


def compare_deltas(shared: Path) -> int:
    """The delta rows of the rebuilt tables against the printed ones; how many were compared."""
    computed = {}
    for layout in LAYOUTS:
        if layout.delta:
            table = published_table(layout)
            ((_, cells),) = lines_of(table, table.rows[-1])
            for key, (text, _) in zip(layout.columns, cells, strict=True):
                computed[layout.table, *key] = text
    printed = {
        (SHARED_TABLES[row["table"]], row["dataset"], column_of(row)): row["value"] for row in rows_of(shared, "deltas")
    }
    assert computed == printed
    return len(printed)


def test_every_number_of_the_readme(shared: Path) -> None:
    names = {**SHARED_TABLES, "base_to_novel": "b2n"}
    for row in rows_of(shared, "upstream_readme"):
        number = find("vificlip_readme", names[row["table"]], row, column_of(row))
        assert number.value == row["value"] and f"{number.setting.frames}x224" == row["input"]
    for row in rows_of(shared, "bridge_and_prompt"):
        number = find("vificlip_readme", "bridge_prompt", row, column_of(row))
        assert (number.value, number.family) == (row["value"], row["family"])
        assert str(number.setting.n) == row["n_seeds"] and str(number.setting.frames) == row["frames"]


def test_no_slide_number_beyond_the_reference(shared: Path) -> None:
    expected = sum(len(rows_of(shared, name)) for name in SHARED_TABLES) + 14
    assert sum(n.source == "vificlip_slides" for n in published_numbers()) == expected


def test_rebuilt_tables_have_the_prints_rows_order_and_emphasis(shared: Path) -> None:
    for layout in LAYOUTS:
        if layout.source != "vificlip_slides":
            continue
        name = {ours: theirs for theirs, ours in SHARED_TABLES.items()}[layout.table]
        rows = [r for r in rows_of(shared, name) if any(r["dataset"] == d for d, _ in layout.columns)]
        printed = [row for row in published_table(layout).rows if not row.is_delta]
        assert [row.title for row in printed] == list(dict.fromkeys(r["method"] for r in rows))
        marks = {(r["method"], r["dataset"], column_of(r)): r.get("emphasis", "") for r in rows}
        for row in printed:
            for (dataset, column), cell in zip(layout.columns, row.cells, strict=True):
                assert cell.emphasis == marks.get((row.title, dataset, column), ""), (row.title, dataset, column)


def test_the_tables_regenerate_from_published_values_alone() -> None:
    """Without the reference copies: hand-checked lines of the print."""
    text = render_table("all", None, format="md").text
    for line in (
        "| ER-ZSAR \\[8\\] | 35.3 ± 4.6 | 51.8 ± 2.9 |",
        "| E2E \\[5\\] | 32.7 | 48 |",
        "| ViFi-CLIP | **71.2 ± 1.0** | **92.2 ± 0.3** |",
        "| +Δ over the best adapting method | +4.5 | +0.6 |",
        "| XCLIP \\[30\\] | <u>53.0</u> | 57.3 | <u>62.8</u> | <u>64.0</u> | 48.5 | 75.6 | 83.7 | <u>91.4</u> | 3.9 |"
        " 4.5 | 6.8 | 10.0 |",
        "| ViFi-CLIP | 16 | 4 \N{MULTIPLICATION SIGN} 3 | <u>83.9</u> | <u>96.3</u> | 281 | 71.1 |",
        "| ViFi-CLIP | 281 | 71.1 | 124.7 |",
    ):
        assert line in text, line


def test_known_problems_are_notes_on_their_cells() -> None:
    def notes(table: str, method: str, dataset: str, column: str, source: str = "vificlip_slides") -> str:
        return " ".join(
            note for n in published_numbers()
            if (n.source, n.table, n.method, n.dataset, n.column) == (source, table, method, dataset, column)
            for note in n.notes
        )  # fmt: skip

    assert "TimeSformer" in notes("few_shot", "x-clip", "UCF-101", "k4")
    assert not notes("few_shot", "x-clip", "UCF-101", "k16")
    assert "re-implementation" in notes("zero_shot", "actionclip", "HMDB-51", "top1")
    assert "41.9" in notes("zero_shot", "vanilla-clip", "HMDB-51", "top1")
    assert "40.8 ± 0.3" in notes("few_shot", "vanilla-clip", "HMDB-51", "k2")
    assert "62.2" in notes("zero_shot", "clip-image-ft", "K-600", "top1")
    assert "62.4" in notes("zero_shot", "clip-image-ft", "K-600", "top1", "vificlip_readme")
    for method, dataset in (("actionclip", "HMDB-51"), ("actionclip", "UCF-101"),
                            ("efficient-prompt-a5", "UCF-101"), ("efficient-prompt-a5", "SSv2")):  # fmt: skip
        assert "0.1 off" in notes("b2n", method, dataset, "hm")


def test_printed_harmonic_means_lie_where_rounding_allows() -> None:
    """All rows of all sources: the printed HM is that of some base and novel within half a printed digit."""
    off = []
    rows = {(n.source, n.table, n.method, n.dataset) for n in published_numbers() if n.column == "hm"}
    for source, table, method, dataset in rows:
        value = {
            n.column: n.number for n in published_numbers()
            if (n.source, n.table, n.method, n.dataset) == (source, table, method, dataset)
        }  # fmt: skip
        low = harmonic_mean(value["base"] - 0.05, value["novel"] - 0.05) - 0.05
        high = harmonic_mean(value["base"] + 0.05, value["novel"] + 0.05) + 0.05
        assert low - 1e-9 <= value["hm"] <= high + 1e-9, (source, method, dataset)
        if abs(round(harmonic_mean(value["base"], value["novel"]) + 1e-9, 1) - value["hm"]) > 0.01:
            off.append((source, method, dataset))
    assert len(rows) >= 28 + 6
    assert {x for x in off if x[0] == "vificlip_slides"} == {
        ("vificlip_slides", "actionclip", "HMDB-51"), ("vificlip_slides", "actionclip", "UCF-101"),
        ("vificlip_slides", "efficient-prompt-a5", "UCF-101"), ("vificlip_slides", "efficient-prompt-a5", "SSv2"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "method",
    ["tc-clip", "froster", "open-vclip", "ost", "mote", "ez-clip", "vita-clip", "ga2-clip", "claver-kmt", "aim",
     "st-adapter", "ila", "bike", "text4vis"],
)  # fmt: skip
def test_later_methods_are_there_with_source_setting_and_measurer(method: str) -> None:
    numbers = [n for n in published_numbers() if n.method == method]
    assert numbers
    for number in numbers:
        assert sources()[number.source].url.startswith("https://github.com/")
        assert number.setting.measured_by and number.setting.init


def test_each_published_method_that_is_built_in_is_listed_with_its_authors() -> None:
    """An id that is not in `methods.json` has no published numbers for the marks of a row."""
    named = {number.method.replace("-", "_") for number in published_numbers()}
    built_in = {name for name, source in registry.sources("method").items() if source.origin == "built-in"}
    assert {"froster", "open_vclip", "vita_clip"} <= named & built_in
    methods = json.loads((FOLDER / METHODS_FILE).read_text(encoding="utf-8"))
    for name in named & built_in:
        published = name.replace("_", "-")
        assert harness_names()[published].partition(":")[0] == name and methods[published]["authors"]


@pytest.mark.parametrize(("method", "own"), [("open-vclip", False), ("vita-clip", False), ("froster", True)])
def test_numbers_that_another_paper_lists_are_not_the_authors_own(method: str, own: bool) -> None:
    assert {is_own_number(number) for number in published_numbers() if number.method == method} == {own}


def test_cells_have_settings_in_place_of_those_of_their_row(tmp_path: Path) -> None:
    document = json.loads((FOLDER / "mote.json").read_text(encoding="utf-8"))
    where = {"table": "zero_shot", "dataset": ["UCF-101", "K-600"]}
    document["cell_settings"] = [{"where": where, "settings": {"frames": 16, "label_set": "split"}}]
    (tmp_path / "mote.json").write_text(json.dumps(document), encoding="utf-8")
    hmdb, ucf, k600, *supervised = published_numbers(tmp_path)
    assert hmdb.setting in {number.setting for number in published_numbers()}
    assert ucf.setting == k600.setting != hmdb.setting
    assert (ucf.setting.frames, ucf.setting.further["label_set"]) == (16, "split")
    assert ucf.setting.further["initial_share"] == hmdb.setting.further["initial_share"] == "0.01"
    assert {number.setting.frames for number in supervised} == {8}
    # A row of a table shows the settings that all of its cells share.
    assert common_setting([hmdb, ucf]).more == common_setting([ucf, hmdb]).more == hmdb.setting.more


def test_a_malformed_file_is_refused_by_name(tmp_path: Path) -> None:
    document = json.loads((FOLDER / "mote.json").read_text(encoding="utf-8"))
    document["tables"][0]["rows"][0]["cells"][0] = "about 55"
    (tmp_path / "mote.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(UserError, match="'about 55' is not a printed number"):
        published_numbers(tmp_path)


def test_numbers_of_all_clips_are_a_table_of_their_own_and_not_beside_means_over_splits() -> None:
    numbers = [n for n in published_numbers() if n.table == "zero_shot_full"]
    assert {(n.method, n.dataset, n.value) for n in numbers} == {
        ("froster", "HMDB-51", "54.5"), ("froster", "UCF-101", "85.0"), ("text4vis", "HMDB-51", "49.8"),
        ("text4vis", "UCF-101", "79.6"),
    }  # fmt: skip
    assert all(n.std is None for n in numbers)
    splits = [n for n in published_numbers() if n.table == "zero_shot"]
    assert not [n for n in splits if n.method == "text4vis" and n.dataset != "K-600"]
    assert not [note for n in splits for note in n.notes if "full" in note]
    (full,) = [text for text in render_table("zero_shot_full").text.split("### ") if "all clips" in text]
    assert "85.0" in full and "84.8" not in full
    assert "85.0" not in render_table("zero_shot").text.split("FROSTER")[1].splitlines()[0]
