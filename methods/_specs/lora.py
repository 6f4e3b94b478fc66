"""Specification of LoRA."""

from dataclasses import dataclass
from typing import ClassVar

from harness.api import MethodCard, MethodOptions, MethodSpec, UserError, option
from methods._recipes_adapters import LORA
from methods._specs._numbers import is_ascending

CLIP_LORA, MAXI = "clip_lora", "maxi"
BOTH, VISION, TEXT = "both", "vision", "text"
ALL = "all"
PUBLISHED = "published"
_WITH_MAXI = {"form": (MAXI,)}


@dataclass(frozen=True)
class LoraOptions(MethodOptions):
    """Form, size and position of the updates; the defaults are those of CLIP-LoRA."""

    form: str = option(
        CLIP_LORA, "clip_lora: projections of the attention; maxi: attention, MLP and patch embedding, all blocks",
        (CLIP_LORA, MAXI),
    )  # fmt: skip
    rank: int = option(2, "rank r of each update", bounds=(1, None))
    alpha: float = option(
        1.0, "updates are scaled by alpha / sqrt(r); maxi scales by 1 / r", bounds=(0, None), unused_with=_WITH_MAXI
    )
    dropout: float = option(0.25, "dropout of the input of each update", bounds=(0, 0.99), unused_with=_WITH_MAXI)
    projections: str = option("qkv", "projections with updates, letters of qkvo", unused_with=_WITH_MAXI)
    encoder: str = option(BOTH, "towers with updates", (BOTH, VISION, TEXT), unused_with=_WITH_MAXI)
    blocks: str = option(
        ALL, "blocks with updates in each tower: all, or numbers from 0 such as 0+2", unused_with=_WITH_MAXI
    )
    scale: str = option(
        PUBLISHED, "factor of cosines: published is 100, model is that of the backbone, as in maxi",
        (PUBLISHED, "model"), unused_with=_WITH_MAXI,
    )  # fmt: skip
    template: str = option("a photo of a {}.", "text around the class name, which replaces {}")

    def __post_init__(self) -> None:
        """Refuse other letters and words than those of `projections` and `blocks`."""
        if not self.projections or self.projections != "".join(c for c in "qkvo" if c in self.projections):
            raise UserError(f"lora:projections is {self.projections!r}, expected letters of qkvo in this order.")
        if self.blocks != ALL and not is_ascending(self.blocks):
            raise UserError(
                f"lora:blocks is {self.blocks!r}, expected {ALL} or ascending numbers of blocks such as 0+2."
            )


class LoraSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "lora"
    card = MethodCard(
        title="CLIP + LoRA",
        paper="Zanella and Ben Ayed, Low-Rank Few-Shot Adaptation of Vision-Language Models, CVPRW 2024",
        family="adapting",
        source="MaxZanella/CLIP-LoRA, loralib/layers.py, run_utils.py; wlin-at/MAXI, clip/loralib (form=maxi)",
        unverified=(
            "CLIP-LoRA was published for pictures: averaging frame features before the cosine, as ViFi-CLIP does, and "
            "all recipes for video are own; MAXI's numbers are full fine-tuning, no configuration of it uses LoRA; "
            "CLIP's tensors are fp16 in the original on a GPU; no published checkpoint was available"
        ),
    )
    recipes = LORA
    options_type = LoraOptions
    random_draws = True
    checkpoint_normalize = "clip"
    # The embedded tiny model was trained with a scale of 20, so that 100 starts far from its scores.
    protocol_options: ClassVar = {"mini": {"scale": "model"}}
    frozen_clip = True
    parameters_vit_b16 = (149_805_057, 184_320)
