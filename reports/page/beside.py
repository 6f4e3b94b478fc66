"""Published values that are shown beside ours, with the verdict as glyph, words and colour."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from reports.costs import COSTS
from reports.lines import signed
from reports.paper import protocol_of, published_ids
from reports.row import Cell, Row
from reports.verdict import CANNOT_TELL, DIFFERENT, INSIDE, OUTSIDE, Verdict, differences, verdict
from results.published_numbers import DATASETS, PublishedNumber, is_own_number, published_numbers

KINDS = {INSIDE: "inside", OUTSIDE: "outside", DIFFERENT: "other", CANNOT_TELL: "unsure"}
"""CSS class by kind of verdict."""
GLYPHS = {
    INSIDE: "\N{CHECK MARK}", OUTSIDE: "\N{BALLOT X}", DIFFERENT: "\N{TILDE OPERATOR}", CANNOT_TELL: "?",
}  # fmt: skip
_SHORT = (
    ("backbone ", "other backbone"), ("class text ", "class text"), ("starts from ", "other start"),
    ("changed recipe", "changed recipe"), ("not a published recipe", "own recipe"),
    ("precision of the fit", "fit precision"), ("precision of the eval", "eval precision"),
    ("own training", "own list"), ("own evaluation", "own list"), ("extra data", "extra data"),
    ("another form", "other form"), ("option ", "other option"), ("training lists", "other training"),
    ("evaluation lists", "other videos"), ("training ", "training views"), ("changed option", "changed option"),
)  # fmt: skip
"""Two words by the beginning of a difference."""
_OF_VARIANTS = ("class text ", "starts from ", "frames ")
"""Beginnings of differences in the settings by which the published variants of a method differ."""
_SETTING = re.compile(r"(?P<name>[a-z_]+) (?P<ours>\S+), (?P<source>paper|prescribed) (?P<theirs>\S+)$")


@dataclass(frozen=True)
class Beside:
    """A published value that belongs to a cell.

    Args:
        number: The published number.
        label: `paper` for a value of the method's authors; otherwise who measured it, in one word.
        verdict: Comparison of our value with the number.
    """

    number: PublishedNumber
    label: str
    verdict: Verdict

    @property
    def kind(self) -> str:
        """CSS class of the verdict."""
        return KINDS[self.verdict.kind]

    @property
    def words(self) -> str:
        """The verdict in a few words, after its glyph."""
        return verdict_words(self.verdict)


def verdict_words(found: Verdict) -> str:
    """A verdict in a few words after its glyph: `outside` with the difference, or the first setting that differs."""
    glyph = GLYPHS[found.kind]
    if found.kind == DIFFERENT:
        return f"{glyph} {two_words(found.why[0])}"
    return f"{glyph} {found.kind}" + (f" {signed(found.delta or 0.0)}" if found.kind == OUTSIDE else "")


def two_words(difference: str) -> str:
    """A difference of settings in two words, e.g. `16 frames` where the paper has 16 frames."""
    for begin, short in _SHORT:
        if difference.startswith(begin):
            return short
    # A setting that the paper does not state is compared with the protocol's: our value is then the deviation.
    if found := _SETTING.match(difference):
        value = found["theirs"] if found["source"] == "paper" else found["ours"]
        name = found["name"].replace("_", " ")
        return f"{value} {name}" if value.replace(".", "").isdecimal() else f"other {name}"
    if found := re.search(r"paper (\d+ views)$", difference):
        return found[1]
    if found := re.match(r"(\w+) class names\b", difference):
        return f"{found[1]} names"
    words = difference.replace(",", "").split()
    return " ".join(words[: 4 if "of" in words[:3] else 2])


def beside(row: Row) -> dict[str, Beside]:
    """The published values of a row by column: the value of the method's authors, or else the first re-measurement.

    A method that was published in several variants (from a fit on K-400, with texts of a language model, with other
    numbers of frames) has the variant whose text, start and frames are those of the row, and of several such variants
    the one with the fewest settings that differ.
    """
    by_column = _numbers().get((row.protocol, row.dataset))
    if not by_column:
        return {}
    methods = published_ids(row.measurement)
    found = {}
    for name, cell in row.cells.items():
        numbers = [number for number in by_column.get(name, ()) if number.method in methods]
        if numbers:
            number = _nearest(numbers, cell, row)
            found[name] = Beside(number, _label(number), verdict(number, cell, row))
    return found


def _nearest(numbers: list[PublishedNumber], cell: Cell, row: Row) -> PublishedNumber:
    first: dict[str, PublishedNumber] = {}
    for number in sorted(numbers, key=_origin):
        first.setdefault(number.method, number)
    variants = list(first.values())
    if len(variants) == 1:
        return variants[0]

    def distance(number: PublishedNumber) -> tuple[tuple[bool, bool], int, int]:
        why = differences(number, cell, row)
        return _origin(number), sum(reason.startswith(_OF_VARIANTS) for reason in why), len(why)

    return min(variants, key=distance)


def _origin(number: PublishedNumber) -> tuple[bool, bool]:
    return not is_own_number(number), not number.setting.measured_by


@lru_cache(maxsize=1)
def _numbers() -> Mapping[tuple[str, str], Mapping[str, tuple[PublishedNumber, ...]]]:
    """Published numbers by protocol and registered dataset, and by column, in the order of the sources."""
    found: dict[tuple[str, str], dict[str, tuple[PublishedNumber, ...]]] = defaultdict(dict)
    for number in published_numbers():
        if number.dataset in DATASETS and number.column not in COSTS:
            columns = found[protocol_of(number), DATASETS[number.dataset]]
            columns[number.column] = (*columns.get(number.column, ()), number)
    return found


def _label(number: PublishedNumber) -> str:
    if is_own_number(number):
        return "paper"
    known = re.match(r"(?:listed by )?([A-Z]\w+) (?:et al|authors)", number.setting.measured_by)
    return known[1] if known else "print"

