"""The table cells of a submission from its records: the mean over repeats, its spread and interval, harmonic means.

The same rules as on the board (`reports.aggregate`); a test holds the two together.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from typing import Any

from results.intervals import Interval, harmonic_interval, wilson
from results.metrics import harmonic_mean
from results.submission.submission import Measured, Submission

Score = dict[str, Any]


def scores_of(submission: Submission) -> list[Score]:
    """All table cells, sorted by row and in the order of the protocol's columns."""
    found: list[Score] = []
    for key, members in sorted(submission.rows().items()):
        for number, variant in enumerate(variants(members), start=1):
            found += _row_scores(key if number == 1 else f"{key}-{number}", variant)
    return found


def variants(members: list[Measured]) -> list[list[Measured]]:
    """The records of a row, split by seed where the same place occurs more than once."""
    places = Counter(one.place for one in members)
    if max(places.values()) == 1:
        return [members]
    by_seed: dict[str, list[Measured]] = defaultdict(list)
    for one in members:
        by_seed[str((one.record.fit or {}).get("seed"))].append(one)
    return [by_seed[seed] for seed in sorted(by_seed)]


def _row_scores(row: str, members: list[Measured]) -> list[Score]:
    record = members[0].record
    cells: dict[str, tuple[Score, int]] = {}
    for rule in record.protocol["columns"]:
        if "harmonic_of" in rule:
            first, second = (cells.get(name) for name in rule["harmonic_of"])
            if first and second:
                mean = harmonic_mean(first[0]["mean"], second[0]["mean"])
                interval = harmonic_interval(first[0]["mean"], first[1], second[0]["mean"], second[1])
                repeats = min(first[0]["n"], second[0]["n"])
                cell = _score(row, record, rule["name"], mean, None, repeats, first[0]["kind"], interval)
                cells[rule["name"]] = cell, 0
            continue
        chosen = [one.record for one in members if one.record.protocol["part"] == rule["part"]]
        if chosen:
            values = [float(r.metrics[rule.get("metric", "top1")]) for r in chosen]
            mean, size = statistics.fmean(values), max(int(r.data["n_evaluated"]) for r in chosen)
            spread = statistics.pstdev(values) if len(values) > 1 else None
            cell = _score(
                row, record, rule["name"], mean, spread, len(values), chosen[0].repeat["kind"], wilson(mean, size)
            )
            cells[rule["name"]] = cell, size
    return [cell for cell, _ in cells.values()]


def _score(
    row: str, record: Any, column: str, mean: float, spread: float | None, n: int, kind: str, interval: Interval
) -> Score:
    return {
        "row": row, "protocol": record.protocol["id"], "dataset": record.data["dataset"], "column": column,
        "mean": mean, "spread": spread, "n": n, "kind": kind, "low": interval.low, "high": interval.high,
    }  # fmt: skip
