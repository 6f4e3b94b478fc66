"""CLIP text-FT: only the text encoder is fine-tuned on videos."""

from harness.api import ClipMethod, MethodCard, register_method
from methods._prompted import TemplateOptions
from methods._recipes import ONE_ENCODER


@register_method("text_ft")
class TextFT(ClipMethod):
    """The text transformer with its positions, norm and projection learns; all else is frozen."""

    card = MethodCard(
        title="CLIP text-FT",
        paper="Rasheed et al., Fine-tuned CLIP Models are Efficient Video Learners, CVPR 2023",
        family="tuning",
        source="muzairkhattak/ViFi-CLIP, trainers/vificlip.py, USE=text",
    )
    recipes = ONE_ENCODER
    options_type = TemplateOptions

    def setup(self) -> None:
        """Freeze the vision tower, `logit_scale` and the token embedding."""
        self.requires_grad_(False)
        for parameter in self.backbone.text_parameters():
            parameter.requires_grad_(True)
        self.backbone.token_embedding.requires_grad_(False)
