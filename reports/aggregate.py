"""Rows of a table from the tidy frame: repeats averaged by the protocol's own column rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from results.intervals import Interval, harmonic_interval, wilson
from results.metrics import harmonic_mean

DDOF = 0
"""Spreads divide by n, as the code bases of this field do; every spread is shown with its n, kind and ddof."""


@dataclass(frozen=True)
class Measurement:
    """One record's part in a cell: its accuracy in percent and where it comes from."""

    value: float
    interval: Interval
    index: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A table cell: the mean over repeats in percent.

    Args:
        column: The column's name.
        mean: Mean over repeats, or the harmonic mean of two such means. Not rounded.
        spread: Standard deviation over repeats (`DDOF`); None for a single repeat and for harmonic means.
        n: Number of repeats.
        kind: What was repeated: `test_split`, `class_subset`, `train_subset`, `seed` or `single`.
        interval: 95 % interval of the mean from the sampling of test videos alone.
        measurements: The repeats, by index; empty for harmonic means.
        harmonic_of: The two columns of a harmonic mean.
    """

    column: str
    mean: float
    spread: float | None
    n: int
    kind: str
    interval: Interval
    measurements: tuple[Measurement, ...] = ()
    harmonic_of: tuple[str, str] | None = None


@dataclass(frozen=True)
class Row:
    """A method under one protocol on one dataset, measured one way.

    Args:
        key: Stands for all settings; the row's anchor on the board.
        group: Rows of one group may be ranked together, others not.
        facts: The first record's columns of the tidy frame, for what all records of the row share.
        cells: By column name, in the order of the rules; a column without records is absent.
        columns: All column names, in order.
        reasons: Why the row is not ranked; empty if it is.
        marks: Warnings: seen classes, missing videos, training on evaluation videos.
    """

    key: str
    group: str
    facts: dict[str, Any]
    cells: dict[str, Cell]
    columns: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    records: tuple[str, ...] = field(default=())

    @property
    def statuses(self) -> tuple[str, ...]:
        """The statuses of the row's records, each once."""
        return tuple(self.facts["statuses"])


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """All rows of a tidy frame, sorted by protocol, dataset, group and method.

    Records of one `row` key are repeats and parts of one row, unless the recipe of a part differs between them: then
    there is one row for each recipe, because a mean over two recipes measures neither.
    """
    rows = []
    for _, records in frame.groupby(["protocol", "dataset", "group", "method", "row"], sort=True):
        recipes = records.groupby("part")["recipe"].nunique().max()
        variants = [records] if recipes <= 1 else [part for _, part in records.groupby("recipe", sort=True)]
        for number, variant in enumerate(variants):
            seeds = _split_seeds(variant)
            rows += [_row(one, suffix=f"-{number}{letter}") for letter, one in seeds]
    return _unique_keys(rows)


def _split_seeds(records: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The records as they are, or one set for each seed where the same part and repeat occurs more than once."""
    if not records.duplicated(["part", "repeat_kind", "repeat_index", "list"]).any():
        return [("", records)]
    return [(f"s{number}", part) for number, (_, part) in enumerate(records.groupby("seed", dropna=False, sort=True))]


def _unique_keys(rows: list[Row]) -> list[Row]:
    """The rows with their plain key wherever one is enough."""
    counts = pd.Series([row.key.split("-")[0] for row in rows]).value_counts()
    return [
        row if counts[row.key.split("-")[0]] > 1 else Row(**{**row.__dict__, "key": row.key.split("-")[0]})
        for row in rows
    ]


def _row(records: pd.DataFrame, suffix: str) -> Row:
    """One row from its records."""
    facts = {str(name): value for name, value in records.iloc[0].items()}
    facts["statuses"] = sorted(records["status"].unique())
    cells: dict[str, Cell] = {}
    rules = facts["rules"]
    for rule in rules:
        if "harmonic_of" in rule:
            first, second = rule["harmonic_of"]
            if first in cells and second in cells:
                cells[rule["name"]] = _harmonic(rule["name"], first, second, cells)
        else:
            chosen = records[records["part"] == rule["part"]]
            if len(chosen):
                cells[rule["name"]] = _mean(rule["name"], chosen, rule.get("metric", "top1"))
    return Row(
        key=facts["row"] + suffix,
        group=facts["group"],
        facts=facts,
        cells=cells,
        columns=tuple(rule["name"] for rule in rules),
        reasons=_reasons(records),
        marks=_marks(records),
        records=tuple(records["record"]),
    )


def _mean(column: str, records: pd.DataFrame, metric: str) -> Cell:
    """The mean of one metric over repeats."""
    records = records.sort_values("repeat_index", kind="stable")
    values = records[metric].to_numpy(dtype=float)
    counts = records["n_expected"].to_numpy(dtype=int)
    measurements = tuple(
        Measurement(float(value), wilson(float(value), int(n)), int(facts["repeat_index"]), facts)
        for value, n, facts in zip(values, counts, records.to_dict("records"), strict=True)
    )
    mean = float(values.mean())
    return Cell(
        column=column,
        mean=mean,
        spread=float(np.std(values, ddof=DDOF)) if len(values) > 1 else None,
        n=len(values),
        kind=str(records.iloc[0]["repeat_kind"]),
        # Repeats on the same videos add no videos; for different lists the size of the largest is on the safe side.
        interval=wilson(mean, int(counts.max())),
        measurements=measurements,
    )


def _harmonic(column: str, first: str, second: str, cells: dict[str, Cell]) -> Cell:
    """The harmonic mean of two unrounded means over repeats, never the mean of harmonic means."""
    a, b = cells[first], cells[second]
    sizes = [max(int(m.facts["n_expected"]) for m in cell.measurements) for cell in (a, b)]
    return Cell(
        column=column,
        mean=harmonic_mean(a.mean, b.mean),
        spread=None,
        n=min(a.n, b.n),
        kind=a.kind,
        interval=harmonic_interval(a.mean, sizes[0], b.mean, sizes[1]),
        harmonic_of=(first, second),
    )


def _reasons(records: pd.DataFrame) -> tuple[str, ...]:
    """Why the row is not ranked: an incomplete protocol, videos not evaluated, an own list, training on test videos."""
    reasons = {reason for reasons in records["incomplete"] for reason in reasons}
    missing = int((records["n_expected"] - records["n_evaluated"]).clip(lower=0).sum())
    if missing:
        reasons.add(f"{missing} videos were not evaluated")
    if (records["list_origin"] == "own").any():
        reasons.add("an own list, not the protocol's")
    if int(records["train_videos"].max()):
        reasons.add(f"{int(records['train_videos'].max())} evaluation videos were trained on")
    return tuple(sorted(reasons))


def _marks(records: pd.DataFrame) -> tuple[str, ...]:
    """Warnings that stand beside a row whether or not it is ranked."""
    marks = []
    seen = {name for names in records["seen_classes"] for name in names}
    if seen:
        marks.append(f"{len(seen)} classes were seen in training: {', '.join(sorted(seen)[:8])}")
    undecodable = int(records["n_undecodable"].sum())
    if undecodable:
        marks.append(f"{undecodable} videos could not be decoded and count as wrong")
    if int(records["train_videos"].max()):
        marks.append("evaluation videos were trained on")
    if int(records["duplicates"].max()):
        marks.append("an older record of the same cell exists and is not shown")
    return tuple(marks)
