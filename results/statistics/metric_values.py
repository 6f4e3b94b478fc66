"""The values of all metrics of one evaluation list. This module does not import numpy, because `plan` reads records."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Annotated

from msgspec import Meta

Percent = Annotated[float, Meta(ge=0, le=100)]


@dataclass(frozen=True)
class Metrics:
    """Accuracies of one list in percent; the denominator is the number of all videos of the list."""

    top1: Percent
    top5: Percent
    mean_class: Percent

    def as_dict(self) -> dict[str, float]:
        """The metrics by name."""
        return asdict(self)


METRICS = tuple(f.name for f in fields(Metrics))
