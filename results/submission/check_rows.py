"""Protocol rules (P) for whole rows: completeness, different fits, one fit for each repeat, and scope."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace

from results.measurement import Expected, Training, leaves
from results.measurement_words import recipe_changes, recipe_text
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
        _differing_fits(submission, members)
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


def _differing_fits(submission: Submission, members: list[Measured]) -> None:
    """Check that fits differ in list or seed, in weights and in predictions (rule P008)."""
    fits = {measured.keys.fit: measured for measured in members if measured.m.fitted is not None}
    for subject, key in (("weights", lambda measured: measured.weights), ("training list and recipe", _draw)):
        for same in _several(fits.values(), key):
            shown = ", ".join(sorted(measured.record.fit.name for measured in same if measured.record.fit))
            found = f"equal {subject} in {len(same)} fits: {shown}"
            submission.note("P008", submission.row_name(members), found, "fits that differ")
            return
    trained = [measured for measured in members if measured.m.fitted is not None and measured.table_sha256]
    for same in _several(trained, lambda measured: (measured.m.protocol.part, measured.table_sha256)):
        if (count := len({measured.keys.fit for measured in same})) > 1:
            found = f"equal predictions of {count} fits on {same[0].m.protocol.part}"
            submission.note("P008", submission.row_name(members), found, "predictions that differ")
            return


def _several(members: Iterable[Measured], key: Callable[[Measured], Hashable]) -> Iterator[list[Measured]]:
    """Groups of at least two records with the same key."""
    groups: dict[Hashable, list[Measured]] = defaultdict(list)
    for measured in members:
        groups[key(measured)].append(measured)
    yield from (group for group in groups.values() if len(group) > 1)


def _trainings(members: Iterable[Measured]) -> Iterator[tuple[Measured, Training]]:
    for measured in members:
        if measured.m.fitted is not None:
            yield measured, measured.m.fitted


def _draw(measured: Measured) -> Hashable:
    """The settings that distinguish two fits of one row."""
    training = measured.m.fitted
    assert training is not None
    # The source of a recipe is a note and changes no fit.
    recipe = replace(training.recipe, source="")
    return training.list.dataset, training.list.sha256, training.start.key, tuple(leaves(recipe))


def _several_fits(submission: Submission, members: list[Measured]) -> bool:
    """Report parts of one training list and repeat that come from several fits (rule P024); returns True if any."""
    fits: dict[str, set[str]] = defaultdict(set)
    for measured, training in _trainings(members):
        repeat = measured.m.protocol.repeat
        listed = "" if repeat.kind in OF_ONE_FIT else f" in repeat {repeat.kind} {repeat.index}"
        fits[f"{training.list.dataset}/{training.list.name}{listed}"].add(measured.keys.fit)
    for listed, found in sorted(fits.items()):
        if len(found) > 1:
            shown = f"{len(found)} fits on {listed}: {', '.join(sorted(found))}"
            submission.note("P024", submission.row_name(members), shown, "one fit")
    return any(len(found) > 1 for found in fits.values())


def _several_recipes(submission: Submission, members: list[Measured]) -> bool:
    """Report columns whose repeats have several recipes, apart from repeated seeds (rule P024); returns True if any."""
    recipes: dict[str, dict[Hashable, Training]] = defaultdict(dict)
    for measured, training in _trainings(members):
        recipe = replace(training.recipe, source="")
        if measured.m.protocol.repeat.kind == "seed":
            # Repeats of kind `seed` differ in their seed on purpose.
            recipe = replace(recipe, seed=0)
        recipes[measured.m.protocol.part].setdefault(tuple(leaves(recipe)), training)
    for part, found in sorted(recipes.items()):
        if len(found) > 1:
            first, *others = found.values()
            changes = [recipe_text(recipe_changes(replace(other, declared=first.recipe))) for other in others]
            where = submission.row_name(members)
            submission.note("P024", where, f"{len(found)} recipes of {part}: also {'; '.join(changes)}", "one recipe")
    return any(len(found) > 1 for found in recipes.values())


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
    # An incomplete row has no scope to compare, and wrong lists are named by their own rules already.
    if not whole or any(measured.failed & OTHER_LISTS for measured in members):
        return
    scope = known.scope([measured.m for measured in members])
    for name, value in leaves(scope) if scope is not None else ():
        opens = name in ("training_origin", "own_training_lists") and stated.training_origin  # in the open division
        if name != "expected" and getattr(stated, name) != value and not opens:
            submission.note("P026", where, f"scope.{name} {getattr(stated, name) or 'none'}", str(value or "none"))
