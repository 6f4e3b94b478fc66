"""Specification of ViFi-CLIP."""

from harness.api import MethodCard, MethodSpec
from methods._prompted import TemplateOptions
from methods._recipes import BOTH_ENCODERS


class ViFiClipSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "vificlip"
    card = MethodCard(
        title="ViFi-CLIP",
        paper="Rasheed et al., Fine-tuned CLIP Models are Efficient Video Learners, CVPR 2023",
        family="tuning",
        source="muzairkhattak/ViFi-CLIP, trainers/vificlip.py, USE=both",
    )
    recipes = BOTH_ENCODERS
    options_type = TemplateOptions
    parameters_vit_b16 = (149_620_737, 124_323_841)
