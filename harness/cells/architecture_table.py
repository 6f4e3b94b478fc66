"""Facts of architectures that only a built model shows, as a table: sizes, and methods that do not work.

`benchmarks/architecture_table.py` makes the table; a slow test builds the models and compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

_FILE = Path(__file__).resolve().parents[1] / "data" / "assets" / "architectures.json"
LARGEST_COMPARED = 0.7e9
"""Parameters up to which features and logits are compared with those of open_clip by value; above by shape."""


@dataclass(frozen=True)
class Refusal:
    """A built-in method that cannot be set up on an architecture.

    Args:
        reason: The error of the method under default options.
        any_options: Whether the towers of the architecture cause the error, so that no option changes it.
    """

    reason: str
    any_options: bool


@dataclass(frozen=True)
class Architecture:
    """An architecture of open_clip.

    Args:
        vision, text: Kinds of the towers, see `vision_kind` and `text_kind` in harness/engine/model/towers.py.
        parameters: Number of parameters.
        gmacs: 10^9 multiply-adds of the vision tower for one frame.
        image_size: Side of the square input in pixels.
        blocks: Number of residual blocks of both towers, which gradient checkpointing and FSDP use.
        batch_norms: Number of BatchNorm layers.
        refused: Each built-in method that cannot be set up on the architecture.
    """

    vision: str
    text: str
    parameters: int
    gmacs: float
    image_size: int
    blocks: int
    batch_norms: int
    refused: dict[str, Refusal]

    @property
    def compared(self) -> str:
        """`values` or `shapes`: how the slow tests compare the architecture with open_clip."""
        return "values" if self.parameters <= LARGEST_COMPARED else "shapes"


ARCHITECTURES: dict[str, Architecture] = msgspec.json.decode(_FILE.read_bytes(), type=dict[str, Architecture])


def refusal(arch: str, method: str, changed_options: bool) -> str:
    """The reason for which a built-in method does not work on an architecture; empty if it may work.

    Args:
        arch: The architecture.
        method: Name of the method.
        changed_options: Whether options of the method differ from their defaults.
    """
    known = ARCHITECTURES[arch].refused.get(method) if arch in ARCHITECTURES else None
    return known.reason if known is not None and (known.any_options or not changed_options) else ""
