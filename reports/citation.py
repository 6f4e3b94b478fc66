"""Citations of methods: a BibTeX entry and the address of the code, from the texts of a method's card."""

from __future__ import annotations

import re

from reports.latex_text import tex

_PAPER = re.compile(r"(?P<authors>[^,]+), (?P<title>.+), (?P<venue>[^,]+) (?P<year>(?:19|20)\d\d)")
_PREPRINT = re.compile(r"(?P<authors>[^,]+), (?P<title>.+), arXiv[: ](?P<number>\d{4}\.\d{4,5})")
_REPOSITORY = re.compile(r"(?P<name>[A-Za-z0-9-]+/[A-Za-z0-9._-]+?)(?=[,; (]|$)")


def bibtex(method: str, paper: str) -> str:
    """A BibTeX entry of the paper of a method; empty if the card names no paper.

    Args:
        method: Registered name of the method, from which the key is made.
        paper: `AUTHORS, TITLE, VENUE YEAR` or `AUTHORS, TITLE, arXiv NUMBER`; any other text becomes the title.
    """
    if not paper.strip():
        return ""
    key = re.sub(r"[^A-Za-z0-9]+", "-", method).strip("-") or "method"
    # A number of arXiv begins with the year and the month.
    if preprint := _PREPRINT.fullmatch(paper):
        fields = {
            "author": _authors(preprint["authors"]), "title": f"{{{tex(preprint['title'])}}}",
            "year": f"20{preprint['number'][:2]}", "eprint": preprint["number"], "archiveprefix": "arXiv",
        }  # fmt: skip
        return _entry("misc", key, fields)
    if printed := _PAPER.fullmatch(paper):
        fields = {
            "author": _authors(printed["authors"]), "title": f"{{{tex(printed['title'])}}}",
            "booktitle": tex(printed["venue"]), "year": printed["year"],
        }  # fmt: skip
        return _entry("inproceedings", key, fields)
    return _entry("misc", key, {"title": f"{{{tex(paper)}}}"})


def code_url(source: str) -> str:
    """The address of the repository that a card's source begins with, as `owner/name`; empty if there is none."""
    found = _REPOSITORY.match(source)
    return f"https://github.com/{found['name']}" if found else ""


def _authors(text: str) -> str:
    return tex(text).replace(" et al.", " and others")


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}"
