"""Label sets: the ordered class names of a dataset."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from harness.base.canonical import labels_sha256
from harness.base.errors import UserError


@dataclass(frozen=True)
class LabelSet:
    """Ordered class names; the id of a class is its position.

    Args:
        names: Class names, distinct and not blank.
        variant: `published`; `corrected` where published names are wrong; `split` where they are words run together.
    """

    names: tuple[str, ...]
    variant: str = "published"

    def __post_init__(self) -> None:
        if not self.names:
            raise UserError("A label set needs at least one class name, found none.")
        blank = [i for i, name in enumerate(self.names) if not name.strip()]
        if blank:
            raise UserError(f"Class {blank[0]} has a blank name.", "Give every class a name of at least one character.")
        seen: dict[str, int] = {}
        for i, name in enumerate(self.names):
            if name in seen:
                raise UserError(
                    f"Class name {name!r} occurs twice, as id {seen[name]} and id {i}.", "Rename one of them."
                )
            seen[name] = i

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sha256(self) -> str:
        """sha256 of the lines `id,name` (LF). Independent of quoting and line ends of the file they came from."""
        return labels_sha256(self.names)


def require_distinct_texts(names: Sequence[str], source: str) -> None:
    """Refuse two class names that CLIP's tokenizer makes the same text: no method could tell the classes apart.

    Args:
        names: Class names.
        source: The folder, table or file of the names, for the message.

    Raises:
        UserError: Two names are the same text.
    """
    first: dict[str, str] = {}
    for name in names:
        text = tokenizer_text(name)
        if text in first:
            raise UserError(
                f"{source}: the classes {first[text]!r} and {name!r} are the same text, {text!r}, for CLIP's "
                "tokenizer, expected classes with different texts.",
                "Rename or merge one of them.",
            )
        first[text] = name


def tokenizer_text(name: str) -> str:
    """A class name after the cleaning of CLIP's tokenizer: repaired Unicode, no entities, single blanks, lower case.

    Source: `basic_clean`, `whitespace_clean` and `lower` of `open_clip/tokenizer.py`.
    """
    if not name.isascii():
        # ftfy composes accents and replaces typographic quotes and wide letters; it leaves ASCII as it is. Imported
        # here, because `list` and `show` need no class texts.
        import ftfy

        name = ftfy.fix_text(unicodedata.normalize("NFC", name))
    return " ".join(html.unescape(html.unescape(name)).split()).lower()
