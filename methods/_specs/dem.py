"""Specification of DEM."""

from dataclasses import dataclass

from harness.api import MethodCard, option
from methods._recipes import DEM
from methods._specs._embedding import FEATURES, EmbeddingOptions, EmbeddingSpec


@dataclass(frozen=True)
class DemOptions(EmbeddingOptions):
    """Options of the map: its size, penalty and last activation."""

    hidden: int = option(700, "width between the two layers", bounds=(1, None))
    penalty: float = option(1e-5, "lambda, on the squared weights of both layers", bounds=(0, None))
    output: str = option(
        "linear", "last activation: relu (published, for features never negative) or linear", ("linear", "relu")
    )


class DemSpec(EmbeddingSpec):
    """Card, recipes and options of the method."""

    name = "dem"
    card = MethodCard(
        title="DEM on CLIP features",
        paper="Zhang, Xiang and Gong, Learning a deep embedding model for zero-shot learning, CVPR 2017",
        family="unimodal",
        source="the paper's objective with one kind of class embedding, section 3.3; no code is followed",
        unverified=f"CLIP's features may be negative, so that the last activation is left out by default; {FEATURES}",
    )
    recipes = DEM
    options_type = DemOptions
    parameters_vit_b16 = (150_338_749, 718_012)
