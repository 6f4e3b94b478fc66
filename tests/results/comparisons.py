"""Records and sides for the tests of `compare`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from results.compare import compare
from results.measurement import keys_of
from results.measurement_words import signature
from results.record import read_record, write_record
from results.sides import Choice, Filters
from tests.results.factories import write_sample
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
