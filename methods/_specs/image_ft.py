"""Specification of CLIP image-FT."""

from harness.api import MethodCard, MethodSpec
from methods._prompted import TemplateOptions
from methods._recipes import ONE_ENCODER


class ImageFTSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "image_ft"
    card = MethodCard(
        title="CLIP image-FT",
        paper="Rasheed et al., Fine-tuned CLIP Models are Efficient Video Learners, CVPR 2023",
        family="tuning",
        source="muzairkhattak/ViFi-CLIP, trainers/vificlip.py, USE=image",
    )
    recipes = ONE_ENCODER
    options_type = TemplateOptions
    parameters_vit_b16 = (149_620_737, 86_192_640)
