"""Motionformer: trajectory attention, evaluated with a published checkpoint. `methods._trajectory` has the network."""

from torch import Tensor

from harness.api import LabelSet, register_method
from methods._outputs import OutputsMethod
from methods._specs._mformer import MformerOptions
from methods._specs._outputs import require_outputs
from methods._specs.mformer import MformerSpec


@register_method("mformer")
class Mformer(MformerSpec, OutputsMethod):
    """Scores of a clip by a transformer over space and time."""

    options: MformerOptions

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return the output of the head for each class, (C,).

        Raises:
            UserError: The classes of the head are not those of the label set.
        """
        require_outputs(self.name, self.backbone.facts.name, self.backbone.classes, label_set)
        return self.outputs_of(label_set, self.options.classes)
