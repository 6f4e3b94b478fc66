"""Specification of SJE."""

from harness.api import MethodCard
from methods._recipes import SJE
from methods._specs._embedding import FEATURES, EmbeddingSpec


class SjeSpec(EmbeddingSpec):
    """Card, recipes and options of the method."""

    name = "sje"
    card = MethodCard(
        title="SJE on CLIP features",
        paper="Akata et al., Evaluation of output embeddings for fine-grained image classification, CVPR 2015",
        family="unimodal",
        source="the paper's structured joint embedding, section 3; no code is followed",
        unverified=f"AdamW takes the place of plain gradient steps that are stopped early; {FEATURES}",
    )
    recipes = SJE
    parameters_vit_b16 = (149_882_881, 262_144)
