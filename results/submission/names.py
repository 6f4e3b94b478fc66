"""Names and titles that readers can tell apart: confusable characters, invisible characters, small differences.

Two names are confusable if their skeletons are equal (Unicode Technical Standard 39, section 4; the table of confusable
characters is that of the package `confusable_homoglyphs`), without regard to case, blanks and punctuation.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import product

from confusable_homoglyphs.confusables import confusables_data

MOST_MARKS = 3
"""Largest number of combining marks after one character; more marks cover the lines above and below."""
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols without ink, which have no category of their own."""
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of control, format, private and unassigned characters and of line separators."""


def name_problem(name: str) -> str:
    """The first reason why a name cannot be read as it is written; empty if there is none."""
    if not name.strip():
        return "no visible character"
    if name != name.strip():
        return "a blank at the start or at the end"
    for character in name:
        if character in _BLANK or unicodedata.category(character) in _HIDDEN:
            return f"the invisible character U+{ord(character):04X}"
    marks = 0
    for character in unicodedata.normalize("NFD", name):
        marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
        if marks > MOST_MARKS:
            return f"more than {MOST_MARKS} combining marks after one character"
    return ""


@cache
def _prototype(character: str) -> str:
    """The character or characters that stand for all characters of the same look."""
    others: list[str] = [entry["c"].strip("\u200e") for entry in confusables_data.get(character, ())]
    if len(others) != 1:  # a prototype lists all characters that look like it, every other character its prototype
        return character
    if len(confusables_data.get(others[0], ())) == 1:  # a class of two: both list the other character
        return min(character, others[0])
    return others[0]


def skeleton(text: str) -> str:
    """The text with each character replaced by its prototype, see UTS 39."""
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFD", "".join(map(_prototype, decomposed)))


def folded(name: str) -> frozenset[str]:
    """Forms of a name; two names are confusable if they have a form in common.

    There are forms with and without lower case, because the skeleton distinguishes I from i, and lower case
    distinguishes I from l. There are forms with and without the compatibility form, which turns letters of other widths
    into plain ones, and an ogonek, which looks like an i, into a blank with a mark.
    """
    texts = (name, unicodedata.normalize("NFKC", name))
    forms = [form for text in texts for form in (skeleton(text.casefold()), skeleton(text).casefold())]
    return frozenset(skeleton("".join(filter(str.isalnum, unicodedata.normalize("NFKD", form)))) for form in forms)


def confusable(a: str, b: str) -> bool:
    """Whether readers can confuse two names."""
    return not folded(a).isdisjoint(folded(b))


def one_edit_apart(a: str, b: str) -> bool:
    """Whether a form of one name becomes a form of the other name if one character is added, removed or replaced."""
    # In a skeleton a character can become two (m becomes rn), so that the letters themselves are compared, too.
    forms = [[*folded(name), "".join(filter(str.isalnum, name.casefold()))] for name in (a, b)]
    return any(_one_edit(x, y) for x, y in product(*forms))


def _one_edit(a: str, b: str) -> bool:
    if abs(len(a) - len(b)) > 1:
        return False
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rest_a, rest_b = a[same:], b[same:]
    return rest_a[1:] == rest_b[1:] or rest_a[1:] == rest_b or rest_a == rest_b[1:]
