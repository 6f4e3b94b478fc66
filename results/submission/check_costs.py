"""Rules A017 and A018: numbers of parameters, updates and costs, and precisions and dates, of records and fits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from harness.base.errors import UserError
from harness.spec.updates import plan_updates
from results.fit_file import FitFile
from results.measurement import ModelId
from results.record import CostFacts, Record
from results.submission.check_records import Disagreement
from results.submission.facts import Facts
from results.submission.submission import Submission

PRECISIONS = ("fp32", "bf16", "fp16")
"""Precisions of a forward pass, from the finest to the coarsest."""
BUFFERS = (0.01, 1000)
"""Share and number of elements of a weight file that can be buffers, such as running means; all others are trained.

Larger buffers of a built-in method are declared by its specification (`MethodSpec.fitted_buffers`).
"""
FRAME_COSTS = (0.02, 50.0)
"""Bounds of the multiply-adds of a view, as multiples of those of the vision tower for its frames."""
LARGEST_GMACS = 1e6
"""Largest 10^9 multiply-adds of one view or of its scores; 64 frames of a ViT-bigG need 32,000."""
LONGEST = 3e8
"""Longest time of a fit or an eval in seconds: ten years."""
LARGEST_GIB = 1024.0
"""Largest peak memory of one device in GiB."""
ROUNDING = 0.02
"""Relative tolerance of rounded times and rates."""
CLOCKS = timedelta(days=1)
"""Largest difference between the clocks of two machines."""
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
"""No record is older: the first version of the harness is from 2026."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+00:00")


def check_costs(submission: Submission, facts: Facts) -> None:
    """Add the findings of A017 and A018."""
    for key, fit in sorted(submission.fits.items()):
        program = facts.builtin.get(fit.described.method.name)
        elements = _elements(submission.elements.get(key), program.buffers if program else ())
        for found, expected in (*_parameters(fit, elements), *_outcome(fit)):
            submission.note("A017", f"fits/{key}.json", found, expected)
        for found, expected in (
            *date_problems(fit.created, facts.now),
            *_precision("training.precision", fit.described.training.precision, fit.environment.dtype),
        ):
            submission.note("A018", f"fits/{key}.json", found, expected)
    for measured in submission.measured:
        record, m = measured.record, measured.m
        for found, expected in record_costs(record, facts.frame_gmacs(m.model)):
            submission.note_of(measured, "A017", found, expected)
        fit_of_record = submission.fits.get(measured.keys.fit)
        for found, expected in (
            *date_problems(record.created, facts.now, fit_of_record.created if fit_of_record else ""),
            *_precision("evaluation.precision", m.evaluation.precision, record.environment.dtype),
        ):
            submission.note_of(measured, "A018", found, expected)


def _elements(tensors: Mapping[str, int] | None, buffers: tuple[str, ...]) -> int | None:
    """Number of floating-point values of a weight file without the declared buffers; None without a file."""
    return None if tensors is None else sum(n for name, n in tensors.items() if name not in buffers)


def _parameters(fit: FitFile, elements: int | None) -> Iterator[Disagreement]:
    """Numbers of parameters that contradict each other or the attached weights.

    Args:
        fit: The fit.
        elements: Floating-point values in the weight file that can be trained; None if it is not attached.
    """
    total, trained = fit.parameters.total, fit.parameters.trained
    if trained > total:
        yield f"{trained} trained parameters of {total}", "at most all parameters"
    if elements is None:
        return
    share, number = BUFFERS
    if not trained <= elements <= trained + max(number, share * trained):
        yield f"{trained} trained parameters", f"about {elements}, the numbers in the weights"


def _outcome(fit: FitFile) -> Iterator[Disagreement]:
    """Updates that do not follow from list and recipe, and impossible times, losses and memory."""
    outcome, training = fit.outcome, fit.described.training
    try:
        plan = plan_updates(training.list.n, training.recipe)
    except UserError as error:
        yield f"a recipe for a longer list: {error.message}", "at least one update per epoch"
        return
    # A closed form computes its weights in one step over the whole list and has no loss.
    closed_form = (outcome.updates, outcome.updates_per_epoch, outcome.unused_per_epoch) == (1, 1, 0)
    updates = plan.updates * training.recipe.epochs
    expected = (updates, plan.updates, plan.unused)
    found = (outcome.updates, outcome.updates_per_epoch, outcome.unused_per_epoch)
    if found != expected and not (closed_form and outcome.final_loss is None):
        yield "{} updates, {} per epoch, {} unused clips".format(*found), "{}, {} and {}".format(*expected)
    if not 0 <= outcome.resumed_at <= training.recipe.epochs:
        yield f"resumed at epoch {outcome.resumed_at}", f"0 to {training.recipe.epochs}"
    if not 0 <= outcome.skipped_updates <= outcome.updates:
        yield f"{outcome.skipped_updates} skipped updates", f"0 to {outcome.updates}"
    if outcome.replaced != sorted(set(outcome.replaced) & set(range(training.list.n))):
        yield f"replaced rows {outcome.replaced[:5]}", f"different rows from 0 to {training.list.n - 1}, sorted"
    if outcome.final_loss is not None and not abs(outcome.final_loss) < 1e6:
        yield f"a final loss of {outcome.final_loss}", "a loss in nats"
    if not 0 <= outcome.seconds <= LONGEST:
        yield f"{outcome.seconds} s of the fit", f"0 to {LONGEST:g} s"
    if not 0 <= outcome.peak_memory_gib <= LARGEST_GIB:
        yield f"{outcome.peak_memory_gib} GiB of memory", f"0 to {LARGEST_GIB:g} GiB"


def record_costs(record: Record, frame_gmacs: float | None) -> Iterator[Disagreement]:
    """Impossible numbers of parameters and costs of a record.

    Args:
        record: The record.
        frame_gmacs: 10^9 multiply-adds of the vision tower for one frame; None if they are not known.
    """
    cost, evaluation, card = record.cost, record.measurement.evaluation, record.method
    if card.params_trained > card.params_total or card.params_total < 1:
        yield f"{card.params_trained} trained of {card.params_total} parameters", "at least 1, and at most all trained"
    yield from _gmacs(cost, record.measurement.model, evaluation.views.frames, frame_gmacs)
    if not 0 <= cost.eval_seconds <= LONGEST:
        yield f"{cost.eval_seconds} s of the eval", f"0 to {LONGEST:g} s"
    # Of an eval that was resumed, only the videos of the last session are counted.
    videos, slack = cost.videos_per_second * cost.eval_seconds, 1.0 + ROUNDING * evaluation.evaluated
    # Both numbers have three decimals: for a very short eval their product is uncertain.
    slack += 0.0005 * (cost.videos_per_second + cost.eval_seconds)
    if not videos <= evaluation.evaluated + slack or (cost.videos_per_second > 0 and not cost.eval_seconds):
        found = f"{cost.videos_per_second:g} videos per second for {cost.eval_seconds:g} s"
        yield found, f"at most {evaluation.evaluated} videos"


def _gmacs(cost: CostFacts, model: ModelId, frames: int, frame_gmacs: float | None) -> Iterator[Disagreement]:
    for name, value in (("gflops", cost.gflops), ("score_gflops", cost.score_gflops)):
        if value is not None and not 0 < value <= LARGEST_GMACS:
            yield f"{name} {value:g}", f"above 0, at most {LARGEST_GMACS:g}"
    if (cost.gflops is None) != (cost.score_gflops is None):
        yield f"gflops {cost.gflops} and score_gflops {cost.score_gflops}", "both or neither"
    if cost.gflops is not None and frame_gmacs is not None:
        low, high = (factor * frames * frame_gmacs for factor in FRAME_COSTS)
        if not low <= cost.gflops <= high:
            yield f"gflops {cost.gflops:g}", f"{low:g} to {high:g} for {frames} frames of {model.arch}"


def date_problems(created: str, now: datetime | None, fitted: str = "") -> Iterator[Disagreement]:
    """Problems of a time as `run` writes it.

    Args:
        created: The stated time.
        now: The time of the check; None does not compare.
        fitted: Stated time of the fit of a record; empty without one.
    """
    time = _time(created)
    if time is None:
        yield f"created {created[:40]!r}", "a UTC time such as 2026-01-31T12:00:00+00:00"
        return
    if time < FIRST or (now is not None and time > now + CLOCKS):
        yield f"created {created}", f"a time from {FIRST:%Y-%m-%d} to now"
    earlier = _time(fitted)
    if earlier is not None and time < earlier - CLOCKS:
        yield f"created {created}", f"a time after the fit, {fitted}"


def _time(text: str) -> datetime | None:
    if not _DATE.fullmatch(text) or not text.isascii():  # `\d` also matches the digits of other scripts
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # the 31st of February
        return None


def _precision(field: str, precision: str, dtype: str) -> Iterator[Disagreement]:
    if precision not in PRECISIONS:
        yield f"{field} {precision!r}", f"one of {', '.join(PRECISIONS)}"
    elif precision != dtype:
        yield f"{field} {precision}", f"{dtype}, as the environment states"
