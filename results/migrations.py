"""Old records brought to the current schema, one step a version, so that no result file is ever abandoned.

A change of the record's layout raises `results.record.SCHEMA` and adds one function here that turns a record of the
version before into one of the new version and leaves its argument as it is. A step may move, rename or add entries
with a neutral value; it never changes a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.base.errors import UserError

Step = Callable[[dict[str, Any]], dict[str, Any]]


def _from_0(value: dict[str, Any]) -> dict[str, Any]:
    """Schema 0, the drafts: `env` instead of `environment`, no `overlap`, no `repeat` outside `fit`."""
    neutral: dict[str, Any] = {
        "overlap": {"train_videos": 0, "seen_classes": [], "top1_strict": None},
        "repeat": (value.get("fit") or {}).get("repeat") or {"kind": "single", "index": 1},
        "cost": {},
    }
    kept = {name: section for name, section in value.items() if name != "env"}
    return {**neutral, **kept, "environment": value.get("env", {})}


def _from_1(value: dict[str, Any]) -> dict[str, Any]:
    """Schema 1: no multiply-adds in `cost`, and a method's card without the paper and the source it cites."""
    return {
        **value,
        "cost": {"gflops": None, "score_gflops": None, **value["cost"]},
        "method": {"paper": "", "source": "", **value["method"]},
    }


STEPS: Mapping[int, Step] = {0: _from_0, 1: _from_1}
"""The step that leads away from each version."""


def migrate(value: dict[str, Any], path: Path, target: int, steps: Mapping[int, Step] = STEPS) -> dict[str, Any]:
    """`value` at schema `target`; the argument is left as it is.

    Args:
        value: A record of any version, as read from `path`.
        path: For messages.
        target: The version wanted.
        steps: One function for each older version.

    Raises:
        UserError: The record has no schema, is newer than `target`, or older than the first step.
    """
    found = value.get("schema")
    if not isinstance(found, int) or isinstance(found, bool):
        raise UserError(f"{path} has schema {found!r}, expected a whole number.")
    if found > target:
        raise UserError(f"{path} has schema {found}, this version reads up to {target}.", "Update the harness.")
    if found == target:
        return value
    for version in range(found, target):
        if version not in steps:
            raise UserError(f"{path} has schema {found}, which this version cannot bring to schema {target}.")
        try:
            value = {**steps[version](value), "schema": version + 1}
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is no valid record of schema {version}: {error!r}.") from None
    return value
