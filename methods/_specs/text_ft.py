"""Specification of CLIP text-FT."""

from harness.api import MethodCard, MethodSpec
from methods._prompted import TemplateOptions
from methods._recipes import ONE_ENCODER


class TextFTSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "text_ft"
    card = MethodCard(
        title="CLIP text-FT",
        paper="Rasheed et al., Fine-tuned CLIP Models are Efficient Video Learners, CVPR 2023",
        family="tuning",
        source="muzairkhattak/ViFi-CLIP, trainers/vificlip.py, USE=text",
    )
    recipes = ONE_ENCODER
    options_type = TemplateOptions
    parameters_vit_b16 = (149_620_737, 38_131_200)
