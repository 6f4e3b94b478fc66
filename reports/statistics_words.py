"""Sentences on intervals, tests and marks, one for each question that a board answers.

The words never mix the two questions: other videos (would these fits score the same?), and another training (would the
method score the same?).
"""

from __future__ import annotations

from dataclasses import dataclass

from reports.row import Cell
from results.row_statistics import CellStatistics
from results.statistics.intervals import Interval
from results.statistics.trained_again import CONCLUSIVE_FITS

UNKNOWN_SOURCES = "Sources are unknown here; every video counts on its own, and the interval may be too short."
NOTHING_TRAINED = "Nothing is trained."
ONE_FIT = "One fit: not known what the method would score if it were trained again."
NO_SPREAD = "There is no spread between these fits beyond the videos'."
THREE_FITS = "Three fits: the spread between fits is known to a factor of 2 to 6."
SEPARABLE = "The gap is larger than a change of test videos explains."
AGAIN = "Another training could close it."
NOT_SEPARABLE = "The gap is no larger than chance of videos explains."
TOO_FEW_SOURCES = "Too few sources differ to tell."
MAY_NOT_HOLD = "may not hold if trained again"
FEW_FITS = {
    1: "one fit: not known whether it holds if trained again",
    2: "two fits: too few to say whether it holds if trained again",
}
"""Words for the mark of a row with one or two fits."""
LONGER = 1.005
"""Smallest factor between two intervals that is stated; a smaller one rounds to 1.0."""


INTERVALS = ("On other videos of these classes", "Trained again with")
"""Begin of the sentences that state an interval."""


@dataclass(frozen=True)
class Sentence:
    """A sentence on a cell.

    Args:
        text: The sentence.
        weak: Whether it is shown in grey, because two fits hardly say anything.
    """

    text: str
    weak: bool = False


def sentences(cell: Cell) -> tuple[Sentence, ...]:
    """The sentences on the intervals of a cell, in the order of the questions."""
    found = cell.statistics
    if found is None:
        return (Sentence(f"No interval: {cell.no_interval}."),) if cell.no_interval else ()
    who = {0: "this method", 1: "this fit"}.get(found.fits, "these fits")
    low, high = _bounds(found.other)
    text = f"On other videos of these classes, from other sources, {who} would score between {low} and {high} (95 %)."
    return (Sentence(text), _sources(found), *_again(found))


def _bounds(interval: Interval) -> tuple[str, str]:
    return f"{interval.low:.1f}", f"{interval.high:.1f}"


def _sources(found: CellStatistics) -> Sentence:
    if not found.known:
        return Sentence(UNKNOWN_SOURCES)
    if found.longer < LONGER:
        return Sentence("Clips of one film count together; this makes the interval no longer here.")
    return Sentence(f"Clips of one film count together; this makes the interval {found.longer:.2f} times as long.")


def _again(found: CellStatistics) -> tuple[Sentence, ...]:
    """The sentences on methods that are trained again."""
    if not found.fits:
        return (Sentence(NOTHING_TRAINED),)
    if found.again is None:
        return (Sentence(ONE_FIT),)
    low, high = _bounds(found.again)
    fits = "two fits" if found.fits == 2 else f"{found.fits} fits"
    text = f"Trained again with other seeds or training samples, the method would score between {low} and {high}"
    texts = [Sentence(f"{text} (95 %, from {fits}).", found.fits < CONCLUSIVE_FITS)]
    if found.fit_variance == 0:
        texts.append(Sentence(NO_SPREAD))
    elif found.fits == CONCLUSIVE_FITS:
        texts.append(Sentence(THREE_FITS))
    return tuple(texts)
