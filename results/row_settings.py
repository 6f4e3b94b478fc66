"""The settings that distinguish the rows of one table, for messages that ask the user to choose a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from results.generations import Row, row_differences
from results.measurement import FIELDS
from results.measurement_names import values_apart
from results.measurement_words import Difference

T = TypeVar("T")


def row_settings(rows: Sequence[Row[T]]) -> list[dict[str, Difference]]:
    """For each row, the values of all settings in which the rows differ, by path.

    Fields that enter no key are omitted, and view settings of the training that also differ in evaluation.
    """
    changes = [row_differences(row, rows[0]) for row in rows]
    paths = {d.path for differing in changes for d in differing if FIELDS.get(d.path, "of an option")}
    kept = {p for p in paths if p.replace("training.views.", "evaluation.views.") not in paths - {p}}
    return values_apart([[d for d in differing if d.path in kept] for differing in changes])
