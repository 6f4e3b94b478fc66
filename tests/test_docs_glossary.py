"""docs/glossary.md is one table that defines each word once, and defines every word of the data types."""

from __future__ import annotations

import re

from results.record import STATUSES
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "glossary.md"


def glossary() -> list[tuple[str, str]]:
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    assert rows[0] == ("word", "meaning") and rows[1] == ("---", "---")
    return rows[2:]


def test_each_word_is_defined_once() -> None:
    words = [word for word, _ in glossary()]
    assert len(set(words)) == len(words) and all(meaning for _, meaning in glossary())


def test_the_words_of_the_benchmark_are_defined() -> None:
    words = {word for word, _ in glossary()}
    assert words >= {
        "dataset", "label set", "list", "protocol", "method", "recipe", "views", "fit", "eval", "cell", "record",
        "part", "repeat", "row", "group", "division", "signature", "published number", "stale", "superseded",
        "incomplete",
    }  # fmt: skip


def test_every_status_of_a_record_is_named() -> None:
    meanings = dict(glossary())
    assert all(f"`{status}`" in meanings["status"] for status in STATUSES)
