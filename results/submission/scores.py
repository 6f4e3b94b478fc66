"""The table cells that a submission states, computed from its records."""

from __future__ import annotations

from results.means import column_means
from results.submission.layout import Score
from results.submission.submission import Submission


def scores_of(submission: Submission) -> tuple[Score, ...]:
    """All table cells, sorted by row key and in the order of the protocol's columns."""
    scores: list[Score] = []
    for row, members in sorted(submission.rows().items()):
        records = [measured.record for measured in members]
        m = records[0].measurement
        for cell in column_means(records[0].columns, records).values():
            scores.append(
                Score(
                    row=row, protocol=m.protocol.name, dataset=m.evaluation.list.dataset, column=cell.column,
                    mean=cell.mean, spread=cell.spread, n=cell.n, kind=cell.kind, low=cell.interval.low,
                    high=cell.interval.high,
                )
            )  # fmt: skip
    return tuple(scores)
