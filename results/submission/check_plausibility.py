"""Plausibility rules (W): results that are allowed and deserve a second look. They warn and never refuse."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from results.predictions import PROBABILITY_COLUMNS
from results.published_numbers import DATASETS, published_numbers
from results.statistics.intervals import wilson
from results.statistics.paired import mcnemar_p
from results.submission.facts import Facts
from results.submission.layout import Score
from results.submission.scores import scores_of
from results.submission.submission import Measured, Submission

FEW = 5
"""Videos of a class below which none right says nothing."""
SIGNIFICANT = 0.05
UNDECODABLE = 0.01


def check_plausibility(submission: Submission, facts: Facts) -> None:
    """Add the findings of all W rules; records whose predictions do not hold are left out."""
    sound = [m for m in submission.measured if m.frame is not None and not any(r.startswith("A") for r in m.failed)]
    for one in sound:
        _classes(submission, one)
        _chance(submission, one)
        _confidence(submission, one)
        undecodable = len(one.record.undecodable) / one.m.evaluation.evaluated
        if undecodable > UNDECODABLE:
            submission.note("W007", one.name, f"{100 * undecodable:.1f} % undecodable", f"at most {UNDECODABLE:.0%}")
    dirty = [m.name for m in submission.measured if m.record.environment.git.dirty]
    if dirty:
        submission.note("W011", dirty[0], f"uncommitted changes in {len(dirty)} records", "a clean checkout")
    _copies(submission, sound, facts)
    _curves(submission, sound)
    _code(submission, facts)
    if len(sound) == len(submission.measured) and sound:
        scores = scores_of(submission)
        _spreads(submission, scores)
        _too_good(submission, scores)


def _classes(submission: Submission, one: Measured) -> None:
    """Classes of which nothing is right, and what is predicted in their place (rule W001)."""
    assert one.frame is not None
    labels, first = one.frame["label"].to_numpy(), one.frame["id1"].to_numpy()
    names = one.record.classes
    zero = []
    for label in np.unique(labels):
        mine = first[labels == label]
        if len(mine) >= FEW and not (mine == label).any():
            ids, counts = np.unique(mine, return_counts=True)
            top = int(ids[counts.argmax()])
            taken = repr(names[top]) if top >= 0 else "nothing"
            zero.append(f"{names[label]!r} as {taken} {counts.max()} of {len(mine)}")
    if zero:
        found = f"{len(zero)} of {len(names)} classes at 0: {', '.join(zero[:4])}"
        submission.note("W001", one.name, found, "some hits in every class")


def _chance(submission: Submission, one: Measured) -> None:
    """Accuracy below chance by more than the noise (rule W002)."""
    chance, top1 = 100.0 / len(one.record.classes), one.record.metrics.top1
    if wilson(top1, one.m.evaluation.evaluated).high < chance:
        submission.note("W002", one.name, f"top1 {top1:.1f}", f"chance {chance:.1f} or more")


def _confidence(submission: Submission, one: Measured) -> None:
    """The same probabilities for every video (rule W009)."""
    assert one.frame is not None
    p = one.frame[PROBABILITY_COLUMNS].to_numpy()[one.frame["id1"].to_numpy() >= 0]
    if len(p) > FEW and len(one.record.classes) > 1 and len(np.unique(p, axis=0)) == 1:
        submission.note("W009", one.name, f"{p[0].tolist()} for each of {len(p)} videos", "values that vary")


def _copies(submission: Submission, sound: Iterable[Measured], facts: Facts) -> None:
    """Predictions equal to those of another row, here or on the board (rule W004)."""
    seen: dict[str, tuple[str, str]] = {}
    rows = {id(one): (key, submission.row_name(members)) for key, members in submission.rows().items()
            for one in members}  # fmt: skip
    for one in sound:
        key, name = rows[id(one)]
        other = facts.known.get(one.table_sha256, submission.name)
        if other != submission.name:
            submission.note("W004", one.name, f"the predictions of {other}", "predictions of its own")
        first, first_name = seen.setdefault(one.table_sha256, (key, name))
        if first != key:
            submission.note("W004", one.name, f"the predictions of {first_name}", "predictions of its own")


def _curves(submission: Submission, sound: Iterable[Measured]) -> None:
    """K-shot curves that fall significantly, by McNemar's test on the same list (rule W005)."""
    curves: dict[tuple[str, str, str], dict[int, Measured]] = {}
    for one in sound:
        fit = one.record.fit
        whole = one.m.evaluation.evaluated == one.m.evaluation.list.n
        if fit and fit.shots and whole and one.m.protocol.part == f"k{fit.shots}":
            key = (submission.row_name([one]), one.m.evaluation.list.sha256, str(one.m.protocol.repeat))
            curves.setdefault(key, {})[fit.shots] = one
    for (name, _, _), curve in sorted(curves.items()):
        shots = sorted(curve)
        for less, more in pairwise(shots):
            right = [m.frame["id1"].to_numpy() == m.frame["label"].to_numpy()
                     for m in (curve[less], curve[more]) if m.frame is not None]  # fmt: skip
            lost, won = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
            if lost > won and mcnemar_p(lost, won) < SIGNIFICANT:
                a, b = (curve[k].record.metrics.top1 for k in (less, more))
                found = f"{a:.1f} at K = {less}, {b:.1f} at K = {more}"
                submission.note("W005", name, found, "no fall beyond the noise")


def _code(submission: Submission, facts: Facts) -> None:
    """A built-in method whose code is not the one of this version (rule W008)."""
    found = {(one.m.method.name, one.m.method.code) for one in submission.measured
             if one.record.method.origin == "built-in"}  # fmt: skip
    for name, sha in sorted(found):
        if facts.builtin.get(name, sha) != sha:
            submission.note("W008", f"method {name}", f"code {sha}", f"code {facts.builtin[name]}")


def _spreads(submission: Submission, scores: Iterable[Score]) -> None:
    """A spread of exactly zero over repeats (rule W003)."""
    for score in scores:
        if score.n > 1 and score.spread == 0:
            where = f"{score.protocol} {score.dataset} {score.column}"
            submission.note("W003", where, f"spread 0 over {score.n} repeats of {score.kind}", "some spread")


def _too_good(submission: Submission, scores: Iterable[Score]) -> None:
    """Above every published number by more than the interval, or without an error (rule W006)."""
    tables = {"bridge_prompt": ("b2n", "few_shot")}
    for score in scores:
        where = f"{score.protocol} {score.dataset} {score.column}"
        best = max(
            (n for n in published_numbers() if DATASETS.get(n.dataset) == score.dataset
             and n.column == score.column and score.protocol in tables.get(n.table, (n.table,))),
            key=lambda n: n.number, default=None,
        )  # fmt: skip
        if best is not None and score.low > best.number:
            found = f"{score.mean:.1f}, at least {score.low:.1f} at 95 %"
            submission.note("W006", where, found, f"at most {best.value} ({best.name}), the best published")
        elif score.mean >= 100.0 and not score.column.startswith("top5"):
            submission.note("W006", where, "no error at all", "some errors")
