"""The answers of a comparison in one sentence, for readers without statistics."""

from __future__ import annotations

from dataclasses import dataclass

from results.row_statistics import PairStatistics
from results.statistics.intervals import Interval
from results.statistics.pairs import ALPHA
from results.statistics.trained_again import CONCLUSIVE_FITS

NOT_SEPARABLE = "The gap is no larger than chance of videos explains."
TOO_FEW_SOURCES = "Too few sources differ to tell."
TOO_FEW_FITS = "Fits: too few to say"
ONE_SOURCE = "All videos have one source: nothing can be said about other videos."


@dataclass(frozen=True)
class Borrowed:
    """Interval of a difference of single fits, if their fits spread as those of other rows.

    Args:
        interval: 95 % interval in points.
        rows: Number of the other rows.
    """

    interval: Interval
    rows: int


def sentence(pair: PairStatistics, borrowed: Borrowed | None = None) -> str:
    """Both questions in words: is the gap larger than chance of videos, and would it hold if trained again?"""
    if pair.p_holm is None:
        return ONE_SOURCE
    text = _separable(pair) if pair.p_holm < ALPHA else TOO_FEW_SOURCES if pair.few_sources else NOT_SEPARABLE
    if pair.interval is not None and (pair.p_holm < ALPHA) == pair.interval.holds(0.0):
        text += " This is borderline: the test and the interval disagree."
    if borrowed is not None:
        low, high = borrowed.interval
        rows = f"the {borrowed.rows} other rows" if borrowed.rows > 1 else "the other row"
        text += f" If their fits spread as those of {rows}, A - B is between {low:+.1f} and {high:+.1f} points."
    return text


def _separable(pair: PairStatistics) -> str:
    """The sentence on a difference that is larger than the choice of videos explains."""
    better = "A" if pair.difference > 0 else "B"
    if pair.fits == 0:
        return f"{better} is better on these videos; nothing is trained."
    if pair.fits < CONCLUSIVE_FITS or pair.p_again_holm is None:
        fits = "one fit" if pair.fits == 1 else "two fits"
        return f"{better}'s fits are better on these videos. {TOO_FEW_FITS} whether the method is ({fits})."
    if pair.p_again_holm < ALPHA:
        return f"{better} is better on these videos and would be if trained again."
    return f"{better}'s fits are better; {pair.fits} fits cannot show that the method is."
