"""Plausibility rules (W): warnings on results that are allowed but unusual."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from results.predictions import PROBABILITY_COLUMNS
from results.published_numbers import DATASETS, published_numbers
from results.statistics.flips import mcnemar_p
from results.statistics.intervals import wilson
from results.submission.check_copies import check_copies
from results.submission.facts import Facts
from results.submission.layout import Score
from results.submission.scores import scores_of
from results.submission.submission import Measured, Submission

FEW = 5
"""Smallest number of videos of a class for a warning."""
SIGNIFICANT = 0.05
UNDECODABLE = 0.01
SATURATED = 0.9999
"""Larger probabilities are not compared."""
DIFFERENT = 0.1
"""Smallest share of different probabilities among videos."""
DECIMALS = 6
"""Decimals of stored probabilities."""


def check_plausibility(submission: Submission, facts: Facts) -> None:
    """Add the findings of all W rules; records with findings of A rules are skipped."""
    sound = [m for m in submission.measured if m.frame is not None and not any(r.startswith("A") for r in m.failed)]
    for measured in sound:
        _classes(submission, measured)
        _chance(submission, measured)
        _confidence(submission, measured)
        undecodable = len(measured.record.undecodable) / measured.m.evaluation.evaluated
        if undecodable > UNDECODABLE:
            submission.note(
                "W007", measured.name, f"{100 * undecodable:.1f} % undecodable", f"at most {UNDECODABLE:.0%}"
            )
    dirty = [m.name for m in submission.measured if m.record.environment.git.dirty]
    if dirty:
        submission.note("W011", dirty[0], f"uncommitted changes in {len(dirty)} records", "a clean checkout")
    check_copies(submission, facts)
    _curves(submission, sound)
    if len(sound) == len(submission.measured) and sound:
        scores = scores_of(submission)
        _spreads(submission, scores)
        _too_good(submission, scores)


def _classes(submission: Submission, measured: Measured) -> None:
    """Classes with zero accuracy, and the class that is predicted instead (rule W001)."""
    assert measured.frame is not None
    labels, first = measured.frame["label"].to_numpy(), measured.frame["id1"].to_numpy()
    names = measured.record.classes
    zero = []
    for label in np.unique(labels):
        predicted = first[labels == label]
        if len(predicted) >= FEW and not (predicted == label).any():
            ids, counts = np.unique(predicted, return_counts=True)
            top = int(ids[counts.argmax()])
            taken = repr(names[top]) if top >= 0 else "nothing"
            zero.append(f"{names[label]!r} as {taken} {counts.max()} of {len(predicted)}")
    if zero:
        found = f"{len(zero)} of {len(names)} classes at 0: {', '.join(zero[:4])}"
        submission.note("W001", measured.name, found, "correct predictions in every class")


def _chance(submission: Submission, measured: Measured) -> None:
    """Accuracy significantly below chance (rule W002)."""
    chance, top1 = 100.0 / len(measured.record.classes), measured.record.metrics.top1
    if wilson(top1, measured.m.evaluation.evaluated).high < chance:
        submission.note("W002", measured.name, f"top1 {top1:.1f}", f"chance {chance:.1f} or more")


def _confidence(submission: Submission, measured: Measured) -> None:
    """Few different probabilities, and probabilities of few decimals (rule W009)."""
    assert measured.frame is not None
    p = measured.frame[PROBABILITY_COLUMNS].to_numpy()
    # A confident classifier gives many videos a probability of 1.
    p = p[(p[:, 0] > 0) & (p[:, 0] < SATURATED)]
    if len(p) <= FEW or len(measured.record.classes) < 2:
        return
    different = len(np.unique(p[:, 0]))
    if different <= max(1, DIFFERENT * len(p)):
        submission.note("W009", measured.name, f"{different} different values for {len(p)} videos", "different values")
    decimals = next(n for n in range(DECIMALS + 1) if np.allclose(p, p.round(n), rtol=0, atol=1e-9))
    if decimals < DECIMALS - 1:
        submission.note("W009", measured.name, f"{decimals} decimals in {len(p)} videos", f"{DECIMALS} decimals")


def _curves(submission: Submission, sound: Iterable[Measured]) -> None:
    """K-shot curves that fall significantly, by McNemar's test on the same list (rule W005)."""
    curves: dict[tuple[str, str, str], dict[int, Measured]] = {}
    for measured in sound:
        fit = measured.record.fit
        whole = measured.m.evaluation.evaluated == measured.m.evaluation.list.n
        if fit and fit.shots and whole and measured.m.protocol.part == f"k{fit.shots}":
            key = (submission.row_name([measured]), measured.m.evaluation.list.sha256, str(measured.m.protocol.repeat))
            curves.setdefault(key, {})[fit.shots] = measured
    for (name, _, _), curve in sorted(curves.items()):
        shots = sorted(curve)
        for less, more in pairwise(shots):
            right = [m.frame["id1"].to_numpy() == m.frame["label"].to_numpy()
                     for m in (curve[less], curve[more]) if m.frame is not None]  # fmt: skip
            lost, won = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
            if lost > won and mcnemar_p(lost, won) < SIGNIFICANT:
                a, b = (curve[k].record.metrics.top1 for k in (less, more))
                found = f"{a:.1f} at K = {less}, {b:.1f} at K = {more}"
                submission.note("W005", name, found, "no significant fall")


def _spreads(submission: Submission, scores: Iterable[Score]) -> None:
    """A spread of exactly zero over several repeats (rule W003)."""
    for score in scores:
        if score.n > 1 and score.spread == 0:
            where = f"{score.protocol} {score.dataset} {score.column}"
            submission.note("W003", where, f"spread 0 over {score.n} repeats of {score.kind}", "a spread above 0")


def _too_good(submission: Submission, scores: Iterable[Score]) -> None:
    """Scores significantly above all published numbers, or without any error (rule W006)."""
    # One printed table can hold blocks of several protocols.
    tables = {"bridge_prompt": ("b2n", "few_shot")}
    for score in scores:
        where = f"{score.protocol} {score.dataset} {score.column}"
        best = max(
            (n for n in published_numbers() if DATASETS.get(n.dataset) == score.dataset
             and n.column == score.column and score.protocol in tables.get(n.table, (n.table,))),
            key=lambda n: n.number, default=None,
        )  # fmt: skip
        # The lower end of the interval, because an average gain within the noise is not suspicious.
        if best is not None and score.low is not None and score.low > best.number:
            found = f"{score.mean:.1f}, at least {score.low:.1f} at 95 %"
            submission.note("W006", where, found, f"at most {best.value} ({best.name}), the best published")
        elif score.mean >= 100.0 and not score.column.startswith("top5"):
            submission.note("W006", where, "no error", "some errors")
