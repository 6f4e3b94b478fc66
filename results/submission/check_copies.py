"""Rules on copies: repeats of one row (P008), and predictions of other rows (W004)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from results.measurement import Training, leaves
from results.submission.copies import SMALLEST_DISTANCE, Sketch, nearest
from results.submission.facts import Facts
from results.submission.submission import Measured, Submission

EXPECTED = f"at least {SMALLEST_DISTANCE:g}, as between independent fits"


def check_copies(submission: Submission, facts: Facts) -> None:
    """Add the findings of W004; records with findings of A rules are skipped."""
    sound = [m for m in submission.measured if m.frame is not None and not any(r.startswith("A") for r in m.failed)]
    # By identity: `Measured` is mutable and therefore has no hash.
    sketches = {id(measured): measured.sketch for measured in sound if measured.sketch is not None}
    rows = {key: [m for m in members if id(m) in sketches] for key, members in submission.rows().items()}
    _other_rows(submission, rows, sketches)
    _other_submissions(submission, sound, sketches, facts)


def check_repeats(submission: Submission, members: Sequence[Measured], facts: Facts) -> None:
    """Check that the fits of a row differ in list or seed, in weights and in predictions (rule P008)."""
    fits: dict[str, Measured] = {}
    for measured in members:
        if measured.m.fitted is not None:
            fits.setdefault(measured.keys.fit, measured)
    where, independent = submission.row_name(list(members)), set[str]()
    closed = {key: _closed_form(submission, measured, facts) for key, measured in fits.items()}
    for same in _grouped(fits.values(), lambda measured: _start(measured, closed[measured.keys.fit])):
        names = {_training(measured).list.name for measured in same}
        # Equal lists of different names, which P005 compares with the lists of the protocol, and a closed form with
        # several seeds give equal fits; they count as one here.
        if len(names) == len(same) or closed[same[0].keys.fit]:
            independent.add(same[0].keys.fit)
        else:
            submission.note("P008", where, f"equal training list and recipe in {_names(same)}", "fits that differ")
            return
    for same in _grouped([fits[key] for key in sorted(independent)], lambda measured: measured.weights):
        if len(same) > 1:
            submission.note("P008", where, f"equal weights in {_names(same)}", "fits that differ")
            return
    found = _near_repeats([m for m in members if m.keys.fit in independent and m.frame is not None], closed)
    if found:
        submission.note("P008", where, found, EXPECTED)


def _near_repeats(members: Sequence[Measured], closed: Mapping[str, bool]) -> str:
    """The first two fits whose predictions on a list are equal or too near, in words; empty if there are none."""
    for part, same in _by_part(members).items():
        for apart, i, j in nearest([m.sketch for m in same if m.sketch is not None]):
            keys = same[i].keys.fit, same[j].keys.fit
            # Closed forms on similar lists can be near to each other, but not equal.
            if keys[0] != keys[1] and not (apart and closed[keys[0]]):
                return f"predictions of {_names([same[i], same[j]])} on {part} at a distance of {apart:.4f}"
    return ""


def _by_part(members: Iterable[Measured]) -> dict[str, list[Measured]]:
    parts: dict[str, list[Measured]] = defaultdict(list)
    for measured in members:
        parts[measured.m.protocol.part].append(measured)
    return dict(sorted(parts.items()))


def _grouped(members: Iterable[Measured], key: Callable[[Measured], Hashable]) -> list[list[Measured]]:
    groups: dict[Hashable, list[Measured]] = defaultdict(list)
    for measured in members:
        groups[key(measured)].append(measured)
    return list(groups.values())


def _names(members: Sequence[Measured]) -> str:
    shown = sorted(measured.record.fit.name for measured in members if measured.record.fit)
    return f"{len(members)} fits: {', '.join(shown)}"


def _training(measured: Measured) -> Training:
    assert measured.m.fitted is not None  # callers keep only trained records
    return measured.m.fitted


def _start(measured: Measured, closed_form: bool) -> Hashable:
    """The settings that distinguish two fits of one row; a closed form makes no random draws."""
    training = _training(measured)
    recipe = replace(training.recipe, source="", seed=0 if closed_form else training.recipe.seed)
    return training.list.dataset, training.list.sha256, training.start.key, tuple(leaves(recipe))


def _closed_form(submission: Submission, measured: Measured, facts: Facts) -> bool:
    """Whether a fit is a closed form, whose result depends on the training list alone.

    The fit of a method that is not built in is taken for a closed form if it had one update and no loss.
    """
    program, fit = facts.builtin.get(measured.m.method.name), submission.fits.get(measured.keys.fit)
    if program is not None:
        return program.closed_form
    return fit is not None and fit.outcome.updates == 1 and fit.outcome.final_loss is None


def _other_rows(submission: Submission, rows: dict[str, list[Measured]], sketches: dict[int, Sketch]) -> None:
    """Predictions equal or near to those of another row of the submission (W004)."""
    keys = sorted(key for key, members in rows.items() if members)
    for number, key in enumerate(keys):
        earlier = [measured for other in keys[:number] for measured in rows[other]]
        for apart, i, j in nearest([sketches[id(m)] for m in rows[key]], [sketches[id(m)] for m in earlier]):
            name = submission.row_name([earlier[j]])
            submission.note("W004", rows[key][i].name, _near(apart, name), "predictions of this row")


def _other_submissions(
    submission: Submission, sound: Sequence[Measured], sketches: dict[int, Sketch], facts: Facts
) -> None:
    """Predictions equal or near to those of another method or version on the board (W004)."""
    for measured in sound:
        equal = facts.known.owner(measured.table_sha256)
        found = f"the predictions of {equal}" if equal not in ("", submission.name) else ""
        if not found:
            found = next(_near_others(submission, measured, sketches[id(measured)], facts), "")
        if found:
            submission.note("W004", measured.name, found, "predictions of this row")


def _near_others(submission: Submission, measured: Measured, sketch: Sketch, facts: Facts) -> Iterator[str]:
    others = [(owner, known) for owner, known in facts.known.of_list(measured.table) if owner != submission.name]
    for apart, _, j in nearest([sketch], [known for _, known in others]):
        yield _near(apart, others[j][0])


def _near(apart: float, name: str) -> str:
    return f"the predictions of {name}" if apart == 0 else f"predictions at a distance of {apart:.4f} from {name}"
