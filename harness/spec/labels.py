"""Label sets: the ordered class names of a dataset."""

from __future__ import annotations

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
                raise UserError(f"Class name {name!r} occurs twice, as id {seen[name]} and id {i}.")
            seen[name] = i

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sha256(self) -> str:
        """sha256 of the lines `id,name` (LF). Independent of quoting and line ends of the file they came from."""
        return labels_sha256(self.names)
