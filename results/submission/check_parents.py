"""Rules on the fits that an evaluated fit starts from."""

from __future__ import annotations

from collections.abc import Iterator

from results.fit_file import FitFile
from results.submission.facts import Facts
from results.submission.submission import Measured, Submission, parent_of


def parent_fits(submission: Submission, measured: Measured) -> Iterator[FitFile]:
    """The parent fit of the evaluated fit, its parent fit, and so on."""
    # `seen` ends a circle of fits, which a forged submission can contain.
    key, seen = measured.keys.fit, set[str]()
    while (fit := submission.fits.get(key)) is not None and key not in seen:
        seen.add(key)
        if key != measured.keys.fit:
            yield fit
        key = parent_of(fit)


def check_parents(submission: Submission, measured: Measured, facts: Facts) -> None:
    """Check code and declared recipe of the parent fits of built-in methods (rules P025, P034).

    A parent fit has no record, whose method and declared recipe other rules check.
    """
    for fit in parent_fits(submission, measured):
        method = fit.described.method
        program = facts.builtin.get(method.name)
        if program is None:
            continue  # the code of another method is compared in the review
        if (method.version, method.code) != (program.version, program.code):
            found = f"parent fit {fit.name} of {method.name} version {method.version}, code {method.code}"
            submission.note_of(measured, "P034", found, f"version {program.version}, code {program.code}")
        elif fit.described.training.declared not in facts.recipes(fit.described):
            training = fit.described.training
            declared = f"{training.declared.source!r}, lr {training.declared.lr}"
            found = f"declared recipe of the parent fit {fit.name}: {declared}"
            expected = f"a recipe that {method.name} declares for {training.list.dataset}"
            submission.note_of(measured, "P025", found, expected)
