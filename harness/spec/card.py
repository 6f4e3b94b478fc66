"""Method cards: a method described for people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodCard:
    """Description of a method for people: printed by `show`, on the board and in every record.

    Args:
        title: Display name.
        paper: Address or citation.
        class_text: Source of the class texts: `names`, `templates`, `llm-rewritten`, `human-written`, `learned`, or
            `none` for a fixed set of classes. A file of class texts (the option `class_texts`) states its own source.
        extra_data: Training data beyond the protocol's training lists.
        family: `adapting` or `tuning` (the paper's grouping), `unimodal`, or empty.
        source: The original that the implementation follows, e.g. repository and file.
        unverified: Properties that could not be checked against the original, in words; empty if there are none.
    """

    title: str
    paper: str = ""
    class_text: str = "names"
    extra_data: tuple[str, ...] = ()
    family: str = ""
    source: str = ""
    unverified: str = ""
