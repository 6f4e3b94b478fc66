"""Where a guarded loader takes clips from, apart from decoding the file of a draw."""

from __future__ import annotations

from typing import Protocol

from harness.engine.video.batches import Draw
from harness.engine.video.decode import ClipT, Undecodable


class Substitutes(Protocol):
    """The clips that replace undecodable training clips."""

    def draw(self, draw: Draw, attempt: int, /) -> Draw | None:
        """Return the draw that replaces a draw after a number of failed attempts; None if no draw is left."""
        ...

    def warn(self, draw: Draw, other: Draw, clip: Undecodable, /) -> None:
        """Log that a clip is replaced."""
        ...


class Kept(Protocol[ClipT]):
    """Clips that are kept in memory and need no decoding."""

    def get(self, draw: Draw, /) -> ClipT | None:
        """Return the clip of a draw; None if it has to be decoded."""
        ...

    def put(self, draw: Draw, clip: ClipT, /) -> None:
        """Keep a decoded clip."""
        ...
