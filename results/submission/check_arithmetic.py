"""Arithmetic rules (A): every number of a submission recomputed from its predictions and compared."""

from __future__ import annotations

import math
from typing import Any

from harness.base.canonical import canonical_json, fingerprint
from results.record import Record
from results.submission.check_records import RECORD_RULES, TOLERANCE, UNREADABLE, differences
from results.submission.layout import SCHEMA
from results.submission.scores import scores_of
from results.submission.submission import Measured, Submission, parent_of


def check_arithmetic(submission: Submission) -> None:
    """Add the findings of all A rules."""
    for one in submission.measured:
        for rule, needs, check in RECORD_RULES:
            if not needs & one.failed:
                for found, expected in check(one, submission):
                    one.failed.add(rule)
                    submission.note(rule, one.name, found, expected)
    _fits(submission)
    _scores(submission)
    _summaries(submission)


def _fits(submission: Submission) -> None:
    """Fits, and records that rest on them (rule A015)."""
    for key, fit in sorted(submission.fits.items()):
        name, identity, recipe = f"fits/{key}.json", fit["identity"], fit["recipe"]
        pairs: list[tuple[str, Any, Any]] = [
            ("key", key, fingerprint(identity, 16)),
            ("identity.recipe", identity.get("recipe"), {k: v for k, v in recipe.items() if k != "source"}),
            ("identity.train", identity.get("train"), {k: v for k, v in fit["train"].items() if k != "n_used"}),
        ]
        if key in submission.weights:
            stored = submission.hashes.get(f"weights/{key}.safetensors", fit["weights"]["sha256"])
            pairs.append(("weights.sha256", fit["weights"]["sha256"], stored))
        _compare(submission, name, pairs)
    for one in submission.measured:
        found = submission.fits.get(one.record.fit["key"]) if one.record.fit else None
        if found is not None and one.record.fit is not None:
            _compare(submission, one.name, _fit_pairs(one.record, one.record.fit, found))


def _fit_pairs(record: Record, stated: dict[str, Any], fit: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """What a record says of its fit, and what the fit says."""
    recipe, method = fit["recipe"], fit["identity"].get("method")
    batch = [recipe.get(name) for name in ("micro_batch", "ranks", "accumulate")]
    init = "clip" if not parent_of(fit) else "fit"
    return [
        ("fit.name", stated["name"], fit["name"]),
        ("fit.recipe", stated["recipe"], recipe),
        ("fit.seed", stated["seed"], recipe.get("seed")),
        ("fit.selection", stated["selection"], recipe.get("selection")),
        ("fit.effective_batch", stated["effective_batch"],
         math.prod(batch) if all(isinstance(n, int) for n in batch) else None),
        ("fit.updates", stated["updates"], fit["outcome"].get("updates")),
        ("fit.train", {k: v for k, v in stated["train"].items() if k != "labels"},
         {k: v for k, v in fit["train"].items() if k != "labels"}),
        ("fit.weights_sha256", stated["weights_sha256"], fit["weights"]["sha256"]),
        ("fit.init", "clip" if stated["init"] in ("clip", "checkpoint") else stated["init"].split(" ")[0], init),
        ("identity.method", record.identity.get("method"), method),
        ("method.params_total", record.method["params_total"], fit["parameters"]["total"]),
        ("method.params_trained", record.method["params_trained"], fit["parameters"]["trained"]),
    ]  # fmt: skip


def _compare(submission: Submission, where: str, pairs: list[tuple[str, Any, Any]]) -> None:
    for place, found, expected in pairs:
        for a, b in differences(found, expected, place):
            submission.note("A015", where, a, b)


def _scores(submission: Submission) -> None:
    """Means, spreads, intervals and harmonic means (rule A009); records that fail already are not reported twice."""
    stated = submission.manifest.get("scores")
    refuted = any(one.failed & {*UNREADABLE, "A007"} for one in submission.measured)
    if stated is None or refuted or not submission.complete:
        return
    expected = {(s["row"], s["column"]): s for s in scores_of(submission)}
    listed = {(s["row"], s["column"]): s for s in stated}
    for place in sorted(set(expected) | set(listed)):
        found, wanted = listed.get(place), expected.get(place)
        if found is None or wanted is None:
            some = "no score" if found is None else f"a score {found['mean']}"
            submission.note("A009", "submission.json scores", f"{some} for {' '.join(place)}", "the records' rows")
            continue
        for name in wanted:
            a, b = found[name], wanted[name]
            numbers = all(isinstance(x, (int, float)) for x in (a, b))
            if a != b and not (numbers and math.isclose(a, b, rel_tol=0.0, abs_tol=TOLERANCE)):
                submission.note("A009", f"submission.json scores {' '.join(place)}", f"{name} {a}", b)
    if len(stated) != len(listed):
        submission.note("A009", "submission.json scores", "a score given twice", "each once")


def _summaries(submission: Submission) -> None:
    """Card and environment (rule A016)."""
    if not submission.measured:
        return
    for name, value in card_of(submission.measured[0].record).items():
        if submission.card and submission.card[name] != value:
            submission.note("A016", "card.json", f"{name} {submission.card[name]!r}", repr(value))
    expected = environments_of(submission.measured)
    if submission.environments and submission.environments["environments"] != expected:
        submission.note("A016", "environment.json", "other environments", f"the {len(expected)} of the records")


def card_of(record: Record) -> dict[str, Any]:
    """The card of a record's method."""
    names = ("name", "title", "version", "family", "class_text", "extra_data", "unverified", "paper", "source")
    return {"schema": SCHEMA, **{name: record.method[name] for name in names}}


def environments_of(measured: list[Measured]) -> list[dict[str, Any]]:
    """The different environments of records, sorted."""
    found = {canonical_json(one.record.environment): one.record.environment for one in measured}
    return [found[text] for text in sorted(found)]
