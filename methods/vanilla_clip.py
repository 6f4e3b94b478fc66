"""Vanilla CLIP: no training; frame features averaged and compared with the text of the bare class name."""

import torch.nn.functional as F
from torch import Tensor

from harness.api import ClipMethod, LabelSet, register_method
from methods._specs.vanilla_clip import VanillaClipSpec
from methods._templates import ACTION_TEMPLATES


@register_method("vanilla_clip")
class VanillaClip(VanillaClipSpec, ClipMethod):
    """Frozen CLIP. The published row uses bare names, ImageNet statistics and CamelCase UCF-101 names."""

    def setup(self) -> None:
        """Nothing learns."""
        self.requires_grad_(False)

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Text features (C, D): of one text per class, or the mean direction over an ensemble of templates."""
        if self.options.ensemble == "none":
            return super().encode_text(label_set)
        texts = tuple(t.replace("{}", name) for t in ACTION_TEMPLATES for name in label_set.names)
        features = F.normalize(self.encode_prompts(texts).float(), dim=-1)
        return features.unflatten(0, (len(ACTION_TEMPLATES), len(label_set))).mean(dim=0)
