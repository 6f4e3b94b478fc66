"""Tables of our measurements beside the published numbers."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from reports.aggregate import rows_of
from reports.entries import read_entries
from reports.export import render_table
from reports.ranks import analyse
from reports.row import Row
from reports.verdict import DIFFERENT, INSIDE, NOT_MEASURED, OUTSIDE, verdict
from results.published_numbers import PublishedNumber, published_numbers
from tests.results.factories import Sample, write_sample


def published(method: str = "vifi-clip", dataset: str = "HMDB-51", column: str = "novel") -> PublishedNumber:
    (number,) = [
        n for n in published_numbers()
        if (n.source, n.table, n.method, n.dataset, n.column) == ("vificlip_slides", "b2n", method, dataset, column)
    ]  # fmt: skip
    return number


HMDB = Sample(
    dataset="hmdb51", videos=750, classes=25, frames=32, embedded=False, shots=16, arch="ViT-B-16", weights="openai",
    title="ViFi-CLIP", prescribed_frames=32,
)  # fmt: skip
"""As if measured on HMDB-51 with OpenAI's ViT-B/16."""


def hmdb_row(folder: Path, accuracy: float, parts: tuple[str, ...] = ("novel",), **changes: Any) -> Row:
    """The row of three records of a part."""
    sample = replace(HMDB, **changes)
    for index in (1, 2, 3):
        for part in parts:
            write_sample(folder, sample, part=part, repeat=("train_subset", index), accuracy=accuracy)
    (row,) = rows_of(read_entries(folder).entries)
    return row


def spread_row(folder: Path, accuracy: float, spread: float, fits: int = 3, **changes: Any) -> Row:
    """The row of fits whose accuracies lie `spread` apart, around `accuracy`."""
    for index in range(1, fits + 1):
        value = accuracy + spread * (index - (fits + 1) / 2)
        write_sample(folder, replace(HMDB, **changes), part="novel", repeat=("train_subset", index), accuracy=value)
    (row,) = analyse(rows_of(read_entries(folder).entries)).rows
    return row


@pytest.mark.slow
@pytest.mark.parametrize(
    ("accuracy", "spread", "text"),
    [
        (0.533, 0, "inside"), (0.56, 0, "outside"), (0.45, 0, "outside"),
        # Three fits with a standard deviation of 0.8 points on 750 videos: t(2) * 0.8 * sqrt(2/3) + 0.05 = 2.86.
        (0.560, 0.008, "inside"), (0.564, 0.008, "outside"), (0.500, 0.008, "outside"),
        (0.533, 0.016, "cannot tell (± 5.7)"), (0.70, 0.016, "cannot tell (± 5.7)"),
    ],
)  # fmt: skip
def test_a_verdict_follows_from_the_spread_between_fits(
    tmp_path: Path, accuracy: float, spread: float, text: str
) -> None:
    """The videos are the same on both sides: an interval for other videos does not decide."""
    row = spread_row(tmp_path, accuracy, spread)
    result = verdict(published(), row.cells["novel"], row)
    assert str(result) == text and not result.why
    assert result.delta == pytest.approx(100 * accuracy - 53.3, abs=0.15)


ONE_FIT = replace(HMDB, protocol="few_shot", part="k2", shots=2)
"""A few-shot record, which has one fit and no repeats."""


def few_shot_number() -> PublishedNumber:
    setting = replace(published().setting, n=None)
    return replace(published(), table="few_shot", column="k2", value="57.2", setting=setting)


@pytest.mark.slow
@pytest.mark.parametrize(("accuracy", "text"), [
    (0.572, "inside (one fit)"), (0.59, "inside (one fit)"), (0.70, "outside (one fit)"),
])  # fmt: skip
def test_one_fit_without_another_row_has_the_interval_for_other_videos(
    tmp_path: Path, accuracy: float, text: str
) -> None:
    write_sample(tmp_path, ONE_FIT, accuracy=accuracy, videos=3000)
    (row,) = analyse(rows_of(read_entries(tmp_path).entries)).rows
    assert str(verdict(few_shot_number(), row.cells["k2"], row)) == text


@pytest.mark.slow
def test_one_fit_borrows_the_spread_of_the_rows_beside_it(tmp_path: Path) -> None:
    write_sample(tmp_path, ONE_FIT, accuracy=0.60)
    for index, accuracy in enumerate((0.50, 0.508, 0.516), start=1):
        write_sample(tmp_path, ONE_FIT, method="seeds", accuracy=accuracy, repeat=("seed", index))
    rows = analyse(rows_of(read_entries(tmp_path).entries)).rows
    (row,) = [row for row in rows if row.method == "vificlip"]
    borrowed = row.cells["k2"].borrowed
    assert borrowed is not None and (borrowed.rows, borrowed.df) == (1, 2)
    # t(2) * 0.8 * sqrt(2) + 0.05 = 4.9 points
    assert str(verdict(few_shot_number(), row.cells["k2"], row)) == "cannot tell (± 4.9)"


@pytest.mark.parametrize(("hits", "text"), [
    (400, "inside"), (399, "outside by 1 video"), (404, "outside by 4 videos"),
])  # fmt: skip
def test_an_untrained_method_is_expected_to_have_the_same_predictions(tmp_path: Path, hits: int, text: str) -> None:
    write_sample(tmp_path, HMDB, method="vanilla_clip", trained=False, part="novel", accuracy=hits / 750)
    (row,) = analyse(rows_of(read_entries(tmp_path).entries)).rows
    number = replace(published(), value="53.33", setting=replace(published().setting, init=None))
    assert str(verdict(number, row.cells["novel"], row)) == text


def test_verdict_not_measured() -> None:
    assert verdict(published(), None, None).kind == NOT_MEASURED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"frames": 8}, "frames 8, paper 32"),
        ({"clips": 2}, "clips 2, paper 1"),
        ({"class_text": "llm-rewritten"}, "class text llm-rewritten, paper a photo of a {name}."),
        ({"list_origin": "own"}, "own evaluation list"),
        ({"training_origin": "own"}, "own training list"),
        ({"recipe": (("epochs", 1),)}, "changed recipe: epochs=1"),
        ({"seed": 7}, "changed recipe: seed=7"),
        ({"declared_source": "own: not published; as for UCF-101"}, "not a published recipe"),
        ({"label_variant": "corrected"}, "corrected class names"),
        ({"fit_precision": "bf16"}, "precision of the fit bf16, paper not stated"),
        ({"precision": "float16"}, "precision of the eval float16, paper not stated"),
        ({"sample": "every 10th video"}, "sample: every 10th video"),
        ({"extra_data": ("WIT",)}, "extra data: WIT"),
        ({"init": "checkpoint x"}, "starts from checkpoint, paper CLIP ViT-B/16 (OpenAI)"),
        ({"arch": "ViT-L-14"}, "backbone ViT-L-14/openai, paper ViT-B-16/openai"),
        ({"weights": "laion2b_s34b_b88k"}, "backbone ViT-B-16/laion2b_s34b_b88k, paper ViT-B-16/openai"),
        ({"weights": f"sha256:{'0' * 64}"}, "backbone ViT-B-16/file-00000000, paper ViT-B-16/openai"),
        ({"used": 100}, "fitted on 100 of 192 videos"),
    ],
)
def test_verdict_measured_differently_says_why(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    row = hmdb_row(tmp_path, 0.533, **changes)
    result = verdict(published(), row.cells["novel"], row)
    assert result.kind == DIFFERENT and any(why in reason for reason in result.why), result.why


@pytest.mark.slow
@pytest.mark.parametrize("changes", [
    {"fit_precision": "fp32", "precision": "fp32"}, {"arch": "ViT-B-16-quickgelu"}, {"code": "c" * 64}, {"engine": 3},
])  # fmt: skip
def test_what_is_no_setting_of_the_paper_is_no_difference(tmp_path: Path, changes: dict[str, Any]) -> None:
    row = hmdb_row(tmp_path, 0.533, **changes)
    assert verdict(published(), row.cells["novel"], row).kind == INSIDE


@pytest.mark.slow
def test_a_setting_that_the_source_states_is_compared_with_the_source(tmp_path: Path) -> None:
    """16 frames are not the protocol's and are the source's; its two clips are not ours."""
    setting = replace(published().setting, frames=16, views="2x1", more=(("normalize", "clip"),))
    number = replace(published(), setting=setting)
    row = hmdb_row(tmp_path, 0.533, frames=16)
    why = verdict(number, row.cells["novel"], row).why
    assert why == ("clips 1, paper 2", "normalize imagenet, paper clip")


@pytest.mark.slow
def test_missing_repeats_are_measured_differently(tmp_path: Path) -> None:
    for index in (1, 2):
        write_sample(tmp_path, HMDB, part="novel", repeat=("train_subset", index), accuracy=0.533)
    (row,) = rows_of(read_entries(tmp_path).entries)
    assert verdict(published(), row.cells["novel"], row).why == ("2 of 3 repeats",)
    row = hmdb_row(tmp_path, 0.533)
    few = replace(row.cells["novel"], n=2)
    assert "2 of 3 repeats" in str(verdict(published(), few, row))


@pytest.mark.slow
def test_one_changed_record_of_a_row_is_enough(tmp_path: Path) -> None:
    row = hmdb_row(tmp_path, 0.533)
    last = row.entries[-1]
    m = last.measurement
    m = replace(m, evaluation=replace(m.evaluation, precision="bf16"))
    changed = replace(row, entries=(*row.entries[:-1], replace(last, record=replace(last.record, measurement=m))))
    assert "precision of the eval bf16" in str(verdict(published(), row.cells["novel"], changed))


def csv_lines(table: str, runs: Path) -> list[dict[str, str]]:
    """Our values of a table, as CSV."""
    return list(csv.DictReader(io.StringIO(render_table(table, runs, False, "csv").text)))


def lines_of(text: str, start: str) -> list[list[str]]:
    lines = text.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(start))
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[place : place + 3]]


def test_ours_stand_beside_the_published_values(tmp_path: Path) -> None:
    hmdb_row(tmp_path, 0.56)
    cells = lines_of(render_table("b2n", tmp_path, against_paper=True, format="md").text, "| ViFi-CLIP")
    assert cells[0][5] == "56.0 ± 0.0" and cells[1][5] == "53.3" and cells[2][5] == "+2.7, outside"
    assert cells[0][1] == "\N{EN DASH}" and cells[1][1] == "76.4" and cells[2][1] == "not measured"


@pytest.mark.slow
def test_the_best_of_several_rows_is_bold_and_one_alone_is_not(tmp_path: Path) -> None:
    hmdb_row(tmp_path / "a", 0.6)
    hmdb_row(tmp_path / "b", 0.2, method="text_ft", title="CLIP text-FT")
    text = render_table("b2n", tmp_path, format="md").text
    assert lines_of(text, "| ViFi-CLIP")[0][5] == "**60.0 ± 0.0**"
    assert lines_of(text, "| CLIP text-FT")[0][5] == "20.0 ± 0.0"


@pytest.mark.slow
@pytest.mark.parametrize("against", [True, False])
@pytest.mark.parametrize(("changes", "note"), [
    ({"recipe": (("lr", 8e-6),)}, "changed recipe: lr 8e-06, the method declares 2e-06"),
    ({"training_origin": "own"}, "open division: own training list"),
    ({"list_origin": "own"}, "open division: own evaluation list"),
    ({"used": 100}, "not ranked: fitted on 100 of 192 videos"),
    ({"label_variant": "corrected"}, "corrected class names"),
])  # fmt: skip
def test_a_value_that_needs_a_word_is_marked_and_the_notes_have_it(
    tmp_path: Path, against: bool, changes: dict[str, Any], note: str
) -> None:
    hmdb_row(tmp_path, 0.56, **changes)
    text = render_table("b2n", tmp_path, against, "md").text
    assert lines_of(text, "| ViFi-CLIP")[0][5] == "56.0 ± 0.0\N{DOUBLE DAGGER}"
    notes = [line.replace("\\", "") for line in text.splitlines() if line.startswith("- \N{DOUBLE DAGGER} ViFi-CLIP")]
    assert any(note in line for line in notes)


@pytest.mark.slow
def test_an_incomplete_value_is_marked_without_the_paper_too(tmp_path: Path) -> None:
    hmdb_row(tmp_path, 0.56)
    for path in list(tmp_path.rglob("*.record.json"))[:1]:
        path.unlink()
    text = render_table("b2n", tmp_path, False, "md").text
    assert lines_of(text, "| ViFi-CLIP")[0][5].endswith("\N{DOUBLE DAGGER}") and "not ranked: 2 of 3 repeats" in text
    lines = [line for line in csv_lines("b2n", tmp_path) if line["column"] == "novel" and line["dataset"] == "HMDB-51"]
    (line,) = [line for line in lines if line["ours"]]
    assert line["not_ranked"] == "2 of 3 repeats"


def test_csv_holds_everything_known_of_a_cell(tmp_path: Path) -> None:
    hmdb_row(tmp_path, 0.56)
    rows = list(csv.DictReader(io.StringIO(render_table("b2n", tmp_path, format="csv").text)))
    (row,) = [r for r in rows if (r["method"], r["dataset"], r["column"]) == ("ViFi-CLIP", "HMDB-51", "novel")
              and r["ours"]]  # fmt: skip
    assert (row["n"], row["repeat_kind"], row["ddof"], row["verdict"]) == ("3", "train_subset", "0", OUTSIDE)
    assert float(row["low"]) < float(row["ours"]) < float(row["high"]) and row["clusters_known"] == "no"
    assert float(row["again_low"]) <= float(row["low"]) and row["fits"] == "3"
    assert row["measured_by"] == "Rasheed et al. 2023" and "32 frames" in row["setting"]


@pytest.mark.parametrize("format", ["md", "latex", "csv", "html"])
@pytest.mark.parametrize("against", [True, False])
def test_every_table_in_every_format(grid_runs: Path, format: str, against: bool) -> None:
    text = render_table("all", grid_runs, against, format).text
    assert "ViFi-CLIP" in text
    assert ("76.4" in text) is against, "published numbers appear exactly when they are asked for"
    if format != "csv":
        assert "nothing about CLIP" in text


def test_embedded_tables_have_a_delta_row_over_the_best_adapting_method(grid_runs: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(render_table("few_shot", grid_runs, False, "csv").text)))
    value = {(r["method"], r["column"]): float(r["ours"]) for r in rows if r["table"] == "few_shot_mini_target"}
    best = max(value["ActionCLIP", "k16"], value["Vanilla CLIP", "k16"])
    assert value["+Δ over the best adapting method", "k16"] == pytest.approx(value["ViFi-CLIP", "k16"] - best)


def test_two_ways_of_measuring_are_two_rows(tmp_path: Path) -> None:
    hmdb_row(tmp_path / "a", 0.56)
    hmdb_row(tmp_path / "b", 0.58, frames=16)
    lines = render_table("b2n", tmp_path, True, "md").text.splitlines()
    assert sum(line.startswith("| ViFi-CLIP") for line in lines) == 2
    assert any(line.startswith("| ViFi-CLIP (views frames 16) |") for line in lines)
    assert any("frames 16, paper 32" in line for line in lines)


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
        text = render_table("few_shot", tmp_path, False, format).text
        assert "<script>" not in text
    assert '\\end{tabular} "q"' not in render_table("few_shot", tmp_path, False, "latex").text
    markdown = render_table("few_shot", tmp_path, False, "md").text
    (line,) = [line for line in markdown.splitlines() if "alert" in line]
    assert line.replace("\\|", "").count("|") == 6
    (row,) = csv.DictReader(io.StringIO(render_table("few_shot", tmp_path, False, "csv").text).readlines()[:2])
    assert row["method"].startswith("a|b")


def test_a_wrapper_of_many_models_has_a_row_for_each_beside_its_own_published_one(tmp_path: Path) -> None:
    sample = Sample(
        method="mmaction2", family="unimodal", trained=False, protocol="supervised", dataset="k400", frames=32, clips=4,
        class_text="none", embedded=False, extra_data=("what the checkpoint was trained on",),
    )  # fmt: skip
    for config, accuracy in (("uniformer-b-32", 0.80), ("swin-l", 0.85), ("tsn-r50", 0.50)):
        write_sample(tmp_path, sample, title=f"{config} (mmaction2)", options=(("config", config),), accuracy=accuracy)
    mformer = replace(sample, method="mformer", frames=16, clips=10)
    write_sample(tmp_path, mformer, title="Mformer-HR", options=(("config", "hr"),), accuracy=0.75)
    found = list(csv.DictReader(io.StringIO(render_table("supervised", tmp_path, True, "csv").text)))
    top1 = {row["method"]: row for row in found if row["column"] == "top1" and row["table"] == "supervised"}
    expected = (
        ("Uniformer-B", "80.0", "83.0"), ("Swin-L", "85.0", "83.1"), ("TimeSformer-L", "", "80.7"),
        ("Mformer-HR", "75.0", "81.1"),
    )  # fmt: skip
    for name, ours, printed in expected:
        assert (top1[name]["ours"], top1[name]["published"]) == (ours, printed)
        assert "ViT-B-16" not in top1[name]["why"]
    assert float(top1["tsn-r50 (mmaction2)"]["ours"]) == 50.0 and not top1["tsn-r50 (mmaction2)"]["published"]


@pytest.mark.slow
def test_one_way_of_measuring_is_one_line_over_all_datasets(tmp_path: Path) -> None:
    """A changed recipe is the same change on each dataset, whatever each dataset's declared recipe is."""
    for dataset, source in (("hmdb51", "paper"), ("ucf101", "own: as for HMDB-51")):
        for recipe in ((), (("lr", 8e-6),)):
            for arch in ("ViT-B-16", "ViT-L-14"):
                hmdb = {"dataset": dataset, "declared_source": source, "recipe": recipe, "arch": arch}
                for index in (1, 2, 3):
                    write_sample(tmp_path, HMDB, part="novel", repeat=("train_subset", index), **hmdb)
    found = [line for line in csv_lines("b2n", tmp_path) if line["ours"]]
    lines: dict[str, set[str]] = {}
    for line in found:
        if line["method"] == "ViFi-CLIP" and line["column"] == "novel":
            lines.setdefault(line["label"], set()).add(line["dataset"])
    both = {"HMDB-51", "UCF-101"}
    assert lines == {
        "backbone ViT-B-16": both, "backbone ViT-L-14": both, "lr 8e-06, backbone ViT-B-16": both,
        "lr 8e-06, backbone ViT-L-14": both,
    }  # fmt: skip


@pytest.mark.slow
def test_no_row_hides_another_in_a_table(tmp_path: Path) -> None:
    """Two rows that differ in any setting are both in the table, under different names."""
    changes: list[dict[str, Any]] = [
        {}, {"options": (("k", 2),)}, {"fit_precision": "bf16"}, {"class_text": "templates"}, {"init": "checkpoint x"},
        {"training_origin": "own"}, {"label_variant": "corrected"}, {"weights": "laion"}, {"seed": 3},
    ]  # fmt: skip
    for number, change in enumerate(changes):
        sample = replace(HMDB, part="novel", repeat=("train_subset", 1), accuracy=0.3 + number / 20, **change)
        write_sample(tmp_path / str(number), sample)
    found = [line for line in csv_lines("b2n", tmp_path) if line["n"]]
    assert len(found) == len({line["label"] for line in found}) == len(changes)


@pytest.mark.slow
def test_the_delta_row_is_not_of_the_best_of_several_variants(tmp_path: Path) -> None:
    for method, family, title in (("vificlip", "tuning", "ViFi-CLIP"), ("actionclip", "adapting", "ActionCLIP")):
        for accuracy, seed in ((0.5, 1024), (0.8, 7)):
            write_sample(tmp_path, HMDB, method=method, family=family, title=title, part="novel", seed=seed,
                         repeat=("train_subset", 1), accuracy=accuracy - 0.1 * (family == "adapting"))  # fmt: skip
    lines = [line for line in csv_lines("b2n", tmp_path) if line["method"].startswith("+Δ")]
    (delta,) = [float(line["ours"]) for line in lines if line["ours"]]
    assert delta == pytest.approx(10, abs=0.2)


@pytest.mark.parametrize("format", ["md", "latex", "html", "csv"])
def test_a_throughput_from_cached_features_is_no_number(tmp_path: Path, format: str) -> None:
    sample = Sample(
        method="vificlip", title="ViFi-CLIP", protocol="supervised", dataset="k400", frames=16, clips=4, embedded=False
    )
    write_sample(tmp_path / "a", sample, cached=True, repeat=("single", 1))
    text = render_table("supervised", tmp_path / "a", False, format).text
    assert "cached" in text and "48" not in re.sub(r"[0-9a-f]{12,}", "", text)
    write_sample(tmp_path / "b", sample)
    text = render_table("supervised", tmp_path / "b", False, format).text
    assert "cached" not in text and "48.0" in text
