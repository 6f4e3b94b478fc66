"""Ours beside a published number: inside its interval, outside, not measured, or measured differently and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.spec import Views
from reports.row import Cell, Row
from results.measurement import UNKNOWN, Measurement, ModelId
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
        delta: Ours minus published in percent points, or None where ours is not measured.
        why: The settings that differ.
    """

    kind: str
    delta: float | None = None
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} ({'; '.join(self.why)})" if self.why else self.kind


def verdict(number: PublishedNumber, cell: Cell | None, row: Row | None) -> Verdict:
    """The verdict on one cell.

    A setting that the source states is compared with it; any other must be as the protocol prescribes and the method
    declares.
    """
    if cell is None or row is None:
        return Verdict(NOT_MEASURED)
    delta = cell.mean - number.number
    why = differences(number, cell, row)
    if why:
        return Verdict(DIFFERENT, delta, why)
    digits = len(number.value.partition(".")[2])
    return Verdict(INSIDE if cell.interval.holds(number.number, 0.5 * 10.0**-digits) else OUTSIDE, delta)


def differences(number: PublishedNumber, cell: Cell, row: Row) -> tuple[str, ...]:
    """How our measurement differs from the published one, each reason once."""
    found: list[str] = []
    for entry in row.entries:
        found += _of_settings(number, entry.measurement)
    if cell.lacks:
        found.append(cell.lacks)
    n = number.setting.n
    if n and row.measurement.fitted is not None and cell.n != n and not cell.lacks:
        found.append(f"{cell.n} of {n} repeats")
    return tuple(dict.fromkeys((*found, *row.reasons)))


def _of_settings(number: PublishedNumber, m: Measurement) -> Iterator[str]:
    setting = number.setting
    if number.family != "unimodal" and not _is_openai_b16(m.model):
        yield f"backbone {model_text(m.model)}, paper ViT-B-16/openai"
    yield from _of_views(setting, m)
    for listed in (m.evaluation.list, *([m.fitted.list] if m.fitted else ())):
        if listed.label_variant != "published":
            yield f"{listed.label_variant} class names"
    rewritten = "language model" in (setting.text or "")
    if (m.method.class_text == "llm-rewritten") != rewritten:
        yield f"class text {m.method.class_text}, paper {setting.text or 'class names'}"
    yield from open_reasons(_apart_from(number, m))
    if m.fitted and (m.fitted.start.kind == "clip") is (number.table == "bridge_prompt"):
        yield f"starts from {start_text(m)}, paper {setting.init or 'CLIP'}"
    if changes := recipe_changes(m.fitted):
        yield f"changed recipe: {recipe_text(changes)}"
    if own_recipe(m.fitted):
        yield "not a published recipe"
    stated = dict(setting.more).get("precision", "")
    for place, used in (("fit", m.fitted.precision if m.fitted else ""), ("eval", m.evaluation.precision)):
        if used != stated and not (used in _FULL_PRECISION and stated in _FULL_PRECISION):
            yield f"precision of the {place} {used}, paper {stated or 'not stated'}"


def _of_views(setting: Setting, m: Measurement) -> Iterator[str]:
    """View settings that are not those of the source, or where it does not state them, not the prescribed ones."""
    stated: dict[str, str | int] = {"frames": setting.frames} if setting.frames else {}
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
            continue  # one view lies at the centre, however several would be sampled
        if used != wanted and not (f.name == "sampling" and f.name not in stated and "clips" in stated):
            source = "paper" if f.name in stated else "prescribed"
            yield f"{f.name} {plain(used)}, {source} {plain(wanted)}"


def _apart_from(number: PublishedNumber, m: Measurement) -> Measurement:
    """The measurement without the deviations from its protocol that are compared with the source, or are in it too."""
    prescribed = replace(m.protocol.prescribed, views=m.evaluation.views)
    # The numbers of uni-modal methods and of bridge and prompt come from models that were trained on other data before.
    trained_before = number.family == "unimodal" or number.table == "bridge_prompt"
    stated = trained_before or "extra_data" in dict(number.setting.more)
    method = replace(m.method, class_text="names", extra_data=() if stated else m.method.extra_data)
    return replace(m, protocol=replace(m.protocol, prescribed=prescribed), method=method)


def _is_openai_b16(model: ModelId) -> bool:
    name = f"{model.arch}".lower().replace("_", "-").replace("/", "-")
    return name in ("vit-b-16", "vit-b-16-quickgelu") and model.weights == "openai"
