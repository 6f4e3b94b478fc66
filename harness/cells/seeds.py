"""Repeats of kind `seed`: `--seeds N` fits each training list of a protocol N times, from fixed seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.base.errors import NotApplicableError, UserError
from harness.cells.request import Request
from harness.spec import Eval, Fit, Repeat
from harness.spec.protocol import SEED, SINGLE

FitWithEvals = tuple[Fit, tuple[Eval, ...]]


def check_seeds(request: Request) -> None:
    """Check the number of seeds of a request.

    Raises:
        UserError: The number is 1 or negative, or the request also sets the seed of the recipe.
    """
    if request.seeds == 0:
        return
    if request.seeds < 2:
        raise UserError(
            f"--seeds is {request.seeds}, expected 2 or more.", "Leave --seeds out for one fit of each training list."
        )
    if "seed" in request.recipe:
        raise UserError(
            f"--recipe seed={request.recipe['seed']} is given together with --seeds {request.seeds}, which sets the "
            "seed of each fit.",
            "Leave one of them out. A row with another seed is measured by --recipe seed=N alone.",
        )


def with_seeds(fits: Sequence[FitWithEvals], seeds: int, name: str) -> list[FitWithEvals]:
    """Each fit `seeds` times, as repeats of kind `seed`; the recipe of repeat i is `Recipe.of_seed(i)`.

    Args:
        fits: Fits of a protocol on a dataset, with their evals.
        seeds: Number of seeds; 0 for the repeats of the protocol.
        name: Protocol and dataset, for the message.

    Raises:
        NotApplicableError: The protocol has repeats already. A repeat has one kind and one index, and a mean over
            seeds within training subsets or test splits would count repeats of one fit as several fits.
    """
    if not seeds:
        return list(fits)
    # Optional evals are in no column: the source of a zero-shot fit is not a further repeat of its test splits.
    repeats = {item.repeat or fit.repeat for fit, evals in fits for item in evals if not item.optional}
    if kinds := sorted({repeat.kind for repeat in repeats} - {SINGLE}):
        number = "1 repeat" if len(repeats) == 1 else f"{len(repeats)} repeats"
        raise NotApplicableError(
            f"--seeds {seeds} does not apply to {name}, which already has {number} of kind "
            f"{' and '.join(kinds)}; expected a protocol without repeats of its own.",
            "Leave --seeds out for this protocol; its repeats are averaged and compared in the same way as seeds. "
            "A row with another seed is measured by --recipe seed=N alone.",
        )
    return [
        (replace(fit, repeat=Repeat(SEED, index)), tuple(replace(item, repeat=None) for item in evals))
        for index in range(1, seeds + 1)
        for fit, evals in fits
    ]
