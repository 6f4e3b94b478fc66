"""Records to rows: what is averaged, what is not, and what a row says of itself."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.errors import UserError
from harness.spec import Column
from reports.aggregate import rows_of
from reports.console import summary
from reports.entries import Entry, read_entries
from reports.export import render_table
from reports.frame import records_frame
from reports.ranks import rank_rows
from reports.row import Row
from reports.site import build_report
from reports.throughput import throughput
from results.codec import encode
from results.measurement import FIELDS, Measurement, keys_of
from results.measurement_words import signature
from results.record import find_records, read_record
from results.statistics.metrics import harmonic_mean
from tests.results.factories import Sample, write_sample
from tests.results.measurements import measurements, others

FEW = Sample(protocol="few_shot", part="k16", shots=16)


def rows(runs: Path) -> list[Row]:
    return rows_of(read_entries(runs).entries)


def test_an_empty_runs_folder_is_one_clear_error(tmp_path: Path) -> None:
    for read in (read_entries, records_frame):
        with pytest.raises(UserError, match="contains no record"):
            read(tmp_path)
        with pytest.raises(UserError, match="does not exist"):
            read(tmp_path / "nowhere")


@pytest.mark.slow
def test_the_frame_has_a_line_for_each_record_and_a_column_for_each_field(grid_runs: Path) -> None:
    paths = find_records(grid_runs)
    frame = records_frame(grid_runs).frame
    assert len(frame) == len(paths) and frame["cell"].is_unique
    assert set(frame["protocol.name"]) == {"zero_shot", "b2n", "few_shot", "supervised"}
    assert set(FIELDS) <= set(frame.columns)
    means = frame[frame["superseded"] == ""].groupby(["row", "protocol.part"])["top1"].mean()
    for row in rows(grid_runs):
        for column, cell in row.cells.items():
            if cell.repeats and row.rule(column).metric == "top1":
                assert means[row.key, row.rule(column).part] == pytest.approx(cell.mean)


def test_harmonic_mean_is_taken_of_unrounded_means_over_repeats(tmp_path: Path) -> None:
    for index, (base, novel) in enumerate([(0.9, 0.2), (0.5, 0.6), (0.7, 0.41)], start=1):
        common = {"repeat": ("train_subset", index), "shots": 16}
        write_sample(tmp_path, part="base", accuracy=base, **common)
        write_sample(tmp_path, part="novel", accuracy=novel, **common)
    (row,) = rows(tmp_path)
    values = {part: np.array([repeat.value for repeat in row.cells[part].repeats]) for part in ("base", "novel")}
    expected = harmonic_mean(values["base"].mean(), values["novel"].mean())
    assert row.cells["hm"].mean == pytest.approx(expected, abs=1e-12)
    per_repeat = np.mean([harmonic_mean(a, b) for a, b in zip(values["base"], values["novel"], strict=True)])
    assert abs(row.cells["hm"].mean - per_repeat) > 1
    cell = row.cells["base"]
    assert (cell.n, cell.kind, cell.lacks) == (3, "train_subset", "")
    assert cell.spread == pytest.approx(values["base"].std(ddof=0))
    assert row.cells["hm"].spread is None and "joint" not in row.cells


@pytest.mark.parametrize("change", [
    {"frames": 16}, {"class_text": "llm-rewritten"}, {"init": "fit vificlip k400/train"}, {"list_origin": "own"},
    {"training_origin": "own"}, {"arch": "large"}, {"sample": "every 10th"}, {"dataset": "mini_source"}, {"engine": 2},
])  # fmt: skip
def test_rows_measured_differently_are_in_another_group(tmp_path: Path, change: dict[str, Any]) -> None:
    for sample in (FEW, replace(FEW, method="other"), replace(FEW, method="third", **change)):
        write_sample(tmp_path, sample)
    groups = {row.method: row.group for row in rows(tmp_path)}
    assert groups["vificlip"] == groups["other"] != groups["third"]


@pytest.mark.parametrize("change", [
    {"seed": 7}, {"recipe": (("epochs", 1),)}, {"options": (("k", 1),)}, {"arch": "large"}, {"frames": 16},
    {"class_text": "templates"}, {"init": "checkpoint x"}, {"training_origin": "own"}, {"sample": "every 10th"},
    {"fit_precision": "bfloat16"},
])  # fmt: skip
def test_a_change_makes_another_row(tmp_path: Path, change: dict[str, Any]) -> None:
    write_sample(tmp_path, FEW)
    write_sample(tmp_path / "changed", replace(FEW, **change))
    found = rows(tmp_path)
    assert len({row.key for row in found}) == 2 and all(row.cells["k16"].n == 1 for row in found)


ROW_PATHS = [path for path, keys in FIELDS.items() if {"row", "line", "group"} & set(keys.split())]


@pytest.mark.parametrize("path", ROW_PATHS)
def test_nothing_that_a_key_tells_apart_is_averaged(path: str, tmp_path: Path) -> None:
    """Of two records that differ in any field that a key of the row knows, each has a row of its own or one counts."""
    file = write_sample(tmp_path, FEW)
    record = read_record(file)

    def entry(m: Measurement, time: str) -> Entry:
        return Entry(file, f"{time}.record.json", replace(record, measurement=m), time)

    m = record.measurement
    for other in others(m, path):
        if keys_of(other) == keys_of(m):
            continue
        found = rows_of([entry(m, "2025"), entry(other, "2026")])
        counted = [repeat.entry for row in found for cell in row.cells.values() for repeat in cell.repeats]
        assert all(cell.n == 1 for row in found for cell in row.cells.values()), (path, other)
        assert len(counted) + sum(len(row.superseded) for row in found) == 2
        for row in found:
            assert {keys_of(entry.measurement).row for entry in row.entries} == {row.key}


def test_of_two_records_of_one_cell_the_newest_counts(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "a")
    copy = tmp_path / "b" / path.name
    copy.parent.mkdir()
    copy.write_text(path.read_text(encoding="utf-8").replace("2026-01-01T00:00", "2027-01-01T00:00"), encoding="utf-8")
    (row,) = rows(tmp_path)
    assert [entry.name for entry in row.entries] == [f"b/{path.name}"]
    assert [one.name for one in row.superseded] == [f"a/{path.parent.name}/{path.name}"]


def change(path: Path, **places: Any) -> None:
    """Other values in a record's JSON, by a dotted path whose dots are two underscores; its key is made new."""
    content = json.loads(path.read_text("utf-8"))
    for place, value in places.items():
        *parents, name = place.split("__")
        part = content
        for parent in parents:
            part = part[parent]
        part[name] = value
    path.write_text(json.dumps(content), "utf-8")


def test_missing_videos_keep_a_row_from_being_ranked(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    change(path, measurement__evaluation__evaluated=118)
    (row,) = rows(tmp_path)
    assert row.reasons == ("2 of 120 videos missing",) and row.missing == 2


@pytest.mark.parametrize("changes", [{"recipe": (("lr", 1e-3),)}, {"seed": 7}])
def test_a_changed_recipe_is_marked_and_not_ranked(tmp_path: Path, changes: dict[str, Any]) -> None:
    for method in ("a", "b", "changed"):
        write_sample(tmp_path, FEW, method=method, **(changes if method == "changed" else {}))
    found = {row.method: row for row in rows(tmp_path)}
    ranks = rank_rows(found.values())
    assert [ranks.of(found[name], "k16") for name in ("a", "b", "changed")] == [1, 1, None]
    assert found["changed"].reasons[0].startswith("changed recipe: ")
    (mark,) = [mark for mark in found["changed"].marks if mark.chip == "changed recipe"]
    assert mark.warn and "the method declares" in mark.text
    assert not found["a"].marks


def test_an_unknown_value_is_shown_and_not_ranked(tmp_path: Path) -> None:
    for method in ("a", "b", "imported"):
        text = "unknown" if method == "imported" else "names"
        write_sample(tmp_path, FEW, method=method, class_text=text)
    found = {row.method: row for row in rows(tmp_path)}
    ranks = rank_rows(found.values())
    assert found["imported"].reasons == ("unknown: class text",) and found["imported"].text == "unknown"
    assert ranks.of(found["imported"], "k16") is None and ranks.of(found["a"], "k16") == 1


@pytest.mark.parametrize(("source", "dataset", "method", "marked"), [
    ("own: not published; as for HMDB-51", "ucf101", "vificlip", True),
    ("own: not published; as for HMDB-51", "ucf101", "mine", False),
    ("own: not published; as for HMDB-51", "my_videos", "vificlip", False),
    ("own: scaled to the tiny model", "mini_target", "vificlip", False),
    ("ViFi-CLIP configs/few_shot", "ucf101", "vificlip", False),
])  # fmt: skip
def test_a_recipe_that_nobody_published_marks_the_row_where_a_number_is_published(
    tmp_path: Path, source: str, dataset: str, method: str, marked: bool
) -> None:
    write_sample(tmp_path, FEW, declared_source=source, dataset=dataset, method=method, embedded=False)
    (row,) = rows(tmp_path)
    assert [mark.text for mark in row.marks] == ([f"not a published recipe: {source}"] if marked else [])
    assert not row.reasons


def test_records_of_one_row_that_claim_several_groups_are_not_ranked(tmp_path: Path) -> None:
    path = write_sample(tmp_path, FEW)
    record = read_record(path)
    m = replace(record.measurement, protocol=replace(record.measurement.protocol, part="k8"))
    scope = replace(m.protocol.scope, evaluation_lists="of another table")
    forged = replace(m, protocol=replace(m.protocol, scope=scope))
    entries = [Entry(path, "a", record, ""), Entry(path, "b", replace(record, measurement=forged), "")]
    (row,) = rows_of(entries)
    assert len(row.entries) == 2 and row.reasons == ("its records belong to 2 different tables",)


# --- ranks


def zero_shot(runs: Path, method: str, accuracy: float, repeats: tuple[int, ...] = (1, 2, 3), **more: Any) -> None:
    for index in repeats:
        write_sample(
            runs, method=method, protocol="zero_shot", part="all", repeat=("test_split", index), accuracy=accuracy,
            videos=240, **more,
        )  # fmt: skip


def ranks_of(runs: Path, column: str = "top1") -> dict[str, int | None]:
    found = rows(runs)
    ranks = rank_rows(found)
    return {row.method: ranks.of(row, column) for row in found}


@pytest.mark.slow
def test_a_row_with_a_missing_repeat_is_not_ranked_and_takes_no_rank_away(tmp_path: Path) -> None:
    zero_shot(tmp_path, "a", 0.8)
    zero_shot(tmp_path, "b", 0.4)
    zero_shot(tmp_path, "short", 0.95, (1,))
    zero_shot(tmp_path, "two", 0.95, (1, 3))
    assert ranks_of(tmp_path) == {"a": 1, "b": 2, "short": None, "two": None}
    lacks = {row.method: row.cells["top1"].lacks for row in rows(tmp_path)}
    assert lacks == {"a": "", "b": "", "short": "1 of 3 repeats", "two": "2 of 3 repeats"}


@pytest.mark.slow
def test_a_column_is_ranked_where_its_own_repeats_are_complete(tmp_path: Path) -> None:
    """The novel part of one row lacks a repeat: base is ranked, novel and their mean are not."""
    for method, accuracy in (("a", 0.9), ("b", 0.3)):
        for index in (1, 2, 3):
            for part in ("base", "novel"):
                if (method, part, index) != ("a", "novel", 3):
                    write_sample(tmp_path, method=method, part=part, repeat=("train_subset", index), accuracy=accuracy)
    found = {row.method: row for row in rows(tmp_path)}
    ranks = rank_rows(found.values())
    assert [ranks.of(found[name], "base") for name in ("a", "b")] == [1, 2]
    assert [ranks.of(found[name], column) for name in ("a", "b") for column in ("novel", "hm")] == [None] * 4
    assert found["a"].cells["hm"].lacks == "novel: 2 of 3 repeats"


@pytest.mark.slow
def test_more_repeats_than_prescribed_are_not_ranked(tmp_path: Path) -> None:
    zero_shot(tmp_path, "a", 0.8)
    zero_shot(tmp_path, "b", 0.5)
    zero_shot(tmp_path, "four", 0.9, (1, 2, 3, 4))
    assert ranks_of(tmp_path)["four"] is None and ranks_of(tmp_path)["a"] == 1
    (row,) = [row for row in rows(tmp_path) if row.method == "four"]
    assert row.cells["top1"].lacks == "4 repeats, the protocol prescribes 3"


@pytest.mark.slow
def test_a_row_alone_in_its_group_has_no_rank(tmp_path: Path) -> None:
    zero_shot(tmp_path, "a", 0.8)
    assert ranks_of(tmp_path) == {"a": None}
    zero_shot(tmp_path, "b", 0.4, seed=7)  # not ranked: a changed recipe
    assert ranks_of(tmp_path) == {"a": None, "b": None}
    zero_shot(tmp_path, "c", 0.4, frames=16)
    assert set(ranks_of(tmp_path).values()) == {None}
    zero_shot(tmp_path, "d", 0.4)
    assert ranks_of(tmp_path) == {"a": 1, "b": None, "c": None, "d": 2}


def shifted(path: Path) -> None:
    """Give the list of a record another hash, as if its rows stood in another order."""
    record = read_record(path)
    m = record.measurement
    m = replace(m, evaluation=replace(m.evaluation, list=replace(m.evaluation.list, sha256="f" * 64)))
    path.write_text(json.dumps(encode(replace(record, measurement=m, key=keys_of(m).cell, signature=signature(m)))))


@pytest.mark.parametrize("n_other", [1, 2])
def test_rows_with_other_lists_take_no_rank_away(tmp_path: Path, n_other: int) -> None:
    """Two against one, and two against two of which the later ones brought the other lists."""
    for i, accuracy in enumerate((0.8, 0.4)):
        write_sample(tmp_path, FEW, method=f"honest{i}", accuracy=accuracy, created="2026-01-01T00:00:00Z")
    for i in range(n_other):
        path = write_sample(
            tmp_path, FEW, method=f"other{i}", accuracy=0.95, created="2026-06-01T00:00:00Z", repeat=("single", 1)
        )
        shifted(path)
    found = ranks_of(tmp_path, "k16")
    assert {name: rank for name, rank in found.items() if name.startswith("honest")} == {"honest0": 1, "honest1": 2}
    assert {rank for name, rank in found.items() if name.startswith("other")} == {None}
    reasons = rank_rows(rows(tmp_path)).lists
    assert len(reasons) == n_other and "differ from those of the 2 ranked rows" in next(iter(reasons.values()))


@pytest.mark.slow
def test_most_rows_decide_which_lists_are_usual_not_the_most_lists(tmp_path: Path) -> None:
    zero_shot(tmp_path, "a", 0.8)
    zero_shot(tmp_path, "b", 0.4)
    (tmp_path / "more").mkdir()
    for index in (1, 2, 3):
        write_sample(
            tmp_path / "more", method="more", protocol="zero_shot", part="all", repeat=("test_split", index),
            list_name=f"longer_{index}", accuracy=0.99, videos=240, created="2020-01-01T00:00:00Z",
        )  # fmt: skip
    assert ranks_of(tmp_path) == {"a": 1, "b": 2, "more": None}


@pytest.mark.slow
def test_own_datasets_are_ranked_among_themselves(tmp_path: Path) -> None:
    own = {"dataset": "w10", "list_origin": "own", "training_origin": "own", "root": "a", "content": "x"}
    zero_shot(tmp_path, "a", 0.8, **own)
    zero_shot(tmp_path, "b", 0.4, **own)
    zero_shot(tmp_path, "elsewhere", 0.9, **{**own, "root": "b", "content": "y"})
    assert ranks_of(tmp_path) == {"a": 1, "b": 2, "elsewhere": None}


# --- columns, throughput


@pytest.mark.slow
def test_a_column_of_an_unknown_metric_is_a_damaged_record(tmp_path: Path) -> None:
    good = write_sample(tmp_path, FEW)
    bad = write_sample(tmp_path, FEW, method="bad")
    content = json.loads(bad.read_text("utf-8"))
    content["columns"][0]["metric"] = "auc"
    bad.write_text(json.dumps(content), "utf-8")
    found = read_entries(tmp_path)
    assert [entry.path for entry in found.entries] == [good]
    assert "auc" in found.damaged[0].message and found.damaged[0].name == bad.relative_to(tmp_path).as_posix()


def test_columns_may_be_harmonic_means_of_anything(tmp_path: Path) -> None:
    path = write_sample(tmp_path, FEW)
    record = read_record(path)
    odd = {"odd": ("k16", "nowhere"), "two": ("k16", "k16"), "three": ("two", "k16")}
    columns = (*record.columns, *(Column(name, harmonic_of=of) for name, of in odd.items()))
    (row,) = rows_of([Entry(path, path.name, replace(record, columns=columns), "")])
    assert "odd" not in row.cells and row.cells["three"].mean == pytest.approx(row.cells["k16"].mean)


def test_throughput_leaves_out_evals_with_cached_features(tmp_path: Path) -> None:
    def of(*cached: bool, **more: Any) -> float | str | None:
        folder = tmp_path / f"{cached}{sorted(more)}"
        for index, is_cached in enumerate(cached, start=1):
            repeat = ("test_split", index)
            path = write_sample(folder, protocol="zero_shot", part="all", repeat=repeat, cached=is_cached)
            change(path, **{"cost__videos_per_second": 1000.0 if is_cached else 40.0 + 20 * index, **more})
        (row,) = rows(folder)
        return throughput(row)

    assert of(True, True) == "cached"
    assert of(True, False) == pytest.approx(80)
    assert of(False, False) == pytest.approx(2 / (1 / 60 + 1 / 80)), "videos in all by seconds in all"
    assert of(False, cost__videos_per_second=0.0) is None


def test_throughput_of_several_devices_is_not_added_up(tmp_path: Path) -> None:
    for index, device in enumerate(("cpu", "H100"), start=1):
        write_sample(tmp_path, protocol="zero_shot", part="all", repeat=("test_split", index), device=device)
    (row,) = rows(tmp_path)
    assert throughput(row) == "several devices"


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.lists(measurements(), min_size=1, max_size=4), st.booleans())
def test_any_valid_records_have_a_board_and_tables(found: list[Measurement], same_place: bool) -> None:
    """A report shows the records of others, or names them, and never stops."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        template = read_record(write_sample(runs, FEW))
        for number, m in enumerate(found):
            if same_place:
                m = replace(m, protocol=replace(m.protocol, name="b2n"), method=replace(m.method, name="vificlip"))
            record = replace(
                template, measurement=m, key=keys_of(m).cell, signature=signature(m),
                fit=template.fit if m.fitted else None,
                columns=(*template.columns, Column("more", m.protocol.part)),
            )  # fmt: skip
            value = encode(record)
            (runs / f"{number}.record.json").write_text(json.dumps(value), "utf-8")
        built = build_report(runs, Path(folder) / "site")
        assert built.index.is_file()
        for format in ("md", "latex", "csv", "html"):
            assert render_table("all", runs, True, format).text
        assert summary(sorted(runs.rglob("*.record.json")), runs).text
        read, frame = read_entries(runs), records_frame(runs)
        assert len(frame.frame) == len(read.entries) and frame.damaged == read.damaged
