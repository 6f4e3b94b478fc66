"""`compare` on valid sides: statistics, names, missing and damaged files, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.base.errors import UserError
from results.compare import compare, compare_files
from results.predictions import read_predictions, write_predictions
from results.record import read_record, write_record
from results.statistics.flips import mcnemar_p
from tests.conftest import in_process
from tests.results.comparisons import ONE, of, refused, write_row
from tests.results.factories import write_sample
from tests.results.measurements import put

# --- numbers


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_test_splits_pool_their_videos(tmp_path: Path) -> None:
    for method, accuracy in (("a", 0.7), ("b", 0.6)):
        for index in (1, 2, 3):
            write_sample(tmp_path, method=method, accuracy=accuracy, protocol="zero_shot", repeat=("test_split", index))
    (part,) = compare(of(tmp_path, "a"), of(tmp_path, "b")).parts
    assert part.videos == 360 and part.difference == pytest.approx(10.0)
    assert part.p < min(one.p for one in part.lists)


@pytest.mark.slow
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
    rows = ["views frames 8", "views frames 16"]  # in the order of their records, whose names are hashes
    assert error.message in [f"B has 2 rows of b2n/mini_target: {'; '.join(o)}." for o in (rows, rows[::-1])]
    choices = ["two:frames=8", "two:frames=16"]
    assert error.hint in [f"Choose one for B: {' or '.join(o)}." for o in (choices, choices[::-1])]


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


# --- names of the sides, files


@pytest.mark.slow
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


@pytest.mark.slow
def test_missing_parts_are_noted(tmp_path: Path) -> None:
    write_row(tmp_path, method="a")
    write_row(tmp_path, ("base",), method="b")
    result = compare(of(tmp_path, "a"), of(tmp_path, "b"))
    assert [part.name for part in result.parts] == ["b2n/mini_target/base"]
    assert any(note.startswith("B: not measured: novel 1, novel 2") for note in result.notes)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
