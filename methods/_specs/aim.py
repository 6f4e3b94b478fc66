"""Specification of AIM."""

from dataclasses import dataclass
from typing import ClassVar

from harness.api import MethodCard, option
from methods._recipes_adapters import AIM
from methods._specs._head import OWN_HEAD, HeadOptions, HeadSpec


@dataclass(frozen=True)
class AimOptions(HeadOptions):
    """Adapters and head; the defaults are the adapters of the K-400 configuration."""

    scale: float = option(
        0.5, "factor of the adapter beside the MLP (published: 0.5 for K-400, 1 for SSv2)", bounds=(0, None)
    )
    inner_adapter: bool = option(False, "an adapter before the attention over frames, too (published for SSv2)")
    frames: int = option(32, "frames per view, for the positions of frames", bounds=(1, None))


class AimSpec(HeadSpec):
    """Card, recipes and options of the method."""

    name = "aim"
    card = MethodCard(
        title="AIM",
        paper="Yang et al., AIM: Adapting Image Models for Efficient Video Action Recognition, ICLR 2023",
        family="adapting",
        source="taoyang1122/adapt-image-models, mmaction/models/backbones/vit_clip.py, configs/recognition/vit",
        unverified=(
            f"{OWN_HEAD}, with CLIP's scale frozen; the rows of FROSTER take another form of the adapters and learned "
            "texts, and its training script is not public; RandAugment for SSv2 is imgaug's in the original; no "
            "published checkpoint was available"
        ),
    )
    recipes = AIM
    options_type = AimOptions
    protocol_options: ClassVar = {
        "supervised/k400": {"head": "classes", "fixed_classes": 400},
        "supervised/ssv2": {"head": "classes", "fixed_classes": 174, "scale": 1.0, "inner_adapter": True},
    }
    named_groups: ClassVar = {
        "last_norm": ("visual.ln_post.*",),
        "tower": ("adapters.*", "temporal_embedding", "visual.ln_post.*"),
    }
    random_draws = True
    checkpoint_normalize = "clip"
    parameters_vit_b16 = (160_296_705, 10_677_504)
