"""Vanilla CLIP: no training; frame features averaged and compared with the text of the bare class name."""

from dataclasses import dataclass

from harness.api import ClipMethod, MethodCard, MethodOptions, option, register_method


@dataclass(frozen=True)
class VanillaOptions(MethodOptions):
    """The text around a class name; published is the bare name."""

    template: str = option("{}", "text around the class name, which replaces {}; published: the bare name")


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
