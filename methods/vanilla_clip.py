"""Vanilla CLIP: no training; frame features averaged and compared with the text of the bare class name."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from harness.api import ClipMethod, LabelSet, MethodCard, option, register_method
from methods._prompted import PrecisionOptions
from methods._templates import ACTION_TEMPLATES


@dataclass(frozen=True)
class VanillaOptions(PrecisionOptions):
    """The text around a class name; published is the bare name."""

    template: str = option("{}", "text around the class name, which replaces {}; published: the bare name")
    ensemble: str = option(
        "none", "action16: the mean of normalised features over ActionCLIP's 16 templates", ("none", "action16")
    )


@register_method("vanilla_clip")
class VanillaClip(ClipMethod):
    """Frozen CLIP. The published row uses bare names, ImageNet statistics and CamelCase UCF-101 names."""

    card = MethodCard(
        title="Vanilla CLIP",
        paper="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
        family="adapting",
        source="muzairkhattak/ViFi-CLIP, trainers/vificlip.py, ZS_EVAL",
    )
    options_type = VanillaOptions

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
