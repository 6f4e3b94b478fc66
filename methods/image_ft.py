"""CLIP image-FT: only the image encoder is fine-tuned on videos."""

from harness.api import ClipMethod, MethodCard, register_method
from methods._prompted import TemplateOptions
from methods._recipes import ONE_ENCODER


@register_method("image_ft")
class ImageFT(ClipMethod):
    """The vision tower learns; text tower and `logit_scale` are frozen."""

    card = MethodCard(
        title="CLIP image-FT",
        paper="Rasheed et al., Fine-tuned CLIP Models are Efficient Video Learners, CVPR 2023",
        family="tuning",
        source="muzairkhattak/ViFi-CLIP, trainers/vificlip.py, USE=image",
    )
    recipes = ONE_ENCODER
    options_type = TemplateOptions

    def setup(self) -> None:
        """Freeze all but the vision tower."""
        self.learn_only("visual.")
