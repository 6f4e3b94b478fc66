"""Exact sign-flip tests of paired differences for any number and size of clusters.

The null hypothesis: the difference of each cluster is as likely to have the other sign. The statistic is the absolute
sum of the differences, and ties count. The test is McNemar's exact test if all differences are -1, 0 or 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

LEAST_P = 1e-10
"""Smaller p values are printed as `< 1e-10`: the absolute error of a p value is at most 1e-12."""
_CHUNK = 1_000_000
"""Largest number of (pair, point) products at once, which bounds the memory."""
_LOWEST = -60.0
"""Logarithm of a characteristic function that no longer changes a p value."""


def mcnemar_p(only_a: int, only_b: int) -> float:
    """The two-sided p value of McNemar's exact test: a binomial test of the two discordant counts."""
    # Twice the lower tail, as the null distribution is symmetric; `scipy.stats.binomtest` takes ten times as long.
    lower = _lower_tails(np.array([min(only_a, only_b)]), np.array([only_a + only_b]))
    return min(1.0, 2.0 * float(lower[0]))


def least_p(differing: int) -> float:
    """The smallest p value that a sign-flip test of `differing` clusters with a difference can give."""
    return min(1.0, 2.0 ** (1 - differing))


def flip_p(differences: ArrayLike) -> float:
    """The two-sided p value of the sign-flip test.

    Args:
        differences: (G,) whole numbers, right answers of A minus right answers of B for each cluster.
    """
    values = np.asarray(differences, dtype=np.int64)
    sizes, counts = np.unique(np.abs(values[values != 0]), return_counts=True)
    if not len(sizes):
        return 1.0
    unit = math.gcd(*sizes.tolist())
    total = abs(int(values.sum())) // unit
    return float(_tails(sizes // unit, counts[None, :], np.array([total]))[0])


def flip_ps(counts: NDArray[np.int64], totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """The p values of the sign-flip test of many pairs at once.

    Args:
        counts: (P, D) numbers of clusters that differ by 1, 2, ..., D.
        totals: (P,) absolute sums of the differences.

    Returns:
        (P,) two-sided p values.
    """
    return _tails(np.arange(1, counts.shape[1] + 1), counts, totals)


def _tails(sizes: NDArray[np.int64], counts: NDArray[np.int64], totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """The p values of P pairs whose clusters differ by the (D,) `sizes`, (P, D) `counts` times."""
    if len(sizes) == 1 and sizes[0] == 1:
        number = counts[:, 0]
        return np.asarray(np.minimum(1.0, 2.0 * _lower_tails((number - totals) // 2, number)))
    result = np.ones(len(counts))
    units = counts @ sizes
    order = np.flatnonzero(totals > 0)
    order = order[np.argsort(units[order])]
    while len(order):
        # Pairs of similar sums share the points, and the largest sum decides their number.
        points = int(units[order[-1]]) + 1
        chosen = order[-max(1, _CHUNK // points) :]
        chosen = chosen[units[chosen] * 2 >= units[order[-1]]]
        order = order[: -len(chosen)]
        result[chosen] = _tails_at(sizes, counts[chosen], totals[chosen], points)
    return result


def _lower_tails(most: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.float64]:
    """The (P,) probabilities of at most `most` heads in `number` tosses of a fair coin, `most` <= `number` / 2."""
    # The values of `scipy.stats.binom.cdf`, whose import takes most of a second. `special.bdtr` has larger errors.
    tails = special.betainc(np.maximum(number - most, 1), most + 1.0, 0.5)
    return np.asarray(np.where(number > 0, tails, 1.0))


def _tails_at(
    sizes: NDArray[np.int64], counts: NDArray[np.int64], totals: NDArray[np.int64], points: int
) -> NDArray[np.float64]:
    """The tails of the null distributions from their characteristic functions.

    A sum of N signed units has the parity of N and the characteristic function prod cos(k x)^n_k. Its sum at M > N
    points pi m / M against the kernel sin((t - 1) x) / sin(x) is the probability of less than t units on either side.
    """
    inside = np.zeros(len(counts))
    half = points // 2 + 1  # the other points are mirror images
    different, which = np.unique(totals, return_inverse=True)
    for start in range(0, half, _CHUNK):
        index = np.arange(start, min(start + _CHUNK, half), dtype=np.int64)
        if len(counts) == 1:
            index, function = _characteristic_of_one(sizes, counts[0], index, points)
        else:
            index, function = _characteristic(sizes, counts, index, points)
        x = np.pi * index / points
        sine = np.where(index > 0, np.sin(x), 1.0)
        # The product is reduced modulo the period in integers, which keeps the angle exact.
        angles = np.pi * ((different[:, None] - 1) * index % (2 * points)) / points
        kernel = np.where(index > 0, np.sin(angles) / sine, different[:, None] - 1.0)
        kernel *= np.where((index == 0) | (2 * index == points), 1.0, 2.0) / points
        inside += np.einsum("px,px->p", function, kernel[which])
    return np.clip(1.0 - inside, 0.0, 1.0)


def _characteristic(
    sizes: NDArray[np.int64], counts: NDArray[np.int64], index: NDArray[np.int64], points: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The points at which a characteristic function of P pairs is not negligible, and their (P, X) values."""
    logs, negative = _log_cosines(sizes[:, None] * index, points)
    kept = counts.min(axis=0) @ logs > _LOWEST
    logs, negative = logs[:, kept], negative[:, kept]
    odd = ((counts % 2).astype(np.float32) @ negative.astype(np.float32)).astype(np.int16) & 1
    function = np.exp(counts.astype(np.float64) @ logs)
    return index[kept], np.negative(function, out=function, where=odd.astype(np.bool_))


def _characteristic_of_one(
    sizes: NDArray[np.int64], counts: NDArray[np.int64], index: NDArray[np.int64], points: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The points at which the characteristic function of one pair is not negligible, and its (1, X) values."""
    total, odd = np.zeros(len(index)), np.zeros(len(index), dtype=np.bool_)
    # Sizes with many clusters first: they make most points negligible, which need no further cosines.
    for k in np.argsort(-counts).tolist():
        logs, negative = _log_cosines(sizes[k] * index, points)
        total = total + counts[k] * logs
        odd = odd ^ (negative & bool(counts[k] % 2))
        kept = total > _LOWEST
        index, total, odd = index[kept], total[kept], odd[kept]
    return index, np.asarray(np.where(odd, -1.0, 1.0) * np.exp(total))[None, :]


def _log_cosines(steps: NDArray[np.int64], points: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logarithm of |cos(pi * steps / points)|, and whether the cosine is negative."""
    angle = np.pi * (steps % (2 * points)) / points
    cosine, sine = np.cos(angle), np.sin(angle)
    size = np.abs(cosine)
    with np.errstate(divide="ignore"):
        # Near 1 the logarithm of a rounded cosine loses digits, which a power of thousands would multiply.
        logs = np.where(size < 0.7, np.log(np.maximum(size, 1e-300)), 0.5 * np.log1p(-(sine**2)))
    return logs, cosine < 0.0
