"""Verdicts on published numbers: does a value on the same list agree with ours ("reproduced")?

The videos are the same on both sides, so the verdict depends on the spread between fits and not on an interval for
other videos. It can be: inside, outside, cannot tell, not measured, or measured differently.
"""

from __future__ import annotations

from dataclasses import dataclass

from reports.row import Cell, Row
from reports.setting_differences import CHANGED_RECIPE, option_changes, setting_differences
from results.published_numbers import PublishedNumber
from results.statistics.reproduced import (
    WIDEST,
    Reproduction,
    borrowed_reproduction,
    reproduction,
    videos_outside,
)

INSIDE, OUTSIDE, CANNOT_TELL = "inside", "outside", "cannot tell"
NOT_MEASURED, DIFFERENT = "not measured", "measured differently"
FIT_KINDS = ("train_subset", "seed")
"""Kinds of repeats that are separate fits; test splits and class subsets evaluate one fit on several lists."""
EPSILON = 1e-9
"""Slack in points for the rounding of floating-point numbers."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison with a published number.

    Args:
        kind: `inside` (the published value agrees with our fits), `outside`, `cannot tell` (our fits differ too much),
            `not measured` or `measured differently`.
        delta: Our value minus the published value in percent points; None if we have no value.
        why: The settings that differ.
        detail: Addition to the kind in words: the half-width, the number of videos, or `one fit`.
    """

    kind: str
    delta: float | None = None
    why: tuple[str, ...] = ()
    detail: str = ""

    def __str__(self) -> str:
        kind = f"{self.kind} {self.detail}" if self.detail else self.kind
        return f"{kind} ({'; '.join(self.why)})" if self.why else kind


def verdict(number: PublishedNumber, cell: Cell | None, row: Row | None) -> Verdict:
    """The verdict on one cell.

    A setting that the source states is compared with the source. Any other setting is compared with the protocol's
    prescription and the method's declaration.
    """
    if cell is None or row is None:
        return Verdict(NOT_MEASURED)
    delta = cell.mean - number.number
    why = differences(number, cell, row)
    if why:
        return Verdict(DIFFERENT, delta, why)
    if row.measurement.fitted is None:
        return _untrained(number, cell, row, delta)
    expected = _expected(number, cell)
    if expected is None:
        return _one_fit(number, cell, delta)
    if not expected.conclusive:
        return Verdict(CANNOT_TELL, delta, detail=f"(± {expected.half_width:.1f})")
    return Verdict(INSIDE if expected.holds(number.number) else OUTSIDE, delta)


def _rounding(number: PublishedNumber) -> float:
    """Half the last printed digit: a value printed as 51.3 may have been any value from 51.25 to 51.35."""
    return 0.5 * 10.0 ** -len(number.value.partition(".")[2]) + EPSILON


def _expected(number: PublishedNumber, cell: Cell) -> Reproduction | None:
    """The values that fits of the source are expected to have on the same list; None if no spread is known.

    The videos are the same on both sides, so only fits vary. The repeats of the source count as fits if ours do.
    """
    source_fits = (number.setting.n or 1) if cell.kind in FIT_KINDS else 1
    if len(cell.fits) > 1:
        return reproduction(cell.fits, source_fits, _rounding(number))
    if cell.borrowed is not None:
        return borrowed_reproduction(cell.mean, cell.borrowed, source_fits, _rounding(number))
    return None


def _one_fit(number: PublishedNumber, cell: Cell, delta: float) -> Verdict:
    """The verdict on one fit without another row whose spread could be borrowed."""
    interval = cell.interval
    if interval is None:
        return Verdict(CANNOT_TELL, delta, detail="(one fit, without predictions)")
    half = (interval.high - interval.low) / 2
    if half > WIDEST:
        return Verdict(CANNOT_TELL, delta, detail=f"(one fit, ± {half:.1f})")
    inside = interval.holds(number.number, _rounding(number))
    return Verdict(INSIDE if inside else OUTSIDE, delta, detail="(one fit)")


def _untrained(number: PublishedNumber, cell: Cell, row: Row, delta: float) -> Verdict:
    """The verdict on an untrained method, for which the predictions of the source are expected again."""
    columns = [row.cells[name] for name in cell.harmonic_of] if cell.harmonic_of else [cell]
    entries = [score.entry for column in columns for score in column.repeats]
    videos = sum(entry.measurement.evaluation.evaluated for entry in entries)
    undecodable = sum(len(entry.record.undecodable) for entry in entries)
    missing = videos_outside(cell.mean, number.number, videos, _rounding(number))
    if missing <= undecodable:
        return Verdict(INSIDE, delta)
    return Verdict(OUTSIDE, delta, detail=f"by {missing} video{'' if missing == 1 else 's'}")


def differences(number: PublishedNumber, cell: Cell, row: Row) -> tuple[str, ...]:
    """The differences between our measurement and the published measurement, each once."""
    reasons: list[str] = []
    for entry in row.entries:
        reasons += setting_differences(number, entry.measurement)
        reasons += option_changes(number, entry.measurement, entry.record.method.defaults)
    # A source that measured one repeat alone is compared with this repeat.
    if cell.lacks and {str(score.index) for score in cell.repeats} != {number.setting.further.get("repeat")}:
        reasons.append(cell.lacks)
    n = number.setting.n
    if n and row.measurement.fitted is not None and cell.n != n and not cell.lacks:
        reasons.append(f"{cell.n} of {n} repeats")
    # Settings of the recipe are compared with the source above; a row without a rank may have those of the source.
    others = (reason for reason in row.reasons if not reason.startswith(CHANGED_RECIPE))
    return tuple(dict.fromkeys((*reasons, *others)))
