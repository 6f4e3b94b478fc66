"""Arithmetic rules (A): recompute all numbers of a submission from its predictions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, replace

from harness.base.canonical import canonical_json, labels_sha256
from results.codec import encode
from results.fit_file import FitFile
from results.measurement import FitDescription, Measurement, Plain, leaves
from results.measurement_words import Difference
from results.provenance import Environment
from results.record import Record
from results.submission.check_records import RECORD_RULES, TOLERANCE, UNREADABLE, Disagreement
from results.submission.layout import Card, Score
from results.submission.scores import scores_of
from results.submission.submission import Measured, Submission, parent_of

OF_THE_PROTOCOL = ("training.declared.", "training.recipe.source")
"""Fields of a training that can differ between the records of one fit, because protocols declare different recipes."""
_Statement = tuple[str, Plain, Plain]
"""A field, the value stated and the value expected."""
SECONDS = 0.01
"""Tolerance for times in seconds and sizes in GiB that were rounded."""


def check_arithmetic(submission: Submission) -> None:
    """Add the findings of all A rules."""
    for measured in submission.measured:
        # In order: a rule whose ground failed would repeat the same fault in other words.
        for rule, needs, check in RECORD_RULES:
            if not needs & measured.failed:
                for found, expected in check(measured, submission):
                    submission.note_of(measured, rule, found, expected)
    for key, fit in sorted(submission.fits.items()):
        _fit(submission, f"fits/{key}.json", fit)
    for measured in submission.measured:
        fitted = submission.fits.get(measured.keys.fit)
        for found, expected in _record_of_fit(measured.record, fitted) if fitted is not None else ():
            submission.note_of(measured, "A015", found, expected)
    _scores(submission)
    _summaries(submission)


def _fit(submission: Submission, name: str, fit: FitFile) -> None:
    """Check a fit against its class names, its weights and its parent fit (rules A014, A015)."""
    training, stated = fit.described.training, fit.weights.sha256
    labels = labels_sha256(fit.classes)
    if labels != training.list.labels_sha256:
        found = f"labels sha256 {training.list.labels_sha256}"
        submission.note("A014", name, found, f"{labels}, computed from the class names")
    pairs: list[_Statement] = [("training.weights_sha256", training.weights_sha256, stated)]
    if fit.key in submission.weights:
        stored = submission.hashes.get(f"weights/{fit.key}.safetensors", stated)
        pairs.append(("weights.sha256", stated, stored))
    parent = submission.fits.get(parent_of(fit))
    if parent is not None:  # a missing parent fit is reported by rule F008
        start, parent_training = training.start, parent.described.training
        whole = parent_training.used == parent_training.list.n and parent_training.start.complete
        pairs += [
            ("training.start.weights_sha256", start.weights_sha256, parent.weights.sha256),
            ("training.start.complete", start.complete, whole),
            *_names("training.start.name", start.name, parent.described),
        ]
    for field, a, b in pairs:
        if a != b:
            submission.note("A015", name, f"{field} {a!r}", repr(b))


def _names(field: str, stated: str, described: FitDescription) -> Iterator[_Statement]:
    """A name of a fit that is not made of its method, the dataset of its training list, and the list."""
    listed = described.training.list
    start = f"{described.method.name} {listed.dataset}/"
    rest = stated.removeprefix(start)
    # The name of a list that the harness drew continues the name that the protocol uses.
    if not stated.startswith(start) or not rest or not listed.name.startswith(rest):
        yield field, stated, f"{start}{listed.name}"


def _record_of_fit(record: Record, fit: FitFile) -> Iterator[Disagreement]:
    """The fields of a record that differ from its fit."""
    for difference in _described(record.measurement, fit.described):
        yield f"{difference.label} {difference.a!r}", repr(difference.b)
    stated, outcome = record.fit, fit.outcome
    if stated is None:
        return  # `record_of` refuses a trained record without facts of its fit
    pairs: list[_Statement] = [
        *_names("fit.name", stated.name, fit.described),
        ("fit.effective_batch", stated.effective_batch, fit.described.training.recipe.effective_batch),
        ("fit.updates", stated.updates, outcome.updates),
        ("fit.seconds", stated.seconds, outcome.seconds),
        ("fit.peak_memory_gib", stated.peak_memory_gib, outcome.peak_memory_gib),
        ("method.params_total", record.method.params_total, fit.parameters.total),
        ("method.params_trained", record.method.params_trained, fit.parameters.trained),
    ]
    for field, found, expected in pairs:
        if isinstance(found, float) and isinstance(expected, (int, float)):
            # Times and sizes are rounded for records; counts and names must be equal.
            same = math.isclose(found, expected, rel_tol=1e-3, abs_tol=SECONDS)
        else:
            same = found == expected
        if not same:
            yield f"{field} {found!r}", repr(expected)


def _described(m: Measurement, described: FitDescription) -> Iterator[Difference]:
    """All fields in which a measurement differs from the description of its fit."""
    # Options of evaluation alone may differ between the records of one fit.
    method = replace(described.method, evaluation_options=m.method.evaluation_options)
    fitted = replace(m, method=method, model=described.model, training=described.training, engine=described.engine)
    sides = dict(leaves(m)), dict(leaves(fitted))
    for path in sides[1]:
        if sides[0].get(path) != sides[1][path] and not path.startswith(OF_THE_PROTOCOL):
            yield Difference(path, sides[0].get(path), sides[1][path])


def _scores(submission: Submission) -> None:
    """Check means, spreads, intervals and harmonic means (rule A009), unless a record already failed."""
    # Means of wrong numbers would repeat the same finding for every column.
    refuted = any(measured.failed & {*UNREADABLE, "A007"} for measured in submission.measured)
    if submission.manifest is None or refuted or not submission.complete:
        return
    stated = submission.manifest.scores
    expected = {(s.row, s.column): s for s in scores_of(submission)}
    listed = {(s.row, s.column): s for s in stated}
    for cell in sorted(set(expected) | set(listed)):
        stated_score, computed = listed.get(cell), expected.get(cell)
        if stated_score is None or computed is None:
            score_text = "no score" if stated_score is None else f"a score {stated_score.mean}"
            submission.note("A009", "submission.json scores", f"{score_text} for {' '.join(cell)}", "the records' rows")
            continue
        for name, a, b in _differing(stated_score, computed):
            submission.note("A009", f"submission.json scores {' '.join(cell)}", f"{name} {a}", str(b))
    if len(stated) != len(listed):
        submission.note("A009", "submission.json scores", "two scores of one column", "one score for each")


def _differing(stated: Score, computed: Score) -> Iterator[_Statement]:
    """Entries of two scores that differ by more than rounding."""
    for name, second in asdict(computed).items():
        first = getattr(stated, name)
        numbers = all(isinstance(x, (int, float)) for x in (first, second))
        if first != second and not (numbers and math.isclose(first, second, rel_tol=0.0, abs_tol=TOLERANCE)):
            yield name, first, second


def _summaries(submission: Submission) -> None:
    """Check title, card and environments (rule A016)."""
    if not submission.measured:
        return
    card, expected = submission.card, card_of(submission.measured[0].record)
    if submission.manifest is not None and submission.manifest.title != expected.title:
        found = f"title {submission.manifest.title!r}"
        submission.note("A016", "submission.json", found, f"{expected.title!r}, as the records state")
    rows = submission.rows()
    for measured in submission.measured:
        # Rows with other options can have another title; records of one row cannot.
        first = rows[measured.keys.row][0]
        if (stated := card_of(measured.record)) != (of_row := card_of(first.record)):
            name = next(name for name, value in asdict(of_row).items() if getattr(stated, name) != value)
            found, wanted = f"{name} {getattr(stated, name)!r}", repr(getattr(of_row, name))
            submission.note_of(measured, "A016", found, f"{wanted}, as in {first.name}")
    if card is not None:
        for name, value in asdict(expected).items():
            if getattr(card, name) != value:
                submission.note("A016", "card.json", f"{name} {getattr(card, name)!r}", repr(value))
    environments = environments_of(submission.measured)
    if submission.environments is not None and submission.environments.environments != environments:
        expectation = f"the {len(environments)} of the records"
        submission.note("A016", "environment.json", "other environments", expectation)


def card_of(record: Record) -> Card:
    """The card of the method of a record."""
    method, card = record.measurement.method, record.method
    return Card(
        name=method.name, title=card.title, version=method.version, family=card.family, class_text=method.class_text,
        extra_data=method.extra_data, unverified=card.unverified, paper=card.paper, source=card.source,
    )  # fmt: skip


def environments_of(members: list[Measured]) -> tuple[Environment, ...]:
    """The different environments of records, sorted."""
    environments = {
        canonical_json(encode(measured.record.environment)): measured.record.environment for measured in members
    }
    return tuple(environments[text] for text in sorted(environments))
