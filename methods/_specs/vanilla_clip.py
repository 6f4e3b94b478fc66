"""Specification of vanilla CLIP."""

from dataclasses import dataclass

from harness.api import MethodCard, MethodSpec, option
from methods._prompted import PrecisionOptions


@dataclass(frozen=True)
class VanillaOptions(PrecisionOptions):
    """Options of the text of a class; the published text is the bare name."""

    template: str = option(
        "{}",
        "text around the class name, which replaces {}; published: the bare name",
        unused_with={"ensemble": ("action16",)},
    )
    ensemble: str = option(
        "none", "action16: the mean of normalised features over ActionCLIP's 16 templates", ("none", "action16")
    )


class VanillaClipSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "vanilla_clip"
    card = MethodCard(
        title="Vanilla CLIP",
        paper="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
        family="adapting",
        source="muzairkhattak/ViFi-CLIP, trainers/vificlip.py, ZS_EVAL",
    )
    options_type = VanillaOptions
    parameters_vit_b16 = (149_620_737, 0)
