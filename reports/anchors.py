"""Ids of anchors: equal for equal texts, and different for different ones."""

from __future__ import annotations

import hashlib
import re

_LONGEST = 48


def slug(*parts: str) -> str:
    """An id from any texts, e.g. `t-b2n-mini_target-0`.

    A text of letters, digits and underscores stands as it is. Of any other text, and of a long one, characters are
    dropped, and eight digits of its hash follow after a dot.
    """
    return "-".join(_word(part) for part in parts)


def _word(text: str) -> str:
    word = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[:_LONGEST]
    if word == text and word:
        return word
    return f"{word or 'x'}.{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
