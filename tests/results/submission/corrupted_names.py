"""Names and titles that look like those of other methods, or cannot be read."""

from __future__ import annotations

from typing import Any

from tests.results.submission.corrupted import forged
from tests.results.submission.forge import Forge


def titled(rule: str, title: str, name: str) -> None:
    def edit(made: Forge) -> Any:
        made.change(lambda record: record["method"].update(title=title))
        made.derive()

    forged(rule, name)(edit)


titled("P027", "My\u200bMethod", "title with a zero-width space")
titled("P027", "   ", "title of blanks")
titled("P027", "a" + "\u0301" * 4 + "b", "title with stacked marks")
titled("P027", "\u3164", "title of a letter without ink")
titled("P028", "ViFi-CLIP", "title of a built-in method")
titled("P028", "\u0410ctionCLIP", "title with a letter of another script")
titled("P028", "ViFi CLlP", "title with an l for an I")
titled("P028", "Vi Fi CLIP 2", "title one character away from a built-in method")
