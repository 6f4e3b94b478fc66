"""CLIP text-FT: only the text encoder is fine-tuned on videos."""

from harness.api import ClipMethod, register_method
from methods._specs.text_ft import TextFTSpec


@register_method("text_ft")
class TextFT(TextFTSpec, ClipMethod):
    """The text transformer with its positions, norm and projection is trained; all other parameters are frozen."""

    def setup(self) -> None:
        """Freeze the vision tower, `logit_scale` and the token embedding."""
        self.requires_grad_(False)
        for parameter in self.backbone.text_parameters():
            parameter.requires_grad_(True)
        # As in ViFi-CLIP, which embeds the prompts once into a buffer and never trains the table.
        self.backbone.token_embedding.requires_grad_(False)
