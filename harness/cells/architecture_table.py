"""Facts of architectures that only a built model shows, as a table: multiply-adds, and methods that do not work.

`benchmarks/architecture_table.py` makes the table; a slow test builds models of it and compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

_FILE = Path(__file__).resolve().parents[1] / "data" / "assets" / "architectures.json"


@dataclass(frozen=True)
class Architecture:
    """An architecture of open_clip.

    Args:
        gmacs: 10^9 multiply-adds of the vision tower for one frame.
        image_size: Side of the square input in pixels.
        refused: Reason of each built-in method that cannot be set up on the architecture.
    """

    gmacs: float
    image_size: int
    refused: dict[str, str]


ARCHITECTURES: dict[str, Architecture] = msgspec.json.decode(_FILE.read_bytes(), type=dict[str, Architecture])


def refused_methods(arch: str) -> dict[str, str]:
    """Reasons of the built-in methods that do not work on an architecture; empty for an architecture without entry."""
    return ARCHITECTURES[arch].refused if arch in ARCHITECTURES else {}
