"""ViFi-CLIP: both encoders of CLIP are fine-tuned on videos, and frame features are averaged."""

from harness.api import ClipMethod, register_method
from methods._specs.vificlip import ViFiClipSpec


@register_method("vificlip")
class ViFiClip(ViFiClipSpec, ClipMethod):
    """All parameters but the token embedding are trained, `logit_scale` included."""

    def setup(self) -> None:
        """Freeze the token embedding: the original embeds prompts once into a buffer and never trains the table."""
        self.learn_all()
        self.backbone.token_embedding.requires_grad_(False)
