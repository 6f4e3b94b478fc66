"""Names of the built-in view transforms: probes of time, and corruptions of pixels at three strengths."""

from __future__ import annotations

CLEAN = "clean"
"""Part of the protocol `probes` without transform."""
TIME_PROBES = ("shuffled", "reversed", "one_frame", "first_half")
"""Transforms that change the order or the choice of the sampled frames, and no pixel."""
CORRUPTIONS = ("blur", "noise", "compression", "brightness", "dropped")
STRENGTHS = (1, 2, 3)
"""Strengths of a corruption, weakest first."""


def corruption(kind: str, strength: int) -> str:
    """The name of a corruption at a strength: `blur_2`."""
    return f"{kind}_{strength}"


BUILT_IN = (*TIME_PROBES, *(corruption(kind, strength) for kind in CORRUPTIONS for strength in STRENGTHS))
"""All built-in view transforms, in the order of the table of probes."""
