"""Specification of X-CLIP."""

from dataclasses import dataclass

from harness.api import MethodCard, MethodOptions, MethodSpec, option
from methods._prompted import PUBLISHED_OR_CLEAN
from methods._recipes import XCLIP


@dataclass(frozen=True)
class XClipOptions(MethodOptions):
    """Sizes of the added modules; the defaults are the published values."""

    template: str = option("{}", "text around the class name, which replaces {}; published: the bare name")
    logits: str = option("clean", "last product: published rounds it to float16, clean keeps fp32", PUBLISHED_OR_CLEAN)
    frames: int = option(32, "frames per view; the weights fit this number only", bounds=(1, None))
    mit_layers: int = option(1, "blocks of the multi-frame integration transformer", bounds=(1, None))
    prompt_layers: int = option(2, "layers of the video-specific prompt generator", bounds=(1, None))
    alpha: float = option(0.1, "initial weight of the video-specific part of a text", bounds=(0, None))
    tune_text: bool = option(False, "let the text tower, token embedding and scale learn too (published: frozen)")
    new_lr: float = option(10.0, "learning rate of the added modules, in multiples of the recipe's", bounds=(0, None))


class XClipSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "xclip"
    card = MethodCard(
        title="X-CLIP",
        paper="Ni et al., Expanding Language-Image Pretrained Models for General Video Recognition, ECCV 2022",
        family="adapting",
        source="microsoft/VideoX, X-CLIP/models/{xclip,cct,mit,prompt}.py",
        unverified=(
            "how it was trained for the base-to-novel and SSv2 tables is not public, and "
            "no published checkpoint was available"
        ),
    )
    recipes = XCLIP
    options_type = XClipOptions
    parameters_vit_b16 = (194_941_441, 131_513_344)
