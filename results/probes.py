"""Probes: evaluations of a fit on transformed views, which are compared with the fit's own score on plain views."""

from __future__ import annotations

from results.measurement import Measurement

PROTOCOL = "probes"
"""Name of the built-in protocol of probes."""
UNRANKED = "a probe: its table shows the loss against the method's own clean score"


def is_probe(m: Measurement) -> bool:
    """Whether a measurement belongs to a protocol of probes: one that prescribes view transforms."""
    return m.protocol.name == PROTOCOL or bool(m.protocol.prescribed.transform)
