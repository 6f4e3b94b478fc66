"""Marks of rows, and reasons why a row is not ranked."""

from __future__ import annotations

from collections.abc import Iterator

from reports.paper import has_published
from reports.row import Mark, Row
from results.measurement import Measurement, keys_of
from results.measurement_names import changes_of
from results.measurement_words import open_reasons, own_recipe, unranked_reasons

_CLASSES_NAMED = 8


def reasons_of(row: Row) -> tuple[str, ...]:
    """Reasons why a row is not ranked: missing videos or weights, unknown values, evaluation videos in training."""
    reasons = {reason for entry in row.entries for reason in unranked_reasons(entry.measurement)}
    if row.train_videos:
        reasons.add(f"{row.train_videos} evaluation videos were trained on")
    groups = {keys_of(entry.measurement).group for entry in row.entries}
    if len(groups) > 1:
        reasons.add(f"its records belong to {len(groups)} different tables")
    return tuple(sorted(reasons))


def marks_of(row: Row) -> tuple[Mark, ...]:
    """The marks of a ranked or unranked row, each once."""
    return tuple(dict.fromkeys((*_of_settings(row), *_of_data(row))))


def _of_settings(row: Row) -> Iterator[Mark]:
    """Marks for settings that differ from those of the protocol or from those that the method declares."""
    for entry in row.entries:
        for change in changes_of(entry.measurement):
            yield Mark(
                f"changed recipe: {change.short}, the method declares {change.value(change.b)}", "changed recipe"
            )
    reasons = dict.fromkeys(reason for entry in row.entries for reason in open_reasons(entry.measurement))
    for reason in reasons:
        of_lists = reason.startswith("own ")
        # A custom dataset has no published lists: own lists are then expected, and no reason for a warning.
        custom = of_lists and bool(row.measurement.evaluation.list.root)
        chip = "custom dataset" if custom else reason if of_lists else "open"
        yield Mark(f"open division: {reason}", chip, warn=not custom)
    variants = {
        listed.label_variant
        for m in (entry.measurement for entry in row.entries)
        for listed in (m.evaluation.list, *([m.fitted.list] if m.fitted else ()))
    }
    for variant in sorted(variants - {"published"}):
        yield Mark(f"{variant} class names", f"{variant} names", warn=False)
    if has_published(row.measurement):
        for fit in (entry.measurement.fitted for entry in row.entries):
            if fit is not None and own_recipe(fit):
                yield Mark(f"not a published recipe: {fit.declared.source}", "own recipe")


def _lacking_fit(m: Measurement) -> Iterator[str]:
    """Reasons why a fit saw less than its training list."""
    if (fitted := m.fitted) is None:
        return
    if fitted.used < fitted.list.n:
        yield f"fitted on {fitted.used} of {fitted.list.n} videos"
    if not fitted.start.complete:
        yield f"the parent fit {fitted.start.name} lacked videos"


def _of_data(row: Row) -> Iterator[Mark]:
    """Marks for seen classes, missing videos, shared videos, remarks of the board and superseded records."""
    if seen := row.seen_classes:
        names = ", ".join(seen[:_CLASSES_NAMED])
        yield Mark(f"{len(seen)} classes were seen in training: {names}", "seen classes")
    if row.missing:
        yield Mark(f"{row.missing} videos were not evaluated or could not be decoded", "missing videos")
    if row.undecodable:
        yield Mark(f"{row.undecodable} videos could not be decoded and count as wrong")
    for text in dict.fromkeys(text for entry in row.entries for text in _lacking_fit(entry.measurement)):
        yield Mark(text, "incomplete fit")
    if row.train_videos:
        yield Mark("evaluation videos were trained on", "trained on test videos")
    for text in sorted({remark for entry in row.entries for remark in entry.record.remarks}):
        yield Mark(text)
    if row.superseded:
        yield Mark(f"superseded: {row.superseded_text}", f"{len(row.superseded)} superseded", warn=False)
