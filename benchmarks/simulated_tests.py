"""Simulation of the intervals and tests of `results/statistics/`: coverage, size and power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulated_lists import Floats, SimulatedList, class_accuracies, uniforms
from results.statistics.flips import flip_p
from results.statistics.intervals import Interval, cell_interval, cell_interval_again, wilson
from results.statistics.list_design import ListDesign, list_design
from results.statistics.pairs import around
from results.statistics.reproduced import reproduction
from results.statistics.scores import Scores, harmonic_scores
from results.statistics.trained_again import fit_spread, pair_again

ALPHA = 0.05


@dataclass(frozen=True)
class Coverage:
    """A scenario for intervals of accuracies.

    Args:
        listed: The evaluation list.
        mean: Mean accuracy of the classes.
        class_sd: Standard deviation between classes.
        icc: Correlation of the outcomes of two videos of a cluster.
        fits: Number of fits.
        fit_sd: Standard deviation of the effect of a fit, as a fraction.
        novel_mean: For harmonic means, the mean accuracy of the second half of the classes; `mean` is the first's.
    """

    listed: SimulatedList
    mean: float
    class_sd: float = 0.0
    icc: float = 0.0
    fits: int = 1
    fit_sd: float = 0.0
    novel_mean: float | None = None

    @property
    def name(self) -> str:
        """The scenario in words."""
        means = f"{100 * self.mean:.0f}" + (f"/{100 * self.novel_mean:.0f}" if self.novel_mean is not None else "")
        return f"{self.listed.name}, {means} %{_settings(self.class_sd, 'class SD', self.icc, self.fits, self.fit_sd)}"


def _settings(class_sd: float, label: str, icc: float, fits: int, fit_sd: float) -> str:
    """Settings in words; those that are 0 are left out."""
    words = [f"{label} {100 * class_sd:g}"] if class_sd else []
    words += [f"ICC {icc:g}"] if icc else []
    words.append(f"{fits} fit{'s' if fits > 1 else ''}")
    words += [f"fit SD {100 * fit_sd:g}"] if fit_sd else []
    return "".join(f", {word}" for word in words)


@dataclass(frozen=True)
class Covered:
    """Coverage (0 to 1) and mean length in points of three intervals, for the targets "other" and "again".

    Args:
        simple: Coverage of Wilson's interval of N independent videos for both targets, and its length.
        other: The interval for other videos.
        again: The interval for methods trained again; None for one fit.
    """

    simple: tuple[float, float, float]
    other: tuple[float, float]
    again: tuple[float, float] | None


def _scores_of(design: ListDesign, right: NDArray[np.bool_]) -> list[Scores]:
    """Scores of K simulated means, from the answers (K, R, N) on one list."""
    lists, fits, videos = right.shape
    flat = right.reshape(lists * fits, videos)
    values = design.accuracies(flat).reshape(lists, fits)
    by_repeat = design.scores(flat).reshape(lists, fits, -1)
    effective = 1.0 / float((design.shares**2).sum())
    return [
        Scores(
            values[k], design.clusters, by_repeat[k], design.shares, len(design.strata), effective, design.videos,
            design.repeated,
        )
        for k in range(lists)
    ]  # fmt: skip


@dataclass(frozen=True)
class _Part:
    """The videos of one accuracy: all videos of a list, or those of its base or novel classes.

    Args:
        chosen: Positions of the videos in the list.
        design: Strata and clusters of these videos.
        accuracies: (videos,) accuracies of their classes.
    """

    chosen: NDArray[np.int64]
    design: ListDesign
    accuracies: Floats


def _parts(case: Coverage) -> list[_Part]:
    """One part for an accuracy; the first and the second half of the classes for a harmonic mean."""
    classes, clusters = case.listed.classes, case.listed.clusters
    count = int(classes.max()) + 1
    halves = [(case.mean, classes >= 0)]
    if case.novel_mean is not None:
        halves = [(case.mean, classes < (count + 1) // 2), (case.novel_mean, classes >= (count + 1) // 2)]
    return [
        _Part(
            np.flatnonzero(half),
            list_design(classes[half], clusters[half]),
            class_accuracies(count, mean, case.class_sd)[classes[half]],
        )
        for mean, half in halves
    ]


def coverage(case: Coverage, lists: int, seed: int) -> Covered:
    """Simulate the coverage of the intervals of an accuracy or of a harmonic mean.

    Args:
        case: The scenario.
        lists: Number of simulated lists.
        seed: Seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    parts = _parts(case)
    limits: list[tuple[Interval, Interval, Interval]] = []
    truths: list[float] = []
    for numbers in uniforms(case.listed, case.icc, case.fits, lists, rng):
        scores, means = [], []
        for part in parts:
            effects = rng.normal(0.0, 1.0, size=(len(numbers), case.fits, 1)) * case.fit_sd
            truth = np.clip(part.accuracies + effects, 0.0, 1.0)
            scores.append(_scores_of(part.design, numbers[:, :, part.chosen] < truth))
            means.append(truth.mean(axis=(1, 2)))
        truths += _harmonic(means).tolist()
        limits += [_limits(of_list, case.listed.videos) for of_list in zip(*scores, strict=True)]
    low, high = np.array(limits).transpose(2, 1, 0)
    length = (high - low).mean(axis=1).tolist()
    of_fits, of_method = (
        ((low <= target) & (target <= high)).mean(axis=1).tolist()
        for target in (100.0 * np.array(truths), 100.0 * _expected(case, parts))
    )
    again = (of_method[2], length[2]) if case.fits > 1 else None
    return Covered((of_fits[0], of_method[0], length[0]), (of_fits[1], length[1]), again)


def _harmonic(means: Sequence[Floats]) -> Floats:
    return means[0] if len(means) == 1 else np.asarray(2.0 * means[0] * means[1] / (means[0] + means[1]))


def _expected(case: Coverage, parts: Sequence[_Part]) -> float:
    """The true value of the method over all fits; clipped accuracies have another mean than unclipped ones."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    means = [
        np.clip(part.accuracies[:, None] + case.fit_sd * nodes, 0.0, 1.0).mean(axis=0) @ weights / weights.sum()
        for part in parts
    ]
    return float(_harmonic([np.array([mean]) for mean in means])[0])


def _limits(parts: Sequence[Scores], videos: int) -> tuple[Interval, Interval, Interval]:
    """The simple interval, the interval for other videos and that for methods trained again."""
    scores = parts[0] if len(parts) == 1 else harmonic_scores(parts[0], parts[1])
    assert scores is not None
    spread, other = fit_spread(scores), cell_interval(scores)
    assert other is not None
    again = other if spread is None else cell_interval_again(scores, spread)
    assert again is not None
    return wilson(100.0 * min(max(scores.mean, 0.0), 1.0), videos), other, again


@dataclass(frozen=True)
class Size:
    """A scenario for tests of pairs.

    Args:
        listed: The evaluation list.
        psi: Share of the videos on which exactly one of A and B is right.
        icc: Correlation of the differences of two videos of a cluster.
        class_sd: Standard deviation of the differences between classes, whose mean is 0.
        fits: Number of fits.
        fit_sd: Standard deviation of the effect of a pair of fits, as a fraction.
        gap: True difference.
    """

    listed: SimulatedList
    psi: float
    icc: float = 0.0
    class_sd: float = 0.0
    fits: int = 1
    fit_sd: float = 0.0
    gap: float = 0.0

    @property
    def name(self) -> str:
        """The scenario in words."""
        settings = _settings(self.class_sd, "class differences SD", self.icc, self.fits, self.fit_sd)
        gap = f", gap {100 * self.gap:.2f}" if self.gap else ""
        return f"{self.listed.name}, psi {self.psi:g}{settings}{gap}"


@dataclass(frozen=True)
class Rejected:
    """Shares of the simulated lists in which a test rejects at 5 %, and the coverage of the interval of the difference.

    Args:
        videos: Flips of single videos.
        clusters: Flips of clusters.
        again: The test for methods trained again; None for one fit.
        covered: Coverage of the interval for other videos.
    """

    videos: float
    clusters: float
    again: float | None
    covered: float


def rejections(case: Size, lists: int, seed: int) -> Rejected:
    """Simulate the size, or for a gap the power, of the tests of a pair.

    Args:
        case: The scenario.
        lists: Number of simulated lists.
        seed: Seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    classes = int(case.listed.classes.max()) + 1
    shares = np.bincount(case.listed.classes) / case.listed.videos
    of_class = (
        np.random.default_rng(seed + 1).normal(0.0, case.class_sd, classes) if case.class_sd else np.zeros(classes)
    )
    of_class -= of_class @ shares
    found: list[tuple[bool, bool, bool, bool]] = []
    for numbers in uniforms(case.listed, case.icc, case.fits, lists, rng):
        effects = rng.normal(0.0, 1.0, size=(len(numbers), case.fits)) * case.fit_sd + case.gap
        expected = np.clip(of_class + effects[:, :, None], -case.psi, case.psi)
        at_video = expected[:, :, case.listed.classes]
        wins = (numbers < (case.psi + at_video) / 2).astype(np.int8)
        changes = wins - (numbers > 1 - (case.psi - at_video) / 2).astype(np.int8)
        truths = (expected @ shares).mean(axis=1)
        for scores, change, truth in zip(_scores_of(case.listed.design, changes), changes, truths, strict=True):
            found.append(_tested(case.listed, scores, change.sum(axis=0, dtype=np.int64), float(truth)))
    rates = np.array(found).mean(axis=0).tolist()
    return Rejected(rates[0], rates[1], rates[2] if case.fits > 1 else None, rates[3])


def _tested(listed: SimulatedList, scores: Scores, change: NDArray[np.int64], truth: float) -> tuple[bool, ...]:
    of_clusters = np.bincount(listed.clusters, change).astype(np.int64)
    again = pair_again(scores)
    interval = around(scores.mean, scores.quantile * scores.variance**0.5)
    return (
        flip_p(change) < ALPHA,
        flip_p(of_clusters) < ALPHA,
        again is not None and again.p < ALPHA,
        interval.holds(100.0 * truth, 1e-9),
    )


def inside(true_sd: float, gap: float, draws: int, seed: int) -> tuple[float, float]:
    """Share of published values (percent) that agree with three fits, and the mean half-width in points.

    Args:
        true_sd: Standard deviation between fits, on both sides, in points.
        gap: True difference between the sides in points.
        draws: Number of simulated pairs of sides.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    ours, theirs = rng.normal(70.0, true_sd, (draws, 3)), rng.normal(70.0 + gap, true_sd, (draws, 3)).mean(axis=1)
    expected = [reproduction(values, 3) for values in ours.tolist()]
    agreed = np.mean([values.holds(value) for values, value in zip(expected, theirs.tolist(), strict=True)])
    return float(agreed), float(np.mean([values.half_width for values in expected]))
