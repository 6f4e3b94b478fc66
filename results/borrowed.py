"""Spread between the fits of other rows of a table, for a comparison of rows with one fit."""

from __future__ import annotations

from collections.abc import Sequence

from harness.base.errors import UserError
from results.comparison import PartSamples
from results.generations import Row, generations
from results.list_videos import VideoIds
from results.outcomes import read_outcome
from results.row_samples import Design, Scored, row_sample
from results.sides import Reader, Stored
from results.statistics.trained_again import BorrowedSpread, FitSpread, borrow_spread, fit_spread


def borrowed_of(reader: Reader, rows: Sequence[Row[Stored]], samples: PartSamples) -> BorrowedSpread | None:
    """The pooled spread of the other rows of the group that have several fits; None if there are none.

    Args:
        reader: All records that were read for the comparison.
        rows: The two rows that are compared.
        samples: The compared part.
    """
    m = samples.pairs[0].a.measurement
    compared = {row.keys.row for row in rows}
    others = [
        stored for stored in reader.records
        if stored.record.measurement.keys.group == m.keys.group
        and stored.record.measurement.keys.row not in compared
    ]  # fmt: skip
    found = generations(stored.dated for stored in others)
    part = m.protocol.part
    complete = [row for row in found.rows if not row.unfinished and all(item.part != part for item in row.missing)]
    spreads = [_spread(row, part) for row in complete]
    return borrow_spread([spread for spread in spreads if spread is not None])


def _spread(row: Row[Stored], part: str) -> FitSpread | None:
    """The spread between the fits of a part of a row; None with one fit, or without readable predictions."""
    records = [dated.item for dated in row.records if dated.measurement.protocol.part == part]
    fits = {stored.record.measurement.keys.fit for stored in records}
    if len(records) < 2 or len(fits) < len(records) or "" in fits:
        return None
    ids, designs, scored = VideoIds(), dict[str, Design](), []
    for stored in sorted(records, key=lambda stored: stored.record.measurement.protocol.repeat.index):
        m, predictions = stored.record.measurement, stored.record.predictions
        try:
            file = stored.path.with_name(predictions.file)
            outcome = read_outcome(file, predictions.sha256, m.evaluation.evaluated)
        except UserError:
            return None  # a row that is not compared needs no message; `score` names its file
        videos = ids.of(outcome, stored.record.classes)
        design = designs.setdefault(m.evaluation.list.sha256, Design(videos))
        scored.append(Scored(m.protocol.repeat.index, m.keys.fit, design, outcome.hits))
    return fit_spread(row_sample(scored).row.scores)
