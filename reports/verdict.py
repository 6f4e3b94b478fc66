"""Ours beside a published number: inside its interval, outside, not measured, or measured differently and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reports.aggregate import Cell, Row
from results.published_numbers import PublishedNumber

INSIDE, OUTSIDE, NOT_MEASURED, DIFFERENT = "inside", "outside", "not measured", "measured differently"


@dataclass(frozen=True)
class Verdict:
    """What a comparison with a published number says.

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
    """The verdict on one cell; settings that the source does not state are not held against it."""
    if cell is None or row is None:
        return Verdict(NOT_MEASURED)
    delta = cell.mean - number.number
    why = differences(number, cell, row)
    if why:
        return Verdict(DIFFERENT, delta, why)
    digits = len(number.value.partition(".")[2])
    return Verdict(INSIDE if cell.interval.holds(number.number, 0.5 * 10.0**-digits) else OUTSIDE, delta)


def differences(number: PublishedNumber, cell: Cell, row: Row) -> tuple[str, ...]:
    """How our measurement differs from the published one, as `ours, paper: theirs`."""
    facts, setting = row.facts, number.setting
    found = []
    if number.family != "unimodal" and not _is_openai_b16(facts):
        found.append(f"backbone {facts['backbone']}/{facts['weights']}, paper ViT-B-16/openai")
    if setting.frames and setting.frames != facts["frames"]:
        found.append(f"{facts['frames']} frames, paper {setting.frames}")
    clips, crops = facts["views"].split("-")[0].split("x")[1:3]
    if setting.views and setting.views != f"{clips}x{crops}":
        found.append(f"{clips}x{crops} views, paper {setting.views}")
    more = dict(setting.more)
    if "normalize" in more and (theirs := more["normalize"]) != _normalize(facts["views"]):
        found.append(f"{_normalize(facts['views'])} statistics, paper {theirs}")
    if "sampling" in more and int(clips) > 1 and more["sampling"] not in facts["views"]:
        found.append(f"views sampled {facts['views'].partition('-')[2] or 'at the centre'}, paper {more['sampling']}")
    if facts["label_variant"] != "published":
        found.append(f"{facts['label_variant']} class names")
    if facts["list_origin"] == "own":
        found.append("an own list")
    rewritten = "language model" in (setting.text or "")
    if (facts["class_text"] == "llm-rewritten") != rewritten:
        found.append(f"class text {facts['class_text']}, paper {setting.text or 'class names'}")
    if setting.n and cell.measurements and facts["trained"] and cell.n != setting.n:
        found.append(f"{cell.n} of {setting.n} repeats")
    found += row.reasons
    return tuple(found)


def _normalize(views: str) -> str:
    return "clip" if "clipnorm" in views else "imagenet"


def _is_openai_b16(facts: dict[str, Any]) -> bool:
    name = f"{facts['backbone']} {facts['arch']}".lower().replace("_", "-").replace("/", "-")
    return "vit-b-16" in name and "openai" in f"{name} {facts['weights']}".lower()
