"""Recognisers of mmaction2 by config and checkpoint: video networks with a fixed set of classes, only evaluated."""

from __future__ import annotations

from torch import Tensor

from harness.api import LabelSet, register_method
from methods._outputs import OutputsMethod
from methods._specs._outputs import require_outputs
from methods._specs.mmaction2 import RecogniserSpec, RecognizerOptions


@register_method("mmaction2")
class Recogniser(RecogniserSpec, OutputsMethod):
    """Scores of mmaction2's recogniser, whose preprocessor normalises the videos."""

    options: RecognizerOptions

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return the output of the head for each class, (C,).

        Raises:
            UserError: The classes of the head are not those of the label set.
        """
        require_outputs(self.name, self.backbone.facts.name, self.backbone.classes, label_set)
        return self.outputs_of(label_set, self.options.classes)
