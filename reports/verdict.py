"""Verdicts on published numbers: does a value on the same list agree with ours ("reproduced")?

The videos are the same on both sides, so the verdict depends on the spread between fits and not on an interval for
other videos. It can be: inside, outside, cannot tell, not measured, or measured differently.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.spec import Views
from reports.layout import PAPER_TABLES
from reports.paper import NAMES_TEXT, class_text_of, layout_of
from reports.row import Cell, Row
from results.measurement import UNKNOWN, Measurement, ModelId, Value
from results.measurement_words import (
    WRITTEN_TEXTS,
    model_text,
    open_reasons,
    own_recipe,
    plain,
    recipe_changes,
    recipe_text,
    start_text,
)
from results.published_numbers import PublishedNumber, Setting
from results.statistics.reproduced import (
    WIDEST,
    Reproduction,
    borrowed_reproduction,
    reproduction,
    videos_outside,
)

INSIDE, OUTSIDE, CANNOT_TELL = "inside", "outside", "cannot tell"
NOT_MEASURED, DIFFERENT = "not measured", "measured differently"
FIT_KINDS = ("train_subset", "seed")
"""Kinds of repeats that are separate fits; test splits and class subsets evaluate one fit on several lists."""
EPSILON = 1e-9
"""Slack in points for the rounding of floating-point numbers."""
_FULL_PRECISION = ("", UNKNOWN, "fp32", "float32")


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison with a published number.

    Args:
        kind: `inside` (the published value agrees with our fits), `outside`, `cannot tell` (our fits differ too much),
            `not measured` or `measured differently`.
        delta: Our value minus the published value in percent points; None if we have no value.
        why: The settings that differ.
        detail: Addition to the kind in words: the half-width, the number of videos, or `one fit`.
    """

    kind: str
    delta: float | None = None
    why: tuple[str, ...] = ()
    detail: str = ""

    def __str__(self) -> str:
        kind = f"{self.kind} {self.detail}" if self.detail else self.kind
        return f"{kind} ({'; '.join(self.why)})" if self.why else kind


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
    if row.measurement.fitted is None:
        return _untrained(number, cell, row, delta)
    expected = _expected(number, cell)
    if expected is None:
        return _one_fit(number, cell, delta)
    if not expected.conclusive:
        return Verdict(CANNOT_TELL, delta, detail=f"(± {expected.half_width:.1f})")
    return Verdict(INSIDE if expected.holds(number.number) else OUTSIDE, delta)


def _rounding(number: PublishedNumber) -> float:
    """Half the last printed digit: a value printed as 51.3 may have been any value from 51.25 to 51.35."""
    return 0.5 * 10.0 ** -len(number.value.partition(".")[2]) + EPSILON


def _expected(number: PublishedNumber, cell: Cell) -> Reproduction | None:
    """The values that fits of the source are expected to have on the same list; None if no spread is known.

    The videos are the same on both sides, so only fits vary. The repeats of the source count as fits if ours do.
    """
    source_fits = (number.setting.n or 1) if cell.kind in FIT_KINDS else 1
    if len(cell.fits) > 1:
        return reproduction(cell.fits, source_fits, _rounding(number))
    if cell.borrowed is not None:
        return borrowed_reproduction(cell.mean, cell.borrowed, source_fits, _rounding(number))
    return None


def _one_fit(number: PublishedNumber, cell: Cell, delta: float) -> Verdict:
    """The verdict on one fit without another row whose spread could be borrowed."""
    interval = cell.interval
    if interval is None:
        return Verdict(CANNOT_TELL, delta, detail="(one fit, without predictions)")
    half = (interval.high - interval.low) / 2
    if half > WIDEST:
        return Verdict(CANNOT_TELL, delta, detail=f"(one fit, ± {half:.1f})")
    inside = interval.holds(number.number, _rounding(number))
    return Verdict(INSIDE if inside else OUTSIDE, delta, detail="(one fit)")


def _untrained(number: PublishedNumber, cell: Cell, row: Row, delta: float) -> Verdict:
    """The verdict on an untrained method, for which the predictions of the source are expected again."""
    columns = [row.cells[name] for name in cell.harmonic_of] if cell.harmonic_of else [cell]
    entries = [score.entry for column in columns for score in column.repeats]
    videos = sum(entry.measurement.evaluation.evaluated for entry in entries)
    undecodable = sum(len(entry.record.undecodable) for entry in entries)
    missing = videos_outside(cell.mean, number.number, videos, _rounding(number))
    if missing <= undecodable:
        return Verdict(INSIDE, delta)
    return Verdict(OUTSIDE, delta, detail=f"by {missing} video{'' if missing == 1 else 's'}")


def differences(number: PublishedNumber, cell: Cell, row: Row) -> tuple[str, ...]:
    """The differences between our measurement and the published measurement, each once."""
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
    written = m.method.class_text if m.method.class_text in WRITTEN_TEXTS else NAMES_TEXT
    if written != class_text_of(setting):
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
        # A source with other views than the protocol prescribes does not follow its sampling either: without a
        # statement of the source, sampling is not compared.
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
