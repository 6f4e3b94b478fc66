"""CLIP image-FT: only the image encoder is fine-tuned on videos."""

from harness.api import ClipMethod, register_method
from methods._specs.image_ft import ImageFTSpec


@register_method("image_ft")
class ImageFT(ImageFTSpec, ClipMethod):
    """The vision tower is trained; text tower and `logit_scale` are frozen."""

    def setup(self) -> None:
        """Freeze all but the vision tower."""
        self.learn_only("visual.")
