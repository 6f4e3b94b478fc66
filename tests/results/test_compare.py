"""`compare` pairs only rows that the definition of a measurement allows to be compared, and says what differs."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.base.errors import UserError
from results.compare import Comparison, compare, compare_files
from results.measurement import keys_of
from results.measurement_words import signature
from results.predictions import ID_COLUMNS, predictions_frame, read_predictions, write_predictions
from results.record import read_record, write_record
from results.sides import Choice, Filters
from results.statistics.metrics import accuracies
from results.statistics.paired import mcnemar_p, sign_flip_p
from tests.conftest import in_process
from tests.results.factories import Sample, write_sample
from tests.results.measurements import put

ONE = {"protocol": "few_shot", "part": "k16", "shots": 16, "videos": 240, "list_name": "val"}


def of(folder: Path, method: str, **values: str) -> Choice:
    """The records of a method in a folder, as `NAME:SETTING=VALUE` chooses them."""
    return Choice((folder,), method, values, method + "".join(f":{k}={v}" for k, v in values.items()))


def write_row(folder: Path, parts: tuple[str, ...] = ("base", "novel", "joint"), **changes: Any) -> list[Path]:
    """A row of base-to-novel: every part of the three training subsets."""
    return [
        write_sample(folder, part=part, repeat=("train_subset", index), **changes)
        for index in (1, 2, 3)
        for part in parts
    ]


def change(path: Path, place: str, value: Any) -> None:
    """Another value in a record's measurement, with the key and the signature that follow."""
    record = read_record(path)
    m = put(record.measurement, place, value)
    write_record(path, replace(record, measurement=m, key=keys_of(m).cell, signature=signature(m)))


def refused(a: Choice | Path, b: Choice | Path, filters: Filters | None = None) -> UserError:
    with pytest.raises(UserError) as caught:
        compare(a, b, filters)
    assert caught.value.hint
    return caught.value


# --- numbers


def test_two_records(tmp_path: Path) -> None:
    a = write_sample(tmp_path, method="a", accuracy=0.7, **ONE)
    b = write_sample(tmp_path, method="b", accuracy=0.6, **ONE)
    result = compare(a, b)
    (part,) = result.parts
    (one,) = part.lists
    assert (result.a, result.b) == ("a", "b") and part.name == "few_shot/mini_target/k16"
    assert part.difference == pytest.approx(10.0) == pytest.approx(one.accuracy_a - one.accuracy_b)
    assert one.both + one.only_a + one.only_b + one.neither == one.n == part.videos == 240
    assert part.p == one.p == part.p_holm == mcnemar_p(one.only_a, one.only_b)
    assert part.interval.low < part.difference < part.interval.high
    assert len(part.flips) == one.only_a + one.only_b
    assert sum(flip.right == "a" for flip in part.flips) == one.only_a
    assert all((f.label == f.predicted_a) == (f.right == "a") for f in part.flips)
    changes = [abs(change.change) for change in part.classes]
    assert len(changes) == 12 and changes == sorted(changes, reverse=True)
    assert np.mean([change.change for change in part.classes]) == pytest.approx(10.0)
    assert part.differing == () and result.refused == result.damaged == ()
    turned = compare(b, a).parts[0]
    assert turned.difference == pytest.approx(-10.0)
    assert turned.interval == pytest.approx((-part.interval.high, -part.interval.low))


def test_folders_match_parts_and_repeats_and_count_a_video_once(tmp_path: Path) -> None:
    for method, accuracy in (("a", 0.72), ("b", 0.6)):
        write_row(tmp_path, method=method, accuracy=accuracy)
    result = compare(of(tmp_path, "a"), of(tmp_path, "b"))
    assert [part.name for part in result.parts] == [f"b2n/mini_target/{part}" for part in ("base", "novel", "joint")]
    for part in result.parts:
        assert [one.name for one in part.lists] == [
            f"{part.name.rpartition('/')[2]}_1 (train_subset {index})" for index in (1, 2, 3)
        ]
        assert part.videos == 120 and part.p_holm >= part.p
        assert part.difference == pytest.approx(np.mean([one.accuracy_a - one.accuracy_b for one in part.lists]))
    assert max(part.p_holm for part in result.parts) <= 3 * max(part.p for part in result.parts)
    assert result.notes == ()
    again = compare_files(*([r for r in tmp_path.rglob("*.record.json") if read_record(r).measurement.method.name == m]
                            for m in "ab"))  # fmt: skip
    assert again.parts == result.parts


def test_test_splits_pool_their_videos(tmp_path: Path) -> None:
    for method, accuracy in (("a", 0.7), ("b", 0.6)):
        for index in (1, 2, 3):
            write_sample(tmp_path, method=method, accuracy=accuracy, protocol="zero_shot", repeat=("test_split", index))
    (part,) = compare(of(tmp_path, "a"), of(tmp_path, "b")).parts
    assert part.videos == 360 and part.difference == pytest.approx(10.0)
    assert part.p < min(one.p for one in part.lists)


def test_an_untrained_method_is_compared_with_every_repeat_of_one_row(tmp_path: Path) -> None:
    write_sample(tmp_path, method="clip", trained=False, part="base", accuracy=0.4)
    write_row(tmp_path, ("base",), method="a", accuracy=0.7)
    for sides in ((of(tmp_path, "a"), of(tmp_path, "clip")), (of(tmp_path, "clip"), of(tmp_path, "a"))):
        (part,) = compare(*sides).parts
        assert len(part.lists) == 3 and part.difference == pytest.approx(30.0 if sides[0].method == "a" else -30.0)
        assert {one.name for one in part.lists} == {f"base_1 (train_subset {index})" for index in (1, 2, 3)}
    for frames in (8, 16):
        write_row(tmp_path, ("base",), method="two", frames=frames)
    error = refused(of(tmp_path, "clip"), of(tmp_path, "two"))
    assert error.message == "B has 2 rows of b2n/mini_target: views frames 8; views frames 16."
    assert error.hint == "Choose one for B: two:frames=8 or two:frames=16."


def test_two_untrained_methods_are_a_pair(tmp_path: Path) -> None:
    for method in ("clip", "other"):
        write_sample(tmp_path, method=method, trained=False, part="base")
    (part,) = compare(of(tmp_path, "clip"), of(tmp_path, "other")).parts
    assert len(part.lists) == 1 and part.differing == ()


def test_the_same_predictions_differ_in_nothing(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    result = compare(path, path)
    (part,) = result.parts
    assert (part.difference, part.p, part.flips) == (0.0, 1.0, ())
    assert -4 < part.interval.low == -part.interval.high < 0, "videos that nobody looked at may differ"
    assert result.a != result.b


# --- one row a side


def test_recipes_are_never_pooled_whatever_the_other_side_is(tmp_path: Path) -> None:
    for recipe in ((), (("epochs", 1),)):
        write_row(tmp_path, method="a", recipe=recipe)
    write_row(tmp_path, method="b")
    for part in ("base", "novel", "joint"):
        write_sample(tmp_path, method="clip", trained=False, part=part)
    for other in ("b", "clip"):
        error = refused(of(tmp_path, "a"), of(tmp_path, other))
        assert error.message == "A has 2 rows of b2n/mini_target: epochs 11; epochs 1."
        assert error.hint == "Choose one for A: a:epochs=11 or a:epochs=1."
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


def test_the_differences_of_all_pairs_are_named_with_the_pairs(tmp_path: Path) -> None:
    write_row(tmp_path, method="a", engine=1)
    paths = write_row(tmp_path, method="b", engine=2)
    changed = next(p for p in paths if read_record(p).measurement.protocol.part == "novel")
    change(changed, "evaluation.views.reader", "exact")
    message = refused(of(tmp_path, "a"), of(tmp_path, "b")).message
    assert "engine version 1 against 2;" in message and "views reader decord against exact (novel 1)" in message


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


# --- names of the sides, files


def test_two_fits_of_one_method_are_named_by_what_differs(tmp_path: Path, capsys: Any) -> None:
    a = write_sample(tmp_path / "a", title="ViFi-CLIP", recipe=(("lr", 1e-3),), options=(("k", 3),))
    b = write_sample(tmp_path / "b", title="ViFi-CLIP", options=(("k", 5),))
    result = compare(a.parent, b.parent)
    assert (result.a, result.b) == ("ViFi-CLIP (option k 3, lr 0.001)", "ViFi-CLIP (option k 5, lr 2e-06)")
    assert result.parts[0].differing == ("option k 3 against 5", "lr 0.001 against 2e-06")
    assert in_process("compare", a.parent, b.parent) == 0
    out = capsys.readouterr().out
    assert "A = ViFi-CLIP (option k 3, lr 0.001)\nB = ViFi-CLIP (option k 5, lr 2e-06)\n" in out
    assert "differs besides the method: lr 0.001 against 2e-06" in out and "A: changed recipe: lr=0.001" in out
    same = write_sample(tmp_path / "c", title="ViFi-CLIP", options=(("k", 5),))
    found = compare(b, same)
    assert (found.a, found.b) == (f"ViFi-CLIP ({b})", f"ViFi-CLIP ({same})")


def test_a_part_of_the_list_is_compared_on_the_common_videos(tmp_path: Path) -> None:
    a, b = write_sample(tmp_path, method="a"), write_sample(tmp_path, method="b")
    record = read_record(b)
    file = b.with_name(record.predictions.file)
    frame = read_predictions(file).drop(index=[3, 8])
    sha = write_predictions(file, frame)
    m = put(record.measurement, "evaluation.evaluated", 118)
    write_record(b, replace(record, measurement=m, predictions=replace(record.predictions, sha256=sha)))
    result = compare(a, b)
    (part,) = result.parts
    assert part.videos == 118 and part.differing == ("videos evaluated 120 against 118",)
    assert "B: 2 of 120 videos missing" in result.notes


def test_missing_parts_are_noted(tmp_path: Path) -> None:
    write_row(tmp_path, method="a")
    write_row(tmp_path, ("base",), method="b")
    result = compare(of(tmp_path, "a"), of(tmp_path, "b"))
    assert [part.name for part in result.parts] == ["b2n/mini_target/base"]
    assert any(note.startswith("B: not measured: novel 1, novel 2") for note in result.notes)


def test_damaged_and_missing_files_are_named_and_the_others_go_on(tmp_path: Path, capsys: Any) -> None:
    for method in ("a", "b"):
        write_row(tmp_path, method=method)
    torn = write_sample(tmp_path, method="c")
    torn.write_text(torn.read_text(encoding="utf-8")[:200], encoding="utf-8")
    old = write_sample(tmp_path, method="d")
    old.write_text(json.dumps({**json.loads(old.read_text(encoding="utf-8")), "schema": 2}), encoding="utf-8")
    records = {p: read_record(p) for p in tmp_path.rglob("*.record.json") if p not in (torn, old)}
    gone = next(p for p, r in records.items() if r.measurement.protocol.part == "joint")
    gone.with_name(records[gone].predictions.file).unlink()
    result = compare(of(tmp_path, "a"), of(tmp_path, "b"))
    assert [len(part.lists) for part in result.parts] == [3, 3, 2]
    assert len(result.damaged) == 3
    for path in (torn, old, gone.with_name(records[gone].predictions.file)):
        assert sum(str(path) in text for text in result.damaged) == 1
    assert in_process("compare", "a", "b", "--runs", tmp_path) == 1
    out, err = capsys.readouterr()
    assert str(torn) in err and str(old) in err and "b2n/mini_target/base" in out
    assert in_process("compare", torn, old) == 2
    for path, record in records.items():
        path.with_name(record.predictions.file).unlink(missing_ok=True)
    with pytest.raises(UserError, match="No list could be compared") as caught:
        compare(of(tmp_path, "a"), of(tmp_path, "b"))
    assert "is missing" in caught.value.message and caught.value.exit_code == 1


def test_altered_predictions_are_named(tmp_path: Path) -> None:
    a, b = write_sample(tmp_path, method="a"), write_sample(tmp_path, method="b")
    c = write_sample(tmp_path, method="a", **ONE)
    write_sample(tmp_path, method="b", **ONE)
    file = b.with_name(read_record(b).predictions.file)
    write_predictions(file, read_predictions(file).iloc[::-1])
    result = compare(of(tmp_path, "a"), of(tmp_path, "b"))
    assert [part.name for part in result.parts] == ["few_shot/mini_target/k16"] and c
    assert (
        len(result.damaged) == 1 and f"python -m harness score {a}" in result.damaged[0] and str(b) in result.damaged[0]
    )


def test_sides_that_are_not_there(tmp_path: Path, capsys: Any) -> None:
    a = write_sample(tmp_path / "runs", method="vificlip", part="base")
    b = write_sample(tmp_path / "runs", method="vificlip", protocol="few_shot", part="k2")
    error = refused(a, b)
    assert error.message == (
        "A and B have no table in common: A has b2n on mini_target; B has few_shot on mini_target."
    )
    error = refused(of(tmp_path / "runs", "vifi_clip"), of(tmp_path / "runs", "vificlip"))
    assert "contains no record of method 'vifi_clip'" in error.message and "Did you mean vificlip?" in error.hint
    (tmp_path / "empty").mkdir()
    assert "contains no readable record" in refused(tmp_path / "empty", a).message
    for arguments in (("no.record.json", a), ("./no/folder", a), ("a:b", a), ("nothing", a)):
        assert in_process("compare", *arguments, "--runs", tmp_path / "runs") == 2
    assert in_process("compare", "a", "b", "--runs", tmp_path / "none") == 2
    assert "There is no file or folder ./no/folder." in capsys.readouterr().err


def test_a_folder_of_a_methods_source_is_not_a_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("a", "b"):
        write_sample(tmp_path / "runs", method=method)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    assert in_process("compare", "a", "b", "--runs", "runs") == 0


def test_the_verb_reads_settings_and_prints_data(tmp_path: Path, capsys: Any) -> None:
    for k in (3, 5):
        write_sample(tmp_path, method="a", options=(("k", k), ("template", "a, {}")))
    write_sample(tmp_path, method="b")
    assert in_process("compare", "a", "b", "--runs", tmp_path) == 2
    assert "a:k=3 or a:k=5" in capsys.readouterr().err or "a:k=5 or a:k=3"
    assert in_process("compare", "a:k=3,template='a, {}'", "b", "--runs", tmp_path, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["a"] == "a" and set(data) == {"a", "b", "parts", "notes", "refused", "damaged"}
    assert set(data["parts"][0]) >= {"name", "difference", "interval", "p", "p_holm", "lists", "differing"}


# --- the interval never contradicts the p value


def write_outcomes(folder: Path, method: str, right: list[np.ndarray], labels: list[np.ndarray]) -> None:
    """Records of the three test splits of zero-shot with given right answers."""
    for index, (hits, truth) in enumerate(zip(right, labels, strict=True), start=1):
        path = write_sample(
            folder, method=method, protocol="zero_shot", repeat=("test_split", index), videos=len(hits),
            classes=int(truth.max()) + 2, list_name=f"split_{index}",
        )  # fmt: skip
        record = read_record(path)
        file = path.with_name(record.predictions.file)
        videos = read_predictions(file)["video"].tolist()
        ids = np.where(hits, truth, truth + 1)[:, None]
        frame = predictions_frame(videos, truth, ids, np.ones_like(ids, dtype=float))
        sha = write_predictions(file, frame)
        metrics = replace(record.metrics, **accuracies(frame["label"], frame[ID_COLUMNS]).as_dict())
        write_record(path, replace(record, metrics=metrics, predictions=replace(record.predictions, sha256=sha)))


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Up to three lists of several lengths, many with classes of one video: right answers of A and B, labels."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        n = draw(st.integers(2, 40))
        bits = st.lists(st.booleans(), min_size=n, max_size=n).map(np.array)
        a = draw(bits)
        b = draw(st.one_of(bits, st.just(a), st.lists(st.integers(0, n - 1), max_size=9).map(partial(_without, a))))
        labels = np.arange(n) if draw(st.booleans()) else np.arange(n) % draw(st.integers(1, n))
        found.append((a, b, labels.astype(np.int64)))
    return found


def _without(bits: np.ndarray, places: list[int]) -> np.ndarray:
    found = bits.copy()
    found[places] = False
    return found


@given(lists=tables())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_0_lies_in_the_interval_exactly_where_p_is_005_or_more(
    tmp_path_factory: pytest.TempPathFactory, lists: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> None:
    """Exact, for lists of one and of several lengths."""
    folder = tmp_path_factory.mktemp("compare")
    for method, place in (("a", 0), ("b", 1)):
        write_outcomes(folder, method, [one[place] for one in lists], [one[2] for one in lists])
    (part,) = compare(of(folder, "a"), of(folder, "b")).parts
    assert part.interval.holds(0.0) == (part.p >= 0.05)
    truth = np.mean([100 * (a.mean() - b.mean()) for a, b, _ in lists])
    assert part.difference == pytest.approx(truth, abs=1e-9)
    assert part.interval.low - 0.05 <= truth <= part.interval.high + 0.05
    if len({len(a) for a, _, _ in lists}) == 1:
        steps = np.concatenate([a.astype(np.int64) - b for a, b, _ in lists])
        assert part.p == pytest.approx(sign_flip_p(steps), rel=1e-9)


def test_two_of_34_videos_with_one_video_a_class_are_no_difference(tmp_path: Path) -> None:
    """A class-stratified bootstrap gave 1.96 [0.98, 2.94] for such a table, beside a p value of 0.5."""
    labels = np.arange(34)
    right = labels % 3 > 0
    write_outcomes(tmp_path, "a", [right], [labels])
    write_outcomes(tmp_path, "b", [_without(right, [1, 2])], [labels])
    (part,) = compare(of(tmp_path, "a"), of(tmp_path, "b")).parts
    assert part.p == 0.5 and part.difference == pytest.approx(200 / 34)
    assert part.interval == pytest.approx((-4.90, 19.09), abs=0.01)


def test_every_list_has_one_vote_in_the_test_as_in_the_mean(tmp_path: Path) -> None:
    """A is better on a short list by as many videos as B is on a long one: the mean over lists is for A."""
    sizes = (20, 200)
    labels = [np.arange(n) % 5 for n in sizes]
    ones = [np.ones(n, dtype=bool) for n in sizes]
    write_outcomes(tmp_path, "a", [ones[0], _without(ones[1], list(range(8)))], labels)
    write_outcomes(tmp_path, "b", [_without(ones[0], list(range(8))), ones[1]], labels)
    (part,) = compare(of(tmp_path, "a"), of(tmp_path, "b")).parts
    assert part.difference == pytest.approx((40 - 4) / 2)
    assert part.p < 0.05 and part.interval.low > 0


def test_a_comparison_of_the_grid_is_quick(tmp_path: Path) -> None:
    import time

    from tests.results.factories import write_grid

    write_grid(tmp_path)
    start = time.process_time()
    result: Comparison = compare(of(tmp_path, "vificlip"), of(tmp_path, "image_ft"))
    assert len(result.parts) == 9 and time.process_time() - start < 5
