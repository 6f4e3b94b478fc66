"""The newest complete generation of a row counts; the other records are superseded, and the reason is said."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from harness.spec import Repeat
from results.generations import Dated, Generations, generations
from results.measurement import Measurement, keys_of
from tests.results.factories import Sample, digest, sample_measurement

PARTS = ("base", "novel", "joint")


def measured(**changes: Any) -> Measurement:
    """The measurement of a sample."""
    sample = replace(Sample(part="base"), **changes)
    listed = f"{sample.part}_1"
    return sample_measurement(sample, listed, digest([listed, sample.lists]), ("a", "b"), 120)


def dated(time: str, **changes: Any) -> list[Dated[str]]:
    """One whole row: every part of every repeat of the base-to-novel protocol."""
    return [
        Dated(f"{time} {part} {index}", measured(part=part, repeat=("train_subset", index), **changes), time)
        for index in (1, 2, 3)
        for part in PARTS
    ]


def times(found: Generations[str]) -> list[set[str]]:
    return [{record.time for record in row.records} for row in found.rows]


def reasons(found: Generations[str]) -> set[str]:
    return {one.reason for one in found.superseded}


def test_a_whole_row_is_complete_and_sorted_by_part_and_repeat() -> None:
    records = dated("2026")
    random.Random(1).shuffle(records)
    (row,) = generations(records).rows
    assert row.complete and not row.missing and not row.unfinished
    assert [(r.place.part, r.place.repeat.index) for r in row.records] == [
        (part, index) for part in sorted(PARTS) for index in (1, 2, 3)
    ]
    assert {keys_of(r.measurement).row for r in row.records} == {row.keys.row}
    assert {keys_of(r.measurement).group for r in row.records} == {row.keys.group}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine": 2}, "engine version 1 against 2"),
        ({"code": "c" * 64}, "against cccccccc"),
        ({"lists": "new"}, "training list sha256"),
    ],
)
def test_the_newest_generation_counts_and_the_change_is_said(changes: dict[str, Any], said: str) -> None:
    for order in (1, -1):
        found = generations((dated("2025") + dated("2026", **changes))[::order])
        assert times(found) == [{"2026"}]
        assert len(found.superseded) == 9 and {s.record.time for s in found.superseded} == {"2025"}
        assert all(said in reason and "the records of 2026 count" in reason for reason in reasons(found))
        assert not any("incomplete" in reason for reason in reasons(found))


def test_a_changed_list_that_no_record_shows_is_said_too() -> None:
    def scoped(records: Iterable[Dated[str]]) -> list[Dated[str]]:
        return [
            replace(r, measurement=replace(m, protocol=replace(m.protocol, scope=replace(m.protocol.scope, lists="x"))))
            for r in records
            for m in [r.measurement]
        ]

    found = generations(dated("2025") + scoped(dated("2026")))
    assert reasons(found) == {"the records of 2026 count; other lists of the protocol"}


def test_an_older_complete_generation_counts_before_a_newer_incomplete_one() -> None:
    for lacking in (dated("2026", engine=2)[:-1], [*dated("2026", engine=2)[:-1], *short("2026", engine=2)]):
        found = generations(dated("2025") + lacking)
        assert times(found) == [{"2025"}]
        assert {s.record.time for s in found.superseded} == {"2026"}
        assert all("although older: these are incomplete" in reason for reason in reasons(found))


def short(time: str, **changes: Any) -> list[Dated[str]]:
    """The last record of a row, without one of its videos."""
    last = dated(time, **changes)[-1]
    evaluation = replace(last.measurement.evaluation, evaluated=119)
    return [replace(last, measurement=replace(last.measurement, evaluation=evaluation))]


def test_of_incomplete_generations_the_newest_counts_and_names_what_it_lacks() -> None:
    found = generations(dated("2025")[:4] + dated("2026", engine=2)[:-1])
    assert times(found) == [{"2026"}]
    (row,) = found.rows
    assert not row.complete
    assert [(place.part, place.repeat) for place in row.missing] == [("joint", Repeat("train_subset", 3))]
    (row,) = generations(dated("2026")[:-1] + short("2026")).rows
    assert not row.missing and row.unfinished == ("1 of 120 videos missing",) and not row.complete


def test_a_fit_that_was_computed_again_leaves_only_records_of_its_newest_weights() -> None:
    again = [record for record in dated("2026", draw=1) if record.place.part == "base"]
    found = generations(dated("2025") + again)
    (row,) = found.rows
    assert {(record.place.part, record.time) for record in row.records} == {("base", "2026")}
    assert len(row.missing) == 6 and len(found.superseded) == 9
    assert all(reason.startswith("its fit was computed again: weights ") for reason in reasons(found))
    # The fits of the other repeats are as they were.
    one = [record for record in again if record.place.repeat.index == 1]
    (row,) = generations(dated("2025") + one).rows
    assert len(row.records) == 7 and {place.repeat.index for place in row.missing} == {1}


def test_one_record_counts_for_each_part_and_repeat() -> None:
    records = dated("2025")
    found = generations(records + records[:1])
    assert len(found.rows[0].records) == 9 and reasons(found) == {"a copy of the record that counts"}
    found = generations(records + short("2026"))
    assert times(found) == [{"2025"}], "a complete record counts before a newer incomplete one"
    assert reasons(found) == {"evaluated again: the record of 2025 counts"}
    newer = replace(records[0], time="2026")
    found = generations([*records, newer])
    assert newer in found.rows[0].records and reasons(found) == {"evaluated again: the record of 2026 counts"}


def test_other_rows_are_no_generations() -> None:
    """Another recipe, option, backbone, protocol, method, view or place of an own dataset is another row."""
    own = {"list_origin": "own", "content": "one"}
    variants: list[dict[str, Any]] = [
        {}, {"recipe": (("lr", 1e-3),)}, {"options": (("k", 3),)}, {"arch": "large"}, {"method": "other"},
        {"frames": 16}, {"sample": "every 10th"}, {**own, "root": "a"}, {**own, "root": "b", "content": "two"},
    ]  # fmt: skip
    found = generations([record for i, changes in enumerate(variants) for record in dated(f"20{i + 10}", **changes)])
    assert [len(row.records) for row in found.rows] == [9] * len(variants) and not found.superseded


def test_an_own_folder_that_grew_is_a_new_generation() -> None:
    own = {"list_origin": "own", "root": "here"}
    found = generations(dated("2025", content="one", **own) + dated("2026", content="two", **own))
    assert times(found) == [{"2026"}] and len(found.superseded) == 9
    assert all("content" in reason for reason in reasons(found))


def test_untrained_records_need_no_weights() -> None:
    records = [Dated(part, measured(part=part, trained=False, method="clip"), "2026") for part in PARTS]
    found = generations(records)
    assert [len(row.records) for row in found.rows] == [3] and found.rows[0].complete and not found.superseded


def test_the_order_of_records_decides_nothing() -> None:
    records = dated("2024") + dated("2025", engine=2) + dated("2026", engine=3)[:5] + dated("2025", lists="b")
    wanted = generations(records)
    for seed in range(5):
        some = list(records)
        random.Random(seed).shuffle(some)
        found = generations(some)
        assert [row.records for row in found.rows] == [row.records for row in wanted.rows]
        assert {(s.record.item, s.reason) for s in found.superseded} == {
            (s.record.item, s.reason) for s in wanted.superseded
        }


def taken(time: str, predictions: str, **changes: Any) -> list[Dated[str]]:
    """A whole row of an accepted submission."""
    return [replace(record, item=f"board {record.item}", accepted=True, predictions=predictions)
            for record in dated(time, **changes)]  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"code": "c" * 64}, {"engine": 2}, {"lists": "other"}])
def test_an_accepted_row_never_hides_a_row_that_was_measured_here(changes: dict[str, Any]) -> None:
    """The same row or a newer generation of it, with other predictions and a later time."""
    own = [replace(record, predictions="own") for record in dated("2026")]
    found = generations([*taken("2027", "theirs", **changes), *own])
    (row,) = found.rows
    assert {record.item for record in row.records} == {record.item for record in own}
    assert len(found.superseded) == 9 and "measured in this folder count" in reasons(found).pop()


def test_an_incomplete_own_row_is_not_completed_by_a_submission() -> None:
    own = [replace(record, predictions="own") for record in dated("2026")][:2]
    (row,) = generations([*own, *taken("2027", "theirs")]).rows
    assert {record.item for record in row.records} == {record.item for record in own} and not row.complete


def test_an_accepted_copy_counts_with_the_time_of_its_original() -> None:
    own = [replace(record, predictions="same") for record in dated("2026")]
    copies = taken("2029", "same")
    (row,) = generations([*own, *copies]).rows
    assert all(record.accepted for record in row.records)
    newer = [replace(record, predictions="new") for record in dated("2028", code="c" * 64)]
    (row,) = generations([*own, *copies, *newer]).rows
    assert {record.item for record in row.records} == {record.item for record in newer}


def test_other_rows_of_a_submission_count() -> None:
    own = [replace(record, predictions="own") for record in dated("2026")]
    assert len(generations([*own, *taken("2027", "theirs", method="theirs")]).rows) == 2
