"""Open-VCLIP: CLIP's vision tower sees neighbouring frames, and the loss is also taken near CLIP's own weights."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from harness.api import LabelSet, register_method
from methods._neighbours import InitialWeights, NeighbourClip, mean_direction, see_neighbours
from methods._specs.open_vclip import OpenVClipOptions, OpenVClipSpec
from methods._templates import VIDEO_TEMPLATES


@register_method("open_vclip")
class OpenVClip(OpenVClipSpec, NeighbourClip):
    """The vision tower and the scale are trained; the frozen text tower encodes 28 texts of a class once."""

    options: OpenVClipOptions

    def setup(self) -> None:
        """Change the attention, and keep CLIP's weights for the interpolated loss."""
        see_neighbours(self.backbone, self.options.neighbours, self.name)
        self.learn_only("visual.", "logit_scale")
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        self.initial = InitialWeights(trained if self.options.mixed_loss else [])

    def prompts(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return the 28 texts of each class, template by template."""
        return tuple(template.replace("{}", name) for template in VIDEO_TEMPLATES for name in label_set.names)

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return text features (C, D): the mean direction of the texts of each class."""
        # In one call, so that the cache of frozen texts keeps them between training steps.
        return mean_direction(self.encode_prompts(self.prompts(label_set)).split(len(label_set)))

    def loss(self, video: Tensor, targets: Tensor, label_set: LabelSet) -> Tensor:
        """Return the cross-entropy at the weights, plus that at weights mixed with CLIP's, weighted by `mixed_loss`."""
        loss = super().loss(video, targets, label_set)
        if not self.options.mixed_loss:
            return loss
        share = float(torch.rand(())) * self.options.largest_share
        return loss + self.options.mixed_loss * self.mixed_loss(video, targets, label_set, share)

    def mixed_loss(self, video: Tensor, targets: Tensor, label_set: LabelSet, share: float) -> Tensor:
        """Return the cross-entropy at weights with a share of CLIP's.

        The gradient with respect to the mixed weights counts as the gradient of the weights: there is no factor
        (1 - share), as in the original.
        """
        own, mixed = dict(self.named_parameters()), {}
        for name, initial in self.initial.values().items():
            with torch.no_grad():
                value = share * initial + (1 - share) * own[name]
            mixed[name] = value + (own[name] - own[name].detach())
        logits = functional_call(self, mixed, (video, label_set)).float()
        return -(targets * F.log_softmax(logits, dim=-1)).sum(dim=-1).mean()
