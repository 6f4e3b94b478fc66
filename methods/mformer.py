"""Motionformer: trajectory attention, evaluated with a published checkpoint. `methods._trajectory` has the network."""

from harness.api import register_method
from methods._outputs import OutputsMethod
from methods._specs._mformer import MformerOptions
from methods._specs.mformer import MformerSpec


@register_method("mformer")
class Mformer(MformerSpec, OutputsMethod):
    """Scores of a clip by a transformer over space and time."""

    options: MformerOptions
