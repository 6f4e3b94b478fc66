"""Ids of HTML anchors: equal texts give equal ids, different texts give different ids."""

from __future__ import annotations

import hashlib
import re

_LONGEST = 48


def slug(*parts: str) -> str:
    """An id made from texts, e.g. `t-b2n-mini_target-0`.

    A text of letters, digits and underscores is kept. In any other text, and in a text of more than 48 characters,
    characters are dropped, and a dot with eight digits of the text's hash is appended.
    """
    return "-".join(_word(part) for part in parts)


def _word(text: str) -> str:
    word = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[:_LONGEST]
    if word == text and word:
        return word
    return f"{word or 'x'}.{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
