"""Specification of bridge and prompt."""

import hashlib
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from harness.api import MethodCard, MethodSpec, ParentFit, UserError, option
from methods._prompted import PUBLISHED_OR_CLEAN, PrecisionOptions
from methods._recipes import PROMPTS

FIT, CLIP = "fit", "clip"


@dataclass(frozen=True)
class BridgeOptions(PrecisionOptions):
    """Where stage two starts, and how many prompts it learns; defaults are those of base-to-novel."""

    stage_one: str = option(FIT, "start from: fit (vificlip on the source), clip (no stage one), or a ViFi-CLIP file")
    vision_tokens: int = option(16, "vision prompts per block")
    text_tokens: int = option(16, "text prompts per block")
    vision_depth: int = option(9, "blocks with vision prompts, 0 for none; more than there are means all")
    text_depth: int = option(9, "blocks with text prompts, at least 1; more than there are means all")
    context: str = option("a photo of a", "words that initialise up to 4 text prompts")
    prompt_rounding: str = option("published", "published rounds prompts to float16 in every pass", PUBLISHED_OR_CLEAN)

    def as_dict(self) -> dict[str, Any]:
        """Option values by name; a checkpoint file counts by its content, not by its place."""
        values = asdict(self)
        if self.stage_one not in (FIT, CLIP):
            values["stage_one"] = f"sha256:{_sha256(Path(self.stage_one).resolve())}"
        return values


@lru_cache
def _sha256(path: Path) -> str:
    if not path.is_file():
        raise UserError(
            f"The stage-one checkpoint {path} does not exist.", "Give stage_one=fit, stage_one=clip or a file."
        )
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class BridgePromptSpec(MethodSpec):
    """Card, recipes and options."""

    name = "bridge_prompt"
    card = MethodCard(
        title="ViFi-CLIP bridge & prompt",
        paper="Rasheed et al., Fine-tuned CLIP Models are Efficient Video Learners, CVPR 2023",
        class_text="learned",
        extra_data=("source dataset of stage one",),
        family="tuning",
        source="muzairkhattak/ViFi-CLIP, trainers/vificlip.py and clip/model.py, PROMPT_MODEL",
        unverified="no published checkpoint was at hand; K-400 itself has no published prompting configuration",
    )
    recipes = PROMPTS
    options_type = BridgeOptions
    protocol_options: ClassVar = {
        "b2n": {"vision_tokens": 16, "text_tokens": 16, "vision_depth": 9, "text_depth": 9},
        "few_shot": {"vision_tokens": 10, "text_tokens": 10, "vision_depth": 12, "text_depth": 12},
        "mini": {"vision_tokens": 8, "text_tokens": 8, "vision_depth": 4, "text_depth": 2},
    }
    parent = ParentFit("vificlip", "zero_shot")
    parameters_vit_b16 = (149_805_057, 184_320)


    @classmethod
    def parent_fit(cls, options: BridgeOptions) -> ParentFit | None:
        """The stage-one fit, unless another start is asked for."""
        return cls.parent if options.stage_one == FIT else None
