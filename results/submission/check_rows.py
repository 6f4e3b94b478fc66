"""Protocol rules (P) on whole rows: completeness, fits that differ, one fit for each repeat, and the scope."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace

from results.measurement import Expected, Training, leaves
from results.measurement_words import recipe_changes, recipe_text
from results.submission.facts import Facts, ProtocolFacts
from results.submission.submission import Measured, Submission

OF_ONE_FIT = ("test_split", "class_subset")
"""Kinds of repeats that are evaluation lists of one fit."""
OTHER_LISTS = frozenset(("P003", "P004", "P005", "P010", "P023", "A014"))
"""Rules that say more exactly why a scope is not the protocol's."""


def check_rows(submission: Submission, facts: Facts) -> None:
    """Add the findings of the P rules on rows."""
    for members in submission.rows().values():
        m = members[0].m
        known = facts.pairs.get((m.protocol.name, m.evaluation.list.dataset))
        _differing_fits(submission, members)
        mixed = _several_fits(submission, members) or _several_recipes(submission, members)
        if known is not None and m.protocol.version == known.version:
            whole = _complete(submission, members, known) and not mixed
            _scope(submission, members, known, whole)


def _complete(submission: Submission, members: list[Measured], known: ProtocolFacts) -> bool:
    """Each of the protocol's evaluations once, and none beside them (rules P006, P007); True if that holds."""
    where = submission.row_name(members)
    expected = known.expected(members[0].m)
    counts = Counter(one.place for one in members)
    missing = [place for place in expected if place not in counts]
    if missing and submission.complete:
        shown = ", ".join(map(_shown, missing[:6]))
        submission.note("P006", where, f"{len(missing)} missing: {shown}", f"{len(expected)} evaluations")
    wrong = {place: count for place, count in counts.items() if place not in expected or count > 1}
    for place, count in sorted(wrong.items(), key=lambda item: _shown(item[0])):
        if place not in expected:
            submission.note("P007", where, _shown(place), "an evaluation of the protocol")
        else:
            submission.note("P007", where, f"{_shown(place)} {count} times", "once")
    return not missing and not wrong


def _shown(place: Expected) -> str:
    return f"{place.part} {place.repeat.kind} {place.repeat.index}"


def _differing_fits(submission: Submission, members: list[Measured]) -> None:
    """Different fits are different: lists and seeds, weights, predictions (rule P008)."""
    fits = {one.keys.fit: one for one in members if one.m.fitted is not None}
    for what, of in (("weights", lambda one: one.weights), ("training list and recipe", _draw)):
        for same in _several(fits.values(), of):
            shown = ", ".join(sorted(one.record.fit.name for one in same if one.record.fit))
            found = f"equal {what} in {len(same)} fits: {shown}"
            submission.note("P008", submission.row_name(members), found, "fits that differ")
            return
    trained = [one for one in members if one.m.fitted is not None and one.table_sha256]
    for same in _several(trained, lambda one: (one.m.protocol.part, one.table_sha256)):
        if (count := len({one.keys.fit for one in same})) > 1:
            found = f"equal predictions of {count} fits on {same[0].m.protocol.part}"
            submission.note("P008", submission.row_name(members), found, "predictions that differ")
            return


def _several(members: Iterable[Measured], of: Callable[[Measured], Hashable]) -> Iterator[list[Measured]]:
    """Records that agree in something, where more than one does."""
    groups: dict[Hashable, list[Measured]] = defaultdict(list)
    for one in members:
        groups[of(one)].append(one)
    yield from (group for group in groups.values() if len(group) > 1)


def _trainings(members: Iterable[Measured]) -> Iterator[tuple[Measured, Training]]:
    for one in members:
        if one.m.fitted is not None:
            yield one, one.m.fitted


def _draw(one: Measured) -> Hashable:
    """The settings of a fit without its name: two fits with equal ones are one fit."""
    training = one.m.fitted
    assert training is not None
    recipe = replace(training.recipe, source="")
    return training.list.dataset, training.list.sha256, training.start.key, tuple(leaves(recipe))


def _several_fits(submission: Submission, members: list[Measured]) -> bool:
    """Note parts of one training list and repeat that come from several fits (rule P024); True if there are any."""
    fits: dict[str, set[str]] = defaultdict(set)
    for one, training in _trainings(members):
        repeat = one.m.protocol.repeat
        place = "" if repeat.kind in OF_ONE_FIT else f" in repeat {repeat.kind} {repeat.index}"
        fits[f"{training.list.dataset}/{training.list.name}{place}"].add(one.keys.fit)
    for place, found in sorted(fits.items()):
        if len(found) > 1:
            shown = f"{len(found)} fits on {place}: {', '.join(sorted(found))}"
            submission.note("P024", submission.row_name(members), shown, "one fit")
    return any(len(found) > 1 for found in fits.values())


def _several_recipes(submission: Submission, members: list[Measured]) -> bool:
    """Note columns whose repeats have several recipes, seeds aside where they are repeated (P024); True if any."""
    recipes: dict[str, dict[Hashable, Training]] = defaultdict(dict)
    for one, training in _trainings(members):
        recipe = replace(training.recipe, source="")
        if one.m.protocol.repeat.kind == "seed":
            recipe = replace(recipe, seed=0)
        recipes[one.m.protocol.part].setdefault(tuple(leaves(recipe)), training)
    for part, found in sorted(recipes.items()):
        if len(found) > 1:
            first, *others = found.values()
            changes = [recipe_text(recipe_changes(replace(other, declared=first.recipe))) for other in others]
            where = submission.row_name(members)
            submission.note("P024", where, f"{len(found)} recipes of {part}: also {'; '.join(changes)}", "one recipe")
    return any(len(found) > 1 for found in recipes.values())


def _scope(submission: Submission, members: list[Measured], known: ProtocolFacts, whole: bool) -> None:
    """One scope for all records of a row, and the one that the protocol prescribes (rule P026)."""
    where, scopes = submission.row_name(members), {one.m.protocol.scope for one in members}
    if len(scopes) > 1:
        submission.note("P026", where, f"{len(scopes)} scopes", "one scope for all records of a row")
        return
    stated = members[0].m.protocol.scope
    prescribed = set(known.expected(members[0].m))
    if set(stated.expected) != prescribed or len(stated.expected) != len(prescribed):
        found = f"{len(stated.expected)} expected evaluations: {', '.join(map(_shown, stated.expected[:6]))}"
        submission.note("P026", where, found, f"the {len(prescribed)} of the protocol")
        return
    if not whole or any(one.failed & OTHER_LISTS for one in members):
        return
    scope = known.scope([one.m for one in members])
    for name, value in leaves(scope) if scope is not None else ():
        opens = name in ("training_origin", "own_training_lists") and stated.training_origin  # in the open division
        if name != "expected" and getattr(stated, name) != value and not opens:
            submission.note("P026", where, f"scope.{name} {getattr(stated, name) or 'none'}", str(value or "none"))
