"""What became of a plan."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What became of a plan.

    Args:
        fits, evals: Numbers of cells carried out in this call.
        reused: Cells that were done before.
        failures: (cell name, error) of cells that failed.
    """

    fits: int = 0
    evals: int = 0
    reused: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
