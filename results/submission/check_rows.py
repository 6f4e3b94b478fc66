"""Protocol rules (P) for whole rows: completeness, one fit for each repeat, and scope."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace

from results.measurement import Expected, Training, leaves
from results.measurement_words import recipe_changes, recipe_text
from results.submission.check_copies import check_repeats
from results.submission.facts import Facts, ProtocolFacts
from results.submission.submission import Measured, Submission

OF_ONE_FIT = ("test_split", "class_subset")
"""Kinds of repeats that evaluate one fit on several lists."""
OTHER_LISTS = frozenset(("P003", "P004", "P005", "P010", "P023", "A014"))
"""Rules whose findings explain a wrong scope in more detail."""


def check_rows(submission: Submission, facts: Facts) -> None:
    """Add the findings of the P rules for rows."""
    for members in submission.rows().values():
        m = members[0].m
        known = facts.pairs.get((m.protocol.name, m.evaluation.list.dataset))
        check_repeats(submission, members, facts)
        mixed = _several_fits(submission, members) or _several_recipes(submission, members)
        if known is not None and m.protocol.version == known.version:
            whole = _complete(submission, members, known) and not mixed
            _scope(submission, members, known, whole)


def _complete(submission: Submission, members: list[Measured], known: ProtocolFacts) -> bool:
    """Check that each prescribed evaluation occurs once, and no other (rules P006, P007); returns True if so."""
    where = submission.row_name(members)
    expected = known.expected(members[0].m)
    counts = Counter(measured.place for measured in members)
    missing = [evaluation for evaluation in expected if evaluation not in counts]
    if missing and submission.complete:
        shown = ", ".join(map(_shown, missing[:6]))
        submission.note("P006", where, f"{len(missing)} missing: {shown}", f"{len(expected)} evaluations")
    wrong = {evaluation: count for evaluation, count in counts.items() if evaluation not in expected or count > 1}
    for evaluation, count in sorted(wrong.items(), key=lambda item: _shown(item[0])):
        if evaluation not in expected:
            submission.note("P007", where, _shown(evaluation), "an evaluation that the protocol prescribes")
        else:
            submission.note("P007", where, f"{_shown(evaluation)} {count} times", "once")
    return not missing and not wrong


def _shown(evaluation: Expected) -> str:
    return f"{evaluation.part} {evaluation.repeat.kind} {evaluation.repeat.index}"


def _trainings(members: Iterable[Measured]) -> Iterator[tuple[Measured, Training]]:
    for measured in members:
        if measured.m.fitted is not None:
            yield measured, measured.m.fitted


def _several_fits(submission: Submission, members: list[Measured]) -> bool:
    """Report parts of one training list and repeat that come from several fits (rule P024); returns True if any."""
    fits: dict[str, set[str]] = defaultdict(set)
    for measured, training in _trainings(members):
        repeat = measured.m.protocol.repeat
        listed = "" if repeat.kind in OF_ONE_FIT else f" in repeat {repeat.kind} {repeat.index}"
        fits[f"{training.list.dataset}/{training.list.name}{listed}"].add(measured.keys.fit)
    for listed, fits_of_list in sorted(fits.items()):
        if len(fits_of_list) > 1:
            shown = f"{len(fits_of_list)} fits on {listed}: {', '.join(sorted(fits_of_list))}"
            submission.note("P024", submission.row_name(members), shown, "one fit")
    return any(len(fits_of_list) > 1 for fits_of_list in fits.values())


def _several_recipes(submission: Submission, members: list[Measured]) -> bool:
    """Report columns whose repeats have several recipes, apart from repeated seeds (rule P024); returns True if any."""
    recipes: dict[str, dict[Hashable, Training]] = defaultdict(dict)
    for measured, training in _trainings(members):
        recipe = replace(training.recipe, source="")
        if measured.m.protocol.repeat.kind == "seed":
            # Shifted back to the seed of the first repeat: the seeds of a row must be consecutive, so that nobody can
            # choose the best of many seeds.
            recipe = recipe.of_seed(2 - measured.m.protocol.repeat.index)
        recipes[measured.m.protocol.part].setdefault(tuple(leaves(recipe)), training)
    for part, recipes_of_part in sorted(recipes.items()):
        if len(recipes_of_part) > 1:
            first, *others = recipes_of_part.values()
            changes = [recipe_text(recipe_changes(replace(other, declared=first.recipe))) for other in others]
            where = submission.row_name(members)
            submission.note(
                "P024", where, f"{len(recipes_of_part)} recipes of {part}: also {'; '.join(changes)}", "one recipe"
            )
    return any(len(recipes_of_part) > 1 for recipes_of_part in recipes.values())


def _scope(submission: Submission, members: list[Measured], known: ProtocolFacts, whole: bool) -> None:
    """Check that all records of a row have the scope that the protocol prescribes (rule P026)."""
    where, scopes = submission.row_name(members), {measured.m.protocol.scope for measured in members}
    if len(scopes) > 1:
        submission.note("P026", where, f"{len(scopes)} scopes", "one scope for all records of a row")
        return
    stated = members[0].m.protocol.scope
    prescribed = set(known.expected(members[0].m))
    if set(stated.expected) != prescribed or len(stated.expected) != len(prescribed):
        found = f"{len(stated.expected)} expected evaluations: {', '.join(map(_shown, stated.expected[:6]))}"
        submission.note("P026", where, found, f"the {len(prescribed)} of the protocol")
        return
    if not whole or any(measured.failed & OTHER_LISTS for measured in members):
        return
    scope = known.scope([measured.m for measured in members])
    for name, value in leaves(scope) if scope is not None else ():
        opens = name in ("training_origin", "own_training_lists") and stated.training_origin  # in the open division
        if name != "expected" and getattr(stated, name) != value and not opens:
            submission.note("P026", where, f"scope.{name} {getattr(stated, name) or 'none'}", str(value or "none"))
