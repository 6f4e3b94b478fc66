"""Vanilla CLIP: averaged frame features are compared with the text of the class name, without training."""

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.api import ClipMethod, LabelSet, register_method
from methods._specs.vanilla_clip import VanillaClipSpec, VanillaOptions
from methods._templates import ACTION_TEMPLATES


@register_method("vanilla_clip")
class VanillaClip(VanillaClipSpec, ClipMethod):
    """Frozen CLIP. The published row uses bare names, ImageNet statistics and CamelCase UCF-101 names."""

    options: VanillaOptions

    def setup(self) -> None:
        """Freeze all parameters."""
        self.requires_grad_(False)

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return text features (C, D) of one text per class, or their mean direction over an ensemble of templates."""
        if self.options.ensemble == "none":
            return super().encode_text(label_set)
        texts = tuple(t.replace("{}", name) for t in ACTION_TEMPLATES for name in label_set.names)
        features = F.normalize(self.encode_prompts(texts).float(), dim=-1)
        # Directions are averaged, not features: a text with a long feature must not outweigh the other templates.
        return torch.unflatten(features, 0, (len(ACTION_TEMPLATES), len(label_set))).mean(dim=0)
