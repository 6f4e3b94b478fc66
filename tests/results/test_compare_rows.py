"""`compare` pairs only rows whose comparison the definition of a measurement allows, and names all differences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from results.compare import compare
from results.measurement import keys_of
from results.record import read_record
from results.sides import Filters, Reader, read_side
from tests.conftest import in_process
from tests.results.comparisons import ONE, change, of, refused, write_row
from tests.results.factories import Sample, write_sample

# --- one row a side


@pytest.mark.slow
def test_recipes_are_never_pooled_whatever_the_other_side_is(tmp_path: Path) -> None:
    for recipe in ((), (("epochs", 1),)):
        write_row(tmp_path, method="a", recipe=recipe)
    write_row(tmp_path, method="b")
    for part in ("base", "novel", "joint"):
        write_sample(tmp_path, method="clip", trained=False, part=part)
    for other in ("b", "clip"):
        error = refused(of(tmp_path, "a"), of(tmp_path, other))
        rows = ["epochs 11", "epochs 1"]  # in the order of their records, whose names are hashes
        assert error.message in [f"A has 2 rows of b2n/mini_target: {'; '.join(o)}." for o in (rows, rows[::-1])]
        choices = ["a:epochs=11", "a:epochs=1"]
        assert error.hint in [f"Choose one for A: {' or '.join(o)}." for o in (choices, choices[::-1])]
        result = compare(of(tmp_path, "a", epochs="1"), of(tmp_path, other))
        assert [len(part.lists) for part in result.parts] == [3, 3, 3]
        assert "A: changed recipe: epochs=1" in result.notes
    both = compare(of(tmp_path, "a", epochs="11"), of(tmp_path, "a", epochs="1"))
    assert (both.a, both.b) == ("a (epochs 11)", "a (epochs 1)")
    assert all(part.differing == ("epochs 11 against 1",) for part in both.parts)


VARIANTS: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({"options": (("k", 3),)}, {"options": (("k", 5),)}, "option k 3; option k 5", "a:k=3 or a:k=5"),
    ({"recipe": (("lr", 8e-6),)}, {}, "lr 8e-06; lr 2e-06", "a:lr=8e-06 or a:lr=2e-06"),
    ({"arch": "large"}, {"arch": "small"}, "backbone large; backbone small", "a --arch large or a --arch small"),
    ({"seed": 7}, {}, "seed 7; seed 1024", "a:seed=7 or a:seed=1024"),
    (
        {"options": (("template", "a {}"),)},
        {"options": (("template", "b, {}"),)},
        "option template a {}; option template b, {}",
        "\"a:template='a {}'\" or \"a:template='b, {}'\"",
    ),
    ({"class_text": "templates"}, {}, "class text templates; class text names", ""),
    ({"sample": "every 10th"}, {}, "sample every 10th; sample none", ""),
]


@pytest.mark.parametrize(("first", "second", "labels", "names"), VARIANTS, ids=[v[2] for v in VARIANTS])
def test_variants_are_listed_by_what_differs_and_each_can_be_chosen(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], labels: str, names: str
) -> None:
    a = [write_sample(tmp_path, replace(Sample(method="a"), **changes)) for changes in (first, second)]
    write_sample(tmp_path, method="b", **{k: v for k, v in second.items() if k == "arch"})
    order = sorted(a)
    error = refused(of(tmp_path, "a"), of(tmp_path, "b"))
    texts = labels.split("; ") if order == a else labels.split("; ")[::-1]
    assert error.message == f"A has 2 rows of b2n/mini_target: {'; '.join(texts)}."
    rows = [keys_of(read_record(path).measurement).row for path in order]
    choices = names.split(" or ") if names else [f"a:row={row}" for row in rows]
    assert error.hint == f"Choose one for A: {' or '.join(choices if order == a or not names else choices[::-1])}."


def test_several_rows_on_both_sides_and_of_a_folder_are_said_at_once(tmp_path: Path) -> None:
    for k in (3, 5):
        write_sample(tmp_path, method="a", options=(("k", k),))
    write_sample(tmp_path, method="b")
    error = refused(tmp_path, of(tmp_path, "a"))
    assert "A has 3 rows of b2n/mini_target: " in error.message and "B has 2 rows of b2n/mini_target" in error.message
    assert all(word in error.message for word in ("method a", "method b", "option k 3", "option k 5"))
    assert f", with --runs {tmp_path}; or name a record or the folder of a fit. Choose one for B: a:k=" in error.hint
    assert compare(of(tmp_path, "a", k="3"), of(tmp_path, "b")).parts


@pytest.mark.slow
def test_settings_are_read_as_people_write_them(tmp_path: Path) -> None:
    for lr in (8e-6, 2e-6):
        write_sample(tmp_path, method="a", recipe=(("lr", lr),), options=(("flag", True), ("text", "1"), ("k", 5)))
    write_sample(tmp_path, method="b")
    for settings_ in ({"lr": "8e-6"}, {"lr": "0.000008"}, {"lr": "8e-06", "flag": "true", "text": "1", "k": "5.0"}):
        assert "changed recipe: lr=8e-06" in compare(of(tmp_path, "a", **settings_), of(tmp_path, "b")).notes[0]
    error = refused(of(tmp_path, "a", lr="1"), of(tmp_path, "b"))
    assert "contains no record of a:lr=1" in error.message and error.hint == "Available values: lr: 2e-06, 8e-06."
    error = refused(of(tmp_path, "a", colour="1"), of(tmp_path, "b"))
    assert "No record has a setting 'colour'; available settings: " in error.hint and "lr" in error.hint
    row = keys_of(read_record(sorted(tmp_path.rglob("*.record.json"))[0]).measurement).row
    assert "no record" in refused(of(tmp_path, "zzz", row=row), of(tmp_path, "b")).message


@pytest.mark.slow
def test_filters_restrict_both_sides(tmp_path: Path) -> None:
    for method in ("a", "b"):
        for arch in ("small", "large"):
            for dataset in ("one", "two"):
                write_sample(tmp_path, method=method, arch=arch, dataset=dataset)
                write_sample(tmp_path, method=method, arch=arch, dataset=dataset, **ONE)
    sides = of(tmp_path, "a"), of(tmp_path, "b")
    assert "A has 2 rows of b2n/one: backbone" in refused(*sides).message
    names = [part.name for part in compare(*sides, Filters(archs=("large",))).parts]
    assert sorted(names) == ["b2n/one/base", "b2n/two/base", "few_shot/one/k16", "few_shot/two/k16"]
    names = [part.name for part in compare(*sides, Filters(("b2n",), ("two", "one"), ("large",))).parts]
    assert sorted(names) == ["b2n/one/base", "b2n/two/base"]
    error = refused(*sides, Filters(protocols=("supervised",)))
    assert "no record has the requested protocols" in error.message and "b2n on one with small" in error.hint


@pytest.mark.slow
def test_older_generations_are_left_out_and_named(tmp_path: Path) -> None:
    write_row(tmp_path, method="a", accuracy=0.3, code="0" * 64, created="2025-01-01T00:00:00Z")
    write_row(tmp_path, method="a", accuracy=0.7, code="1" * 64, created="2026-01-01T00:00:00Z")
    write_row(tmp_path, method="b", accuracy=0.6)
    result = compare(of(tmp_path, "a"), of(tmp_path, "b"))
    assert [round(part.lists[0].accuracy_a) for part in result.parts] == [70, 70, 70]
    (note,) = result.notes
    assert note.startswith("A: 9 superseded records are left out: the records of 2026-01-01") and "code 0000" in note
    old = keys_of(read_record(next(p for p in tmp_path.rglob("*.record.json")
                                   if read_record(p).measurement.method.code == "0" * 64)).measurement).row  # fmt: skip
    chosen = compare(of(tmp_path, "a", row=old), of(tmp_path, "b"))
    assert [round(part.lists[0].accuracy_a) for part in chosen.parts] == [30, 30, 30]


# --- only rows of one group

GROUPS: list[tuple[dict[str, Any], str]] = [
    ({"arch": "large"}, "backbone small against large"),
    ({"frames": 16}, "views frames 8 against 16"),
    ({"clips": 4}, "views clips 1 against 4"),
    ({"class_text": "llm-rewritten"}, "class text names against llm-rewritten"),
    ({"init": "fit parent"}, "start clip against fit"),
    ({"sample": "every 10th"}, "sample none against every 10th"),
    ({"training_origin": "own"}, "B: own training list"),
    ({"engine": 2}, "engine version 1 against 2"),
]


@pytest.mark.parametrize(("changes", "text"), GROUPS, ids=[text for _, text in GROUPS])
def test_rows_of_two_groups_are_refused_and_the_reason_is_named(
    tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    a = write_sample(tmp_path / "a", method="a", arch="small")
    b = write_sample(tmp_path / "b", replace(Sample(method="b", arch="small"), **changes))
    error = refused(a, b)
    assert error.message.startswith("b2n/mini_target of A and B cannot be compared: ") and text in error.message
    assert "(base 1)" not in error.message, "a difference of all pairs needs no list of them"
    assert "cannot be compared" in refused(b, a).message


@pytest.mark.slow
def test_the_differences_of_all_pairs_are_named_with_the_pairs(tmp_path: Path) -> None:
    write_row(tmp_path, method="a", engine=1)
    paths = write_row(tmp_path, method="b", engine=2)
    changed = next(p for p in paths if read_record(p).measurement.protocol.part == "novel")
    change(changed, "evaluation.views.reader", "exact")
    message = refused(of(tmp_path, "a"), of(tmp_path, "b")).message
    assert "engine version 1 against 2;" in message and "views reader decord against exact (novel 1)" in message


@pytest.mark.slow
def test_differences_that_a_group_may_have_are_printed_with_their_lists(tmp_path: Path) -> None:
    write_row(tmp_path, method="a", options=(("k", 3),))
    paths = write_row(tmp_path, method="b", options=(("k", 5),), recipe=(("lr", 1e-3),))
    changed = next(p for p in paths if read_record(p).measurement.protocol.part == "novel")
    change(changed, "evaluation.precision", "bfloat16")
    parts = {part.name.rpartition("/")[2]: part.differing for part in
             compare(of(tmp_path, "a"), of(tmp_path, "b")).parts}  # fmt: skip
    assert parts["base"] == ("option k 3 against 5", "lr 2e-06 against 0.001")
    assert parts["novel"] == (
        *parts["base"], "precision of the eval float32 against bfloat16 (novel_1 (train_subset 1))",
    )  # fmt: skip


@pytest.mark.slow
def test_a_comparable_table_is_compared_beside_a_refused_one(tmp_path: Path, capsys: Any) -> None:
    for method in ("a", "b"):
        write_sample(tmp_path, method=method)
        write_sample(tmp_path, method=method, frames=16 if method == "a" else 8, **ONE)
    result = compare(of(tmp_path, "a"), of(tmp_path, "b"))
    assert [part.name for part in result.parts] == ["b2n/mini_target/base"]
    (message,) = result.refused
    assert message.startswith("few_shot/mini_target of A and B cannot be compared: ")
    assert in_process("compare", "a", "b", "--runs", tmp_path) == 1
    assert "cannot be compared" in capsys.readouterr().err
    assert in_process("compare", "a", "b", "--runs", tmp_path, "--protocol", "b2n") == 0
    assert in_process("compare", "a", "b", "--runs", tmp_path, "--protocol", "few_shot") == 2


# --- own datasets


@pytest.mark.slow
def test_two_own_datasets_of_one_name_are_never_paired(tmp_path: Path) -> None:
    own = {"list_origin": "own", "dataset": "videos"}
    a = write_sample(tmp_path, method="a", root="here", content="one", **own)
    b = write_sample(tmp_path, method="b", root="there", content="two", **own)
    roots = [read_record(path).measurement.evaluation.list.root for path in (a, b)]
    error = refused(a, b)
    assert f"b2n on videos ({roots[0]}) of A and on videos ({roots[1]}) of B cannot be compared" in error.message
    moved = write_sample(tmp_path, method="c", root="elsewhere", content="one", **own)
    (part,) = compare(a, moved).parts
    assert part.name == "b2n/videos/base", "one folder's videos at two places are one dataset"
    write_sample(tmp_path, method="b", root="here", content="one", **own)
    write_sample(tmp_path, method="a", root="there", content="two", **own)
    names = {part.name for part in compare(of(tmp_path, "a"), of(tmp_path, "b")).parts}
    assert names == {f"b2n/videos ({root})/base" for root in roots}
    (one,) = compare(of(tmp_path, "a"), of(tmp_path, "b"), Filters(datasets=(f"videos ({roots[1]})",))).parts
    assert one.name == "b2n/videos/base"


def test_an_own_list_and_a_published_one_are_not_a_table(tmp_path: Path) -> None:
    a = write_sample(tmp_path, method="a")
    b = write_sample(tmp_path, method="b", list_origin="own", content="x")
    assert "cannot be compared: they contain different videos" in refused(a, b).message


@pytest.mark.slow
@pytest.mark.parametrize(("accepted", "counts"), [("2025-09-01T00:00:00Z", "v0"), ("2026-09-01T00:00:00Z", "v1")])
def test_the_generation_of_a_submission_counts_from_its_acceptance(tmp_path: Path, accepted: str, counts: str) -> None:
    """A submission claims a time in the far future; the time of its acceptance decides."""
    first, second = (tmp_path / "board" / "a" / version for version in ("v0", "v1"))
    write_row(first / "records", method="a", created="2025-03-01T00:00:00Z", accuracy=0.5)
    (first / "acceptance.json").write_text(json.dumps({"accepted": "2026-03-01T00:00:00Z"}), "utf-8")
    write_row(second / "records", method="a", created="9999-01-01T00:00:00Z", accuracy=0.9, engine=2)
    (second / "acceptance.json").write_text(json.dumps({"accepted": accepted}), "utf-8")
    write_row(tmp_path / "own", method="b")
    side = read_side(of(tmp_path, "a"), Filters(), Reader())
    (row,) = next(iter(side.tables.values()))
    assert {record.item.path.relative_to(tmp_path).parts[2] for record in row.records} == {counts}


@pytest.mark.slow
def test_a_submission_never_hides_records_of_the_same_folder(tmp_path: Path) -> None:
    write_row(tmp_path / "own", method="a", created="2025-03-01T00:00:00Z", accuracy=0.5)
    submission = tmp_path / "board" / "a" / "v1"
    write_row(submission / "records", method="a", created="9999-01-01T00:00:00Z", accuracy=0.9, engine=2)
    (submission / "acceptance.json").write_text(json.dumps({"accepted": "2026-09-01T00:00:00Z"}), "utf-8")
    side = read_side(of(tmp_path, "a"), Filters(), Reader())
    (row,) = next(iter(side.tables.values()))
    assert {record.item.path.relative_to(tmp_path).parts[0] for record in row.records} == {"own"}
