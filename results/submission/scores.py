"""The table cells that a submission states, computed from its records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.spec import Column
from results.frame_designs import designs_of
from results.means import column_means
from results.predictions import ids_of
from results.row_samples import RowSample, Scored, harmonic_sample, row_sample
from results.statistics.intervals import Interval, cell_interval
from results.submission.layout import Score
from results.submission.submission import Measured, Submission


def scores_of(submission: Submission) -> tuple[Score, ...]:
    """All table cells, sorted by row key and in the order of the protocol's columns."""
    scores: list[Score] = []
    for row, members in sorted(submission.rows().items()):
        records = [measured.record for measured in members]
        m, rules = records[0].measurement, records[0].columns
        intervals = _intervals(rules, members)
        for cell in column_means(rules, records).values():
            interval = intervals.get(cell.column)
            scores.append(
                Score(
                    row=row, protocol=m.protocol.name, dataset=m.evaluation.list.dataset, column=cell.column,
                    mean=cell.mean, spread=cell.spread, n=cell.n, kind=cell.kind,
                    low=interval.low if interval else None, high=interval.high if interval else None,
                )
            )  # fmt: skip
    return tuple(scores)


def _intervals(rules: Sequence[Column], members: Sequence[Measured]) -> dict[str, Interval]:
    """Intervals for other videos by column, for a row whose predictions can all be read."""
    members = sorted(members, key=lambda measured: measured.m.protocol.repeat.index)
    tables = [measured.frame for measured in members if measured.frame is not None]
    if len(tables) < len(members):
        return {}
    classes = [measured.record.classes for measured in members]
    samples: dict[str, RowSample] = {}
    # Columns differ in their parts and metrics; to make the designs of all lists takes longer than the scores.
    designs_by_weight = {
        mean_class: designs_of(tables, classes, mean_class)
        for mean_class in {rule.metric == "mean_class" for rule in rules if rule.harmonic_of is None}
    }
    for rule in rules:
        if rule.harmonic_of is not None:
            first, second = (samples.get(name) for name in rule.harmonic_of)
            sample = harmonic_sample(first, second) if first and second else None
        else:
            designs = designs_by_weight[rule.metric == "mean_class"]
            scored = [
                Scored(measured.m.protocol.repeat.index, measured.keys.fit, design, _right(table, rule.metric))
                for measured, design, table in zip(members, designs, tables, strict=True)
                if measured.m.protocol.part == rule.part
            ]
            sample = row_sample(scored) if scored else None
        if sample is not None:
            samples[rule.name] = sample
    found = {name: cell_interval(sample.row.scores) for name, sample in samples.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def _right(table: pd.DataFrame, metric: str) -> NDArray[np.bool_]:
    """(N,) whether each video is right; with top-5, whether one of five predictions is."""
    labels, ids = table["label"].to_numpy()[:, None], ids_of(table)
    return np.asarray((ids == labels).any(axis=1) if metric == "top5" else ids[:, 0] == labels[:, 0])
