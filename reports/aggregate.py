"""Rows of a table from the tidy frame: repeats averaged by the protocol's own column rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from results.intervals import Interval, harmonic_interval, wilson
from results.metrics import harmonic_mean

Facts = dict[str, Any]
"""One row of the tidy frame, by column."""

DDOF = 0
"""Spreads divide by n, as the code bases of this field do; every spread is shown with its n, kind and ddof."""


@dataclass(frozen=True)
class Measurement:
    """One record's part in a cell: its accuracy in percent and where it comes from."""

    value: float
    interval: Interval
    index: int
    facts: Facts


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
    facts: Facts
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
    by_row: dict[tuple[str, ...], list[Facts]] = defaultdict(list)
    for facts in _records(frame):
        by_row[tuple(str(facts[name]) for name in ("protocol", "dataset", "group", "method", "row"))].append(facts)
    rows = []
    for key in sorted(by_row):
        variants = [one for recipe in _split_recipes(by_row[key]) for one in _split_seeds(recipe)]
        for number, variant in enumerate(variants):
            rows.append(_row(variant, suffix=f"-{number + 1}" if len(variants) > 1 else ""))
    return rows


def _records(frame: pd.DataFrame) -> Iterator[Facts]:
    """The rows of a frame as mappings; what a record does not have is None again (a column of numbers made it NaN)."""
    objects = (frame[name].astype(object).tolist() for name in frame.columns)
    columns = [[None if isinstance(one, float) and one != one else one for one in column] for column in objects]
    for values in zip(*columns, strict=True):
        yield dict(zip(frame.columns, values, strict=True))


def _split_recipes(records: list[Facts]) -> list[list[Facts]]:
    """The records as they are, or one list for each recipe where a part was trained with several."""
    recipes: dict[str, set[str]] = defaultdict(set)
    for facts in records:
        recipes[facts["part"]].add(facts["recipe"])
    return [records] if all(len(found) == 1 for found in recipes.values()) else _split(records, "recipe")


def _split_seeds(records: list[Facts]) -> list[list[Facts]]:
    """The records as they are, or one list for each seed where the same part and repeat occurs more than once."""
    places = Counter((f["part"], f["repeat_kind"], f["repeat_index"], f["list"]) for f in records)
    return [records] if max(places.values()) == 1 else _split(records, "seed")


def _split(records: list[Facts], name: str) -> list[list[Facts]]:
    found: dict[str, list[Facts]] = defaultdict(list)
    for facts in records:
        found[str(facts[name])].append(facts)
    return [found[value] for value in sorted(found)]


def _row(records: list[Facts], suffix: str) -> Row:
    """One row from its records."""
    facts = {
        **records[0],
        "statuses": sorted({record["status"] for record in records}),
        "seen_classes": tuple(_seen(records)),
        "missing": sum(record["n_undecodable"] + record["n_expected"] - record["n_evaluated"] for record in records),
        "train_videos": max(record["train_videos"] for record in records),
    }
    cells: dict[str, Cell] = {}
    rules = facts["rules"]
    for rule in rules:
        if "harmonic_of" in rule:
            first, second = rule["harmonic_of"]
            if first in cells and second in cells:
                cells[rule["name"]] = _harmonic(rule["name"], first, second, cells)
        else:
            chosen = [record for record in records if record["part"] == rule["part"]]
            if chosen:
                cells[rule["name"]] = _mean(rule["name"], chosen, rule.get("metric", "top1"))
    return Row(
        key=facts["row"] + suffix,
        group=facts["group"],
        facts=facts,
        cells=cells,
        columns=tuple(rule["name"] for rule in rules),
        reasons=_reasons(records),
        marks=_marks(records),
        records=tuple(record["record"] for record in records),
    )


def _mean(column: str, records: list[Facts], metric: str) -> Cell:
    """The mean of one metric over repeats."""
    records = sorted(records, key=lambda record: record["repeat_index"])
    measurements = tuple(
        Measurement(facts[metric], wilson(facts[metric], facts["n_evaluated"]), facts["repeat_index"], facts)
        for facts in records
    )
    values = np.array([record[metric] for record in records], dtype=float)
    mean = float(values.mean())
    return Cell(
        column=column,
        mean=mean,
        spread=float(np.std(values, ddof=DDOF)) if len(values) > 1 else None,
        n=len(values),
        kind=records[0]["repeat_kind"],
        # Repeats on the same videos add no videos; for different lists the size of the largest is on the safe side.
        interval=wilson(mean, max(record["n_evaluated"] for record in records)),
        measurements=measurements,
    )


def _harmonic(column: str, first: str, second: str, cells: dict[str, Cell]) -> Cell:
    """The harmonic mean of two unrounded means over repeats, never the mean of harmonic means."""
    a, b = cells[first], cells[second]
    sizes = [max(int(m.facts["n_evaluated"]) for m in cell.measurements) for cell in (a, b)]
    return Cell(
        column=column,
        mean=harmonic_mean(a.mean, b.mean),
        spread=None,
        n=min(a.n, b.n),
        kind=a.kind,
        interval=harmonic_interval(a.mean, sizes[0], b.mean, sizes[1]),
        harmonic_of=(first, second),
    )


def _reasons(records: list[Facts]) -> tuple[str, ...]:
    """Why the row is not ranked: an incomplete protocol, videos not evaluated, an own list, training on test videos."""
    reasons = {reason for record in records for reason in record["incomplete"]}
    missing = sum(max(record["n_expected"] - record["n_evaluated"], 0) for record in records)
    if missing:
        reasons.add(f"{missing} videos were not evaluated")
    if any(record["list_origin"] == "own" for record in records):
        reasons.add("an own list, not the protocol's")
    trained = max(record["train_videos"] for record in records)
    if trained:
        reasons.add(f"{trained} evaluation videos were trained on")
    return tuple(sorted(reasons))


def _seen(records: list[Facts]) -> list[str]:
    """Classes that were seen in training and should not have been, sorted.

    Base-to-novel trains on the base classes: only a novel one is worth a warning there.
    """
    unmeant = [record for record in records if record["protocol"] != "b2n" or record["part"] == "novel"]
    return sorted({name for record in unmeant for name in record["seen_classes"]})


def _marks(records: list[Facts]) -> tuple[str, ...]:
    """Warnings that stand beside a row whether or not it is ranked."""
    marks = []
    seen = _seen(records)
    if seen:
        marks.append(f"{len(seen)} classes were seen in training: {', '.join(seen[:8])}")
    own = sorted({record["recipe_source"] for record in records if record["recipe_source"].startswith("own")})
    if own and not records[0]["embedded"]:  # on embedded data every recipe is scaled to the tiny model
        marks.append(f"not a published recipe: {'; '.join(own)}")
    marks += sorted({remark for record in records for remark in record["remarks"]})
    undecodable = sum(record["n_undecodable"] for record in records)
    if undecodable:
        marks.append(f"{undecodable} videos could not be decoded and count as wrong")
    if any(record["train_videos"] for record in records):
        marks.append("evaluation videos were trained on")
    if any(record["duplicates"] for record in records):
        marks.append("an older record of the same cell exists and is not shown")
    return tuple(marks)
