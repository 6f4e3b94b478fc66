"""Smallest differences that the evaluation lists of a plan can show: `python -m harness power`.

Differences and spreads are in percent points. See docs/power.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from results.statistics.power import (
    EXPECTED_DISCORDANCE,
    EXPECTED_FIT_SDS,
    EXPECTED_ICC,
    PowerCase,
    smallest_difference,
)

FITS = (1, 3, 5)
"""Numbers of fits (repeats) that a plan compares."""


@dataclass(frozen=True)
class ListSize:
    """Size of an evaluation list.

    Args:
        protocol, dataset: Names.
        list: Name of the list.
        parts: Parts that the list measures.
        videos: Number of videos N.
        clusters: Number of sources; None if the sources are not known.
        videos_per_cluster: Sum of squared cluster sizes divided by N: the mean cluster size that a video sees.
        prepared: Whether the list is on this machine; otherwise its size is the published one.
        guesses: Numbers of the list that are guesses.
    """

    protocol: str
    dataset: str
    list: str
    parts: tuple[str, ...]
    videos: int
    clusters: int | None
    videos_per_cluster: float
    prepared: bool = True
    guesses: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`PROTOCOL/DATASET LIST`."""
        return f"{self.protocol}/{self.dataset} {self.list}"


@dataclass(frozen=True)
class MeasuredPair:
    """Variability of the difference between two rows on a list, from their predictions; fractions.

    Args:
        a, b: Names of the rows.
        discordance: Share of videos on which exactly one row is right, averaged over repeats.
        agreement: Correlation of a video's difference between repeats; None with one repeat.
        design_effect: Variance over other videos relative to that of independent videos without classes.
        between: Variance component between fits; None without two fits.
    """

    a: str
    b: str
    discordance: float
    agreement: float | None
    design_effect: float
    between: float | None


@dataclass(frozen=True)
class SmallestDifference:
    """The smallest difference that a number of fits shows, in percent points; None if no difference can be shown.

    Args:
        fits: Number of fits of each method.
        other_videos: For the question whether the fits differ on other videos.
        trained_again: For the question whether the methods differ if trained again, for each of `ListPower.fit_sds`.
    """

    fits: int
    other_videos: float | None
    trained_again: tuple[float | None, ...]


@dataclass(frozen=True)
class ListPower:
    """Smallest differences of one list, and the numbers that they follow from.

    Args:
        size: The list.
        discordance: Share of videos on which exactly one of two methods is right, in percent.
        design_effect: Factor by which clusters raise the variance.
        fit_sds: Standard deviations of the difference between fits, in percent points: the measured one, or three
            guesses.
        agreement: Correlation of a video's difference between repeats.
        pairs: Number of pairs of rows under Holm's correction.
        smallest: By number of fits.
        measured: Pairs of records from which numbers come, as `A - B`.
        guesses: Numbers that are guesses, with their origin.
    """

    size: ListSize
    discordance: float
    design_effect: float
    fit_sds: tuple[float, ...]
    agreement: float
    pairs: int
    smallest: tuple[SmallestDifference, ...]
    measured: tuple[str, ...]
    guesses: tuple[str, ...]


def list_power(
    size: ListSize, measured: Sequence[MeasuredPair] = (), discordance: float | None = None, pairs: int = 1
) -> ListPower:
    """The smallest differences of a list.

    Args:
        size: The list.
        measured: Pairs of rows that were measured on the list; their medians replace guesses.
        discordance: Stated share of videos on which exactly one method is right, as a fraction; replaces the measured
            and the guessed share.
        pairs: Number of pairs of rows under Holm's correction.
    """
    guesses = list(size.guesses)
    stated = discordance if discordance is not None else _median([pair.discordance for pair in measured])
    if stated is None:
        stated = EXPECTED_DISCORDANCE
        guesses.append(f"discordance {100 * stated:g} %")
    effect = _median([pair.design_effect for pair in measured])
    if effect is None:
        effect = 1.0 + (size.videos_per_cluster - 1.0) * EXPECTED_ICC
        if size.videos_per_cluster > 1.0:
            guesses.append(f"design effect {effect:.2f} (correlation {EXPECTED_ICC:g} within clusters)")
    agreement = _median([pair.agreement for pair in measured if pair.agreement is not None])
    if agreement is None:
        agreement = PowerCase.agreement
        guesses.append(f"correlation {agreement:g} between repeats")
    between = _mean([pair.between for pair in measured if pair.between is not None])
    sds = EXPECTED_FIT_SDS if between is None else (between**0.5,)
    if between is None:
        guesses.append(f"SD between fits: {', '.join(f'{100 * sd:g}' for sd in sds)} points")
    case = PowerCase(size.videos, stated, effect, agreement=agreement, tests=pairs)
    single = size.videos_per_cluster <= 1.0
    return ListPower(
        size, 100 * stated, effect, tuple(100 * sd for sd in sds), agreement, pairs,
        tuple(_smallest(replace(case, repeats=fits), sds, exact=single and fits == 1) for fits in FITS),
        tuple(f"{pair.a} - {pair.b}" for pair in measured), tuple(guesses),
    )  # fmt: skip


def _smallest(case: PowerCase, sds: Sequence[float], exact: bool) -> SmallestDifference:
    again = [smallest_difference(replace(case, fit_sd=sd), exact=exact) for sd in sds] if case.repeats > 1 else []
    return SmallestDifference(
        case.repeats, _points(smallest_difference(case, exact=exact)), tuple(map(_points, again))
    )  # fmt: skip


def _points(difference: float | None) -> float | None:
    return None if difference is None else 100.0 * difference


def _median(values: Sequence[float]) -> float | None:
    """The median; None of no values."""
    ordered, half = sorted(values), len(values) // 2
    if not ordered:
        return None
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
