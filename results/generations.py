"""Rows of records, and the generation of each row that counts.

Records with the same line key and different row keys are generations of one row: the lists, the code or the engine
changed between them. The newest complete generation counts. All other generations are superseded and are listed with
their differences.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from results.measurement import Expected, Keys, Measurement, keys_of
from results.measurement_words import Difference, differences, incomplete

T = TypeVar("T")


@dataclass(frozen=True)
class Dated(Generic[T]):
    """A record with the time that orders generations.

    Args:
        item: The record, as an object of the caller.
        measurement: Measurement of the record.
        time: ISO 8601 time in UTC at which a run completed the record, or at which the board accepted it. A submission
            cannot choose this time.
        predictions: Hash of the predictions file, by which a copy of a record is found.
        accepted: Whether the record belongs to an accepted submission.
    """

    item: T
    measurement: Measurement
    time: str
    predictions: str = ""
    accepted: bool = False

    @property
    def place(self) -> Expected:
        """The part and the repeat that the record measures."""
        return Expected(self.measurement.protocol.part, self.measurement.protocol.repeat)


@dataclass(frozen=True)
class Row(Generic[T]):
    """All current records of one row key: one for each part and repeat.

    Args:
        keys: Keys of the first record; all records share `row`, `line` and `group`.
        records: Records, sorted by part and repeat.
        missing: Prescribed parts and repeats without a record.
        unfinished: Missing videos and weights of single records, see `incomplete`.
    """

    keys: Keys
    records: tuple[Dated[T], ...]
    missing: tuple[Expected, ...]
    unfinished: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """True if every prescribed part and repeat was measured, with all videos and trained weights."""
        return not self.missing and not self.unfinished

    @property
    def time(self) -> str:
        """Time of the newest record."""
        return max(record.time for record in self.records)


@dataclass(frozen=True)
class Superseded(Generic[T]):
    """A record that does not count, with the reason in words."""

    record: Dated[T]
    reason: str


@dataclass(frozen=True)
class Generations(Generic[T]):
    """The rows that count, in the order of their first records, and the superseded records."""

    rows: tuple[Row[T], ...]
    superseded: tuple[Superseded[T], ...]


def generations(records: Iterable[Dated[T]]) -> Generations[T]:
    """Group records into rows, and separate current records from superseded records.

    Of several generations of a row the newest complete generation counts; if no generation is complete, the newest.
    Within a row, records of a fit count only with its newest weights, and one record counts for each part and repeat.
    Records of an accepted submission never supersede other records of the folder, except as copies of them.
    """
    superseded: list[Superseded[T]] = []
    keyed = _own_first([(record, keys_of(record.measurement)) for record in records], superseded)
    lines: dict[str, list[Row[T]]] = defaultdict(list)
    for members in _grouped(keyed, lambda pair: pair[1].row):
        keys = members[0][1]
        current = _of_newest_weights(members, superseded)
        lines[keys.line].append(_row(keys, _one_for_each_place(current, superseded)))
    rows = [_newest(of_line, superseded) for of_line in lines.values()]
    return Generations(tuple(rows), tuple(superseded))


def _own_first(keyed: list[tuple[Dated[T], Keys]], superseded: list[Superseded[T]]) -> list[tuple[Dated[T], Keys]]:
    """All records but those of accepted submissions in rows that were also measured in this folder.

    A submission is newer than any record that it imitates: by time, it would hide the record. A copy of a record that
    was measured here counts with the time of that record.
    """
    if not any(record.accepted for record, _ in keyed):
        return keyed
    own = {(keys.cell, record.predictions): record.time for record, keys in keyed if not record.accepted}
    lines = {keys.line for record, keys in keyed if not record.accepted}
    kept = []
    for record, keys in keyed:
        if not record.accepted or keys.line not in lines:
            kept.append((record, keys))
        elif (time := own.get((keys.cell, record.predictions))) is not None:
            kept.append((replace(record, time=time), keys))
        else:
            superseded.append(Superseded(record, "a submission; the records that were measured in this folder count"))
    return kept


_V = TypeVar("_V")


def _grouped(values: Iterable[_V], key: Callable[[_V], Hashable]) -> list[list[_V]]:
    """Group values by key, in the order of the first value of each group."""
    groups: dict[Hashable, list[_V]] = defaultdict(list)
    for value in values:
        groups[key(value)].append(value)
    return list(groups.values())


def _of_newest_weights(members: Sequence[tuple[Dated[T], Keys]], superseded: list[Superseded[T]]) -> list[Dated[T]]:
    """Records of a row whose fits have the newest weights; all records of an untrained method count."""
    kept = []
    for of_fit in _grouped(members, lambda pair: pair[1].fit):
        by_weights = _grouped((record for record, _ in of_fit), _weights)
        # The hash decides ties, so that the result does not depend on the order of files.
        newest = max(by_weights, key=lambda group: (max(record.time for record in group), _weights(group[0])))
        kept += newest
        for group in by_weights:
            if group is not newest:
                reason = f"its fit was computed again: weights {_weights(newest[0])[:8]} count"
                superseded += [Superseded(record, reason) for record in group]
    return kept


def _weights(record: Dated[T]) -> str:
    training = record.measurement.fitted
    return training.weights_sha256 if training else ""


def _one_for_each_place(records: Iterable[Dated[T]], superseded: list[Superseded[T]]) -> list[Dated[T]]:
    """One record for each part and repeat: complete records first, then the newest."""
    kept = []
    for same in _grouped(records, lambda record: record.place):
        # Of two copies the accepted one has a status.
        best = same.pop(
            max(
                range(len(same)),
                key=lambda i: (not incomplete(same[i].measurement), same[i].time, same[i].accepted),
            )
        )
        kept.append(best)
        for record in same:
            copied = (record.time, record.measurement) == (best.time, best.measurement)
            reason = (
                "a copy of the record that counts" if copied else f"evaluated again: the record of {best.time} counts"
            )
            superseded.append(Superseded(record, reason))
    return kept


def _row(keys: Keys, records: list[Dated[T]]) -> Row[T]:
    records.sort(key=lambda record: (record.place.part, record.place.repeat.kind, record.place.repeat.index))
    expected = max(records, key=lambda record: record.time).measurement.protocol.scope.expected
    present = {record.place for record in records}
    missing = tuple(evaluation for evaluation in expected if evaluation not in present)
    unfinished = dict.fromkeys(reason for record in records for reason in incomplete(record.measurement))
    return Row(keys, tuple(records), missing, tuple(unfinished))


def _newest(rows: Sequence[Row[T]], superseded: list[Superseded[T]]) -> Row[T]:
    """The generation that counts."""
    # The row key decides ties, so that the result does not depend on the order of files.
    best = max(rows, key=lambda row: (row.complete, row.time, row.keys.row))
    for row in rows:
        if row is not best:
            newer = " although older: these are incomplete" if best.time < row.time else ""
            reason = f"the records of {best.time} count{newer}; {changes_text(row, best)}"
            superseded += [Superseded(record, reason) for record in row.records]
    return best


def changes_text(old: Row[T], new: Row[T]) -> str:
    """The differences between two generations of a row in words."""
    changes = [str(difference) for difference in row_differences(old, new)]
    scopes = [side.records[0].measurement.protocol.scope.lists for side in (old, new)]
    if scopes[0] != scopes[1] and not any(" list " in text for text in changes):
        changes.append("other lists of the protocol")
    return "; ".join(dict.fromkeys(changes))


def row_differences(a: Row[T], b: Row[T], omit: Collection[str] = ()) -> tuple[Difference, ...]:
    """The differences between two rows, from their records of equal part and repeat.

    If the rows have no common part and repeat, their first records are compared.
    """
    by_place = {record.place: record for record in b.records}
    pairs = [(record, by_place[record.place]) for record in a.records if record.place in by_place]
    pairs = pairs or [(a.records[0], b.records[0])]
    changes = [d for first, second in pairs for d in differences(first.measurement, second.measurement, omit)]
    return tuple({(d.path, str(d)): d for d in changes}.values())
