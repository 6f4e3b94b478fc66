"""Reasons why a row is not ranked, and remarks beside a row."""

from __future__ import annotations

from collections.abc import Iterator

from reports.paper import has_published
from reports.row import Mark, Row
from results.measurement import keys_of
from results.measurement_names import changes_of
from results.measurement_words import open_reasons, own_recipe, unranked_reasons

_CLASSES_NAMED = 8


def reasons_of(row: Row) -> tuple[str, ...]:
    """Reasons why a row is not ranked: videos or weights are missing, unknown values, training on test videos."""
    reasons = {reason for entry in row.entries for reason in unranked_reasons(entry.measurement)}
    if row.train_videos:
        reasons.add(f"{row.train_videos} evaluation videos were trained on")
    groups = {keys_of(entry.measurement).group for entry in row.entries}
    if len(groups) > 1:
        reasons.add(f"its records belong to {len(groups)} different tables")
    return tuple(sorted(reasons))


def marks_of(row: Row) -> tuple[Mark, ...]:
    """Remarks beside a row, whether or not it is ranked; each once."""
    return tuple(dict.fromkeys((*_of_settings(row), *_of_data(row))))


def _of_settings(row: Row) -> Iterator[Mark]:
    """Settings that are not the protocol's or not those that the method declares."""
    for entry in row.entries:
        for change in changes_of(entry.measurement):
            yield Mark(
                f"changed recipe: {change.short}, the method declares {change.value(change.b)}", "changed recipe"
            )
    reasons = dict.fromkeys(reason for entry in row.entries for reason in open_reasons(entry.measurement))
    for reason in reasons:
        own_dataset = reason.startswith("own ") and row.measurement.evaluation.list.root
        chip = "own dataset" if own_dataset else reason if reason.startswith("own ") else "open"
        yield Mark(f"open division: {reason}", chip, warn=not own_dataset)
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


def _of_data(row: Row) -> Iterator[Mark]:
    """Videos, classes and records that a reader should know of."""
    if seen := row.seen_classes:
        named = ", ".join(seen[:_CLASSES_NAMED])
        yield Mark(f"{len(seen)} classes were seen in training: {named}", "seen classes")
    if row.missing:
        yield Mark(f"{row.missing} videos were not evaluated or could not be decoded", "missing videos")
    if row.undecodable:
        yield Mark(f"{row.undecodable} videos could not be decoded and count as wrong")
    if row.train_videos:
        yield Mark("evaluation videos were trained on", "trained on test videos")
    for text in sorted({remark for entry in row.entries for remark in entry.record.remarks}):
        yield Mark(text)
    if row.superseded:
        yield Mark(f"superseded: {row.superseded_text}", f"{len(row.superseded)} superseded", warn=False)
