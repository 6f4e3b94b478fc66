"""ViFi-CLIP: both CLIP encoders fine-tuned on videos, frame features averaged, nothing temporal added."""

from harness.api import ClipMethod, register_method
from methods._specs.vificlip import ViFiClipSpec


@register_method("vificlip")
class ViFiClip(ViFiClipSpec, ClipMethod):
    """Everything learns, `logit_scale` included, except the token embedding."""

    def setup(self) -> None:
        """The original embeds prompts once into a buffer, so its token embedding never learns; here it is frozen."""
        self.requires_grad_(True)
        self.backbone.token_embedding.requires_grad_(False)
