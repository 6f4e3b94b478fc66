"""Specification of Efficient-Prompt."""

from dataclasses import dataclass

from harness.api import MethodCard, MethodOptions, MethodSpec, option
from methods._recipes import EFFICIENT_PROMPT


@dataclass(frozen=True)
class EfficientPromptOptions(MethodOptions):
    """Numbers of learned vectors and layers; the values behind the published rows A5 and A6 are not known."""

    prefix: int = option(16, "learned vectors before the class name", bounds=(0, None))
    postfix: int = option(16, "learned vectors after the class name", bounds=(0, None))
    temporal: bool = option(True, "learn positions and a Transformer over frames; otherwise frames are averaged")
    temporal_layers: int = option(
        1,
        "blocks of that Transformer; 0 leaves the positions alone",
        bounds=(0, None),
        unused_with={"temporal": (False,)},
    )
    frames: int = option(
        16, "frames per view, for the temporal positions", bounds=(1, None), unused_with={"temporal": (False,)}
    )


class EfficientPromptSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "efficient_prompt"
    card = MethodCard(
        title="Efficient-Prompt",
        paper="Ju et al., Prompting Visual-Language Models for Efficient Video Understanding, ECCV 2022",
        class_text="learned",
        family="adapting",
        source="ju-chen/Efficient-Prompt, src/model.py and src/prompt.py",
        unverified=(
            "the settings behind the rows A5 and A6 and their training for the protocols here are not public; the "
            "published code samples frames at random rates from stored features and repeats the test five times"
        ),
    )
    recipes = EFFICIENT_PROMPT
    options_type = EfficientPromptOptions
    frozen_clip = True
    parameters_vit_b16 = (152_820_737, 3_200_000)
