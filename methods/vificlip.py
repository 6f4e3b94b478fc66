"""ViFi-CLIP: both CLIP encoders fine-tuned on videos, frame features averaged, nothing temporal added."""

from harness.api import ClipMethod, MethodCard, register_method
from methods._prompted import TemplateOptions
from methods._recipes import BOTH_ENCODERS


@register_method("vificlip")
class ViFiClip(ClipMethod):
    """Everything learns, `logit_scale` included, except the token embedding."""

    card = MethodCard(
        title="ViFi-CLIP",
        paper="Rasheed et al., Fine-tuned CLIP Models are Efficient Video Learners, CVPR 2023",
        family="tuning",
        source="muzairkhattak/ViFi-CLIP, trainers/vificlip.py, USE=both",
    )
    recipes = BOTH_ENCODERS
    options_type = TemplateOptions

    def setup(self) -> None:
        """The original embeds prompts once into a buffer, so its token embedding never learns; here it is frozen."""
        self.requires_grad_(True)
        self.backbone.token_embedding.requires_grad_(False)
