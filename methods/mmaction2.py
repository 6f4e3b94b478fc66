"""Recognisers of mmaction2 by config and checkpoint: video networks with a fixed set of classes, only evaluated."""

from harness.api import register_method
from methods._outputs import OutputsMethod
from methods._specs.mmaction2 import RecogniserSpec, RecognizerOptions


@register_method("mmaction2")
class Recogniser(RecogniserSpec, OutputsMethod):
    """Scores of mmaction2's recogniser, whose preprocessor normalises the videos."""

    options: RecognizerOptions
