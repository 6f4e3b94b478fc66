"""Tables of our measurements beside the published numbers."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import UserError
from reports.aggregate import Row, rows_of
from reports.export import render_table
from reports.frame import records_frame
from reports.verdict import DIFFERENT, INSIDE, NOT_MEASURED, OUTSIDE, verdict
from results.published_numbers import PublishedNumber, published_numbers
from tests.results.factories import Sample, write_grid, write_sample


def published(method: str = "vifi-clip", dataset: str = "HMDB-51", column: str = "novel") -> PublishedNumber:
    (number,) = [
        n for n in published_numbers()
        if (n.source, n.table, n.method, n.dataset, n.column) == ("vificlip_slides", "b2n", method, dataset, column)
    ]  # fmt: skip
    return number


def hmdb_row(tmp_path: Path, accuracy: float, **changes: object) -> Row:
    """A row as if measured on HMDB-51 with OpenAI's ViT-B/16."""
    sample = Sample(dataset="hmdb51", part="novel", videos=750, classes=25, frames=32, embedded=False, shots=16)
    for index in (1, 2, 3):
        path = write_sample(tmp_path, sample, repeat=("train_subset", index), accuracy=accuracy, **changes)
        text = path.read_text(encoding="utf-8")
        text = text.replace('"name": "tiny"', '"name": "ViT-B-16-quickgelu"').replace('"mini"', '"openai"')
        path.write_text(text, encoding="utf-8")
    (row,) = rows_of(records_frame(tmp_path))
    return row


@pytest.mark.parametrize(
    ("accuracy", "kind"), [(0.533, INSIDE), (0.56, INSIDE), (0.50, INSIDE), (0.60, OUTSIDE), (0.45, OUTSIDE)]
)
def test_verdict_inside_and_outside_the_interval(tmp_path: Path, accuracy: float, kind: str) -> None:
    row = hmdb_row(tmp_path, accuracy)
    result = verdict(published(), row.cells["novel"], row)
    assert result.kind == kind and not result.why
    assert result.delta == pytest.approx(100 * accuracy - 53.3, abs=0.1)


def test_verdict_not_measured() -> None:
    assert verdict(published(), None, None).kind == NOT_MEASURED


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"frames": 8}, "8 frames, paper 32"),
        ({"clips": 2}, "2x1 views, paper 1x1"),
        ({"class_text": "llm-rewritten"}, "class text llm-rewritten"),
        ({"list_origin": "own"}, "an own list"),
    ],
)
def test_verdict_measured_differently_says_why(tmp_path: Path, changes: dict[str, object], why: str) -> None:
    row = hmdb_row(tmp_path, 0.533, **changes)
    result = verdict(published(), row.cells["novel"], row)
    assert result.kind == DIFFERENT and any(why in reason for reason in result.why)


def test_another_backbone_and_missing_repeats_are_measured_differently(tmp_path: Path) -> None:
    row = hmdb_row(tmp_path, 0.533)
    tiny = replace(row, facts={**row.facts, "backbone": "tiny", "arch": "tiny"})
    assert "backbone tiny/openai" in str(verdict(published(), row.cells["novel"], tiny))
    few = replace(row.cells["novel"], n=2)
    assert "2 of 3 repeats" in str(verdict(published(), few, row))


def test_ours_stand_beside_the_published_values(tmp_path: Path) -> None:
    hmdb_row(tmp_path, 0.56)
    text = render_table("b2n", tmp_path, against_paper=True, format="md")
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("| ViFi-CLIP"))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[place : place + 3]]
    assert cells[0][5] == "**56.0 ± 0.0**" and cells[1][5] == "53.3" and cells[2][5] == "+2.7, inside"
    assert cells[0][1] == "\N{EN DASH}" and cells[1][1] == "76.4" and cells[2][1] == "not measured"


def test_csv_holds_everything_known_of_a_cell(tmp_path: Path) -> None:
    hmdb_row(tmp_path, 0.56)
    rows = list(csv.DictReader(io.StringIO(render_table("b2n", tmp_path, format="csv"))))
    (row,) = [r for r in rows if (r["method"], r["dataset"], r["column"]) == ("ViFi-CLIP", "HMDB-51", "novel")
              and r["ours"]]  # fmt: skip
    assert (row["n"], row["repeat_kind"], row["ddof"], row["verdict"]) == ("3", "train_subset", "0", INSIDE)
    assert float(row["low"]) < 53.3 < float(row["ours"]) < float(row["high"])
    assert row["measured_by"] == "Rasheed et al. 2023" and "32 frames" in row["setting"]


@pytest.mark.parametrize("format", ["md", "latex", "csv", "html"])
@pytest.mark.parametrize("against", [True, False])
def test_every_table_in_every_format(tmp_path: Path, format: str, against: bool) -> None:
    write_grid(tmp_path)
    text = render_table("all", tmp_path, against, format)
    assert "ViFi-CLIP" in text
    assert ("76.4" in text) is against, "published numbers appear exactly when they are asked for"
    if format != "csv":
        assert "nothing about CLIP" in text


def test_embedded_tables_have_a_delta_row_over_the_best_adapting_method(tmp_path: Path) -> None:
    write_grid(tmp_path)
    rows = list(csv.DictReader(io.StringIO(render_table("few_shot", tmp_path, False, "csv"))))
    value = {(r["method"], r["column"]): float(r["ours"]) for r in rows if r["table"] == "few_shot_mini_target"}
    best = max(value["ActionCLIP", "k16"], value["Vanilla CLIP", "k16"])
    assert value["+Δ over the best adapting method", "k16"] == pytest.approx(value["ViFi-CLIP", "k16"] - best)


def test_two_ways_of_measuring_are_two_rows(tmp_path: Path) -> None:
    hmdb_row(tmp_path / "a", 0.56)
    hmdb_row(tmp_path / "b", 0.58, frames=16)
    lines = render_table("b2n", tmp_path, True, "md").splitlines()
    assert sum(line.startswith("| ViFi-CLIP") for line in lines) == 2
    assert any("16 frames, paper 32" in line for line in lines)


def test_unknown_names_are_told_the_nearest() -> None:
    with pytest.raises(UserError, match="no table named 'zeroshot'") as error:
        render_table("zeroshot")
    assert "zero_shot" in error.value.hint
    with pytest.raises(UserError, match="no format named 'word'"):
        render_table("b2n", format="word")


EVIL = "a|b & 100% _x_ {y} <script>alert(1)</script> \\end{tabular} \"q\" 'r' =1+1 \u202eabc" + "long " * 60


def test_foreign_text_is_text_in_every_format(tmp_path: Path) -> None:
    write_sample(tmp_path, Sample(protocol="few_shot", part="k16", shots=16), title=EVIL, method="evil")
    for format in ("md", "latex", "html"):
        text = render_table("few_shot", tmp_path, False, format)
        assert "<script>" not in text
    assert "\\end{tabular} \"q\"" not in render_table("few_shot", tmp_path, False, "latex")
    markdown = render_table("few_shot", tmp_path, False, "md")
    (line,) = [line for line in markdown.splitlines() if "alert" in line]
    assert line.replace("\\|", "").count("|") == 6
    (row,) = csv.DictReader(io.StringIO(render_table("few_shot", tmp_path, False, "csv")).readlines()[:2])
    assert row["method"].startswith("a|b")


def test_a_wrapper_of_many_models_has_a_row_for_each_beside_its_own_published_one(tmp_path: Path) -> None:
    sample = Sample(
        method="mmaction2", family="unimodal", trained=False, protocol="supervised", dataset="k400", frames=32, clips=4,
        class_text="none", embedded=False,
    )  # fmt: skip
    for config, accuracy in (("uniformer-b-32", 0.80), ("swin-l", 0.85), ("tsn-r50", 0.50)):
        write_sample(tmp_path, sample, title=f"{config} (mmaction2)", options=(("config", config),), accuracy=accuracy)
    found = list(csv.DictReader(io.StringIO(render_table("supervised", tmp_path, True, "csv"))))
    top1 = {row["method"]: row for row in found if row["column"] == "top1"}
    expected = (("Uniformer-B", "80.0", "83.0"), ("Swin-L", "85.0", "83.1"), ("TimeSformer-L", "", "80.7"))
    for name, ours, printed in expected:
        assert (top1[name]["ours"], top1[name]["published"]) == (ours, printed)
        assert "ViT-B-16" not in top1[name]["why"]
    assert float(top1["tsn-r50 (mmaction2)"]["ours"]) == 50.0 and not top1["tsn-r50 (mmaction2)"]["published"]
