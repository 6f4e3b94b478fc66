"""Specification of bridge and prompt."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from harness.api import MethodCard, MethodSpec, ParentFit, option
from methods._prompted import PUBLISHED_OR_CLEAN, PrecisionOptions
from methods._recipes import PROMPTS

FIT, CLIP = "fit", "clip"


@dataclass(frozen=True)
class BridgeOptions(PrecisionOptions):
    """Start of stage two, and numbers of its prompts; the defaults are those of base-to-novel."""

    stage_one: str = option(
        FIT, "start from: fit (vificlip on the source), clip (no stage one), or a ViFi-CLIP file", file=(FIT, CLIP)
    )
    vision_tokens: int = option(16, "vision prompts per block", bounds=(0, None), unused_with={"vision_depth": (0,)})
    text_tokens: int = option(16, "text prompts per block", bounds=(1, None))
    vision_depth: int = option(
        9, "blocks with vision prompts, 0 for none; more than there are means all", bounds=(0, None)
    )
    text_depth: int = option(9, "blocks with text prompts, at least 1; more than there are means all", bounds=(1, None))
    context: str = option("a photo of a", "words that initialise up to 4 text prompts")
    prompt_rounding: str = option("published", "published rounds prompts to float16 in every pass", PUBLISHED_OR_CLEAN)


class BridgePromptSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "bridge_prompt"
    card = MethodCard(
        title="ViFi-CLIP bridge & prompt",
        paper="Rasheed et al., Fine-tuned CLIP Models are Efficient Video Learners, CVPR 2023",
        class_text="learned",
        extra_data=("source dataset of stage one",),
        family="tuning",
        source="muzairkhattak/ViFi-CLIP, trainers/vificlip.py and clip/model.py, PROMPT_MODEL",
        unverified="no published checkpoint was available; K-400 itself has no published prompting configuration",
    )
    recipes = PROMPTS
    options_type = BridgeOptions
    protocol_options: ClassVar = {
        "b2n": {"vision_tokens": 16, "text_tokens": 16, "vision_depth": 9, "text_depth": 9},
        "few_shot": {"vision_tokens": 10, "text_tokens": 10, "vision_depth": 12, "text_depth": 12},
        "mini": {"vision_tokens": 8, "text_tokens": 8, "vision_depth": 4, "text_depth": 2},
    }
    parent = ParentFit("vificlip", "zero_shot")
    frozen_clip = True
    parameters_vit_b16 = (149_805_057, 184_320)

    @classmethod
    def parent_fit(cls, options: BridgeOptions) -> ParentFit | None:  # type: ignore[override]
        """Return the stage-one fit, unless the options name another start."""
        return cls.parent if options.stage_one == FIT else None

    @classmethod
    def start_kind(cls, options: BridgeOptions) -> Literal["clip", "checkpoint"]:  # type: ignore[override]
        """Return `clip` for the weights of the backbone, `checkpoint` for those of a stage-one file."""
        return "clip" if options.stage_one in (FIT, CLIP) else "checkpoint"
