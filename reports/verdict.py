"""Verdicts on published numbers: inside our interval, outside, not measured, or measured differently."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.spec import Views
from reports.layout import PAPER_TABLES
from reports.paper import NAMES_TEXT, REWRITTEN_TEXT, class_text_of, layout_of
from reports.row import Cell, Row
from results.measurement import UNKNOWN, Measurement, ModelId, Value
from results.measurement_words import (
    model_text,
    open_reasons,
    own_recipe,
    plain,
    recipe_changes,
    recipe_text,
    start_text,
)
from results.published_numbers import PublishedNumber, Setting

INSIDE, OUTSIDE, NOT_MEASURED, DIFFERENT = "inside", "outside", "not measured", "measured differently"
_FULL_PRECISION = ("", UNKNOWN, "fp32", "float32")


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison with a published number.

    Args:
        kind: `inside` (the published value lies in our 95 % interval, widened by its rounding), `outside`,
            `not measured` or `measured differently`.
        delta: Our value minus the published value in percent points; None if we have no value.
        why: The settings that differ.
    """

    kind: str
    delta: float | None = None
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} ({'; '.join(self.why)})" if self.why else self.kind


def verdict(number: PublishedNumber, cell: Cell | None, row: Row | None) -> Verdict:
    """The verdict on one cell.

    A setting that the source states is compared with the source. Any other setting is compared with the protocol's
    prescription and the method's declaration.
    """
    if cell is None or row is None:
        return Verdict(NOT_MEASURED)
    delta = cell.mean - number.number
    why = differences(number, cell, row)
    if why:
        return Verdict(DIFFERENT, delta, why)
    # A value printed as 51.3 may have been any value from 51.25 to 51.35.
    digits = len(number.value.partition(".")[2])
    return Verdict(INSIDE if cell.interval.holds(number.number, 0.5 * 10.0**-digits) else OUTSIDE, delta)


def differences(number: PublishedNumber, cell: Cell, row: Row) -> tuple[str, ...]:
    """How our measurement differs from the published measurement; each reason once."""
    reasons: list[str] = []
    for entry in row.entries:
        reasons += _of_settings(number, entry.measurement)
    if cell.lacks:
        reasons.append(cell.lacks)
    n = number.setting.n
    if n and row.measurement.fitted is not None and cell.n != n and not cell.lacks:
        reasons.append(f"{cell.n} of {n} repeats")
    return tuple(dict.fromkeys((*reasons, *row.reasons)))


def _of_settings(number: PublishedNumber, m: Measurement) -> Iterator[str]:
    setting = number.setting
    if _adapts_clip(number) and not _is_papers_backbone(m.model):
        yield f"backbone {model_text(m.model)}, paper {PAPER_TABLES.backbone.title}"
    yield from _of_views(setting, m)
    for listed in (m.evaluation.list, *([m.fitted.list] if m.fitted else ())):
        if listed.label_variant != "published":
            yield f"{listed.label_variant} class names"
    rewritten = class_text_of(setting) == REWRITTEN_TEXT
    if (m.method.class_text == REWRITTEN_TEXT) != rewritten:
        yield f"class text {m.method.class_text}, paper {setting.text or 'class names'}"
    yield from open_reasons(_apart_from(number, m))
    if m.fitted and (m.fitted.start.kind == "clip") is layout_of(number).starts_from_fit:
        yield f"starts from {start_text(m)}, paper {setting.init or 'CLIP'}"
    if changes := recipe_changes(m.fitted):
        yield f"changed recipe: {recipe_text(changes)}"
    if own_recipe(m.fitted):
        yield "not a published recipe"
    stated = dict(setting.more).get("precision", "")
    for cell_kind, used in (("fit", m.fitted.precision if m.fitted else ""), ("eval", m.evaluation.precision)):
        if used != stated and not (used in _FULL_PRECISION and stated in _FULL_PRECISION):
            yield f"precision of the {cell_kind} {used}, paper {stated or 'not stated'}"


def _of_views(setting: Setting, m: Measurement) -> Iterator[str]:
    """View settings that differ from the source, or from the prescribed views where the source does not state them."""
    stated: dict[str, Value] = {"frames": setting.frames} if setting.frames else {}
    # Views are stated as `4x3`, or in words such as `3 views`, which are compared as they are.
    clips, _, crops = (setting.views or "").partition("x")
    used_views = m.evaluation.views
    if clips.isdecimal() and crops.isdecimal():
        stated |= {"clips": int(clips), "crops": int(crops)}
    elif setting.views:
        yield f"{used_views.clips}x{used_views.crops} views, paper {setting.views}"
    more = dict(setting.more)
    stated |= {f.name: more[f.name] for f in dataclasses.fields(Views) if f.name in more}
    several = used_views.clips > 1 or stated.get("clips", 1) != 1
    for f in dataclasses.fields(Views):
        used = getattr(used_views, f.name)
        wanted = stated.get(f.name, getattr(m.protocol.prescribed.views, f.name))
        if f.name == "sampling" and not several:
            continue  # a single view is always the centre, whatever the sampling
        if used != wanted and not (f.name == "sampling" and f.name not in stated and "clips" in stated):
            source = "paper" if f.name in stated else "prescribed"
            yield f"{f.name} {plain(used)}, {source} {plain(wanted)}"


def _apart_from(number: PublishedNumber, m: Measurement) -> Measurement:
    """The measurement without the deviations that `differences` compares with the source, or that the source shares."""
    prescribed = replace(m.protocol.prescribed, views=m.evaluation.views)
    # Published uni-modal methods, and methods that start from a fit, were trained on other data before.
    trained_before = not _adapts_clip(number) or layout_of(number).starts_from_fit
    stated = trained_before or "extra_data" in dict(number.setting.more)
    method = replace(m.method, class_text=NAMES_TEXT, extra_data=() if stated else m.method.extra_data)
    return replace(m, protocol=replace(m.protocol, prescribed=prescribed), method=method)


def _adapts_clip(number: PublishedNumber) -> bool:
    family = PAPER_TABLES.families.get(number.family)
    return family is None or family.clip


def _is_papers_backbone(model: ModelId) -> bool:
    name = model.arch.lower().replace("_", "-").replace("/", "-")
    return name in PAPER_TABLES.backbone.architectures and model.weights == PAPER_TABLES.backbone.weights
