"""Specification of ESZSL."""

from dataclasses import dataclass

from harness.api import MethodCard, UserError, option
from methods._recipes import CLOSED_FORM
from methods._specs._embedding import FEATURES, EmbeddingOptions, EmbeddingSpec


@dataclass(frozen=True)
class EszslOptions(EmbeddingOptions):
    """Options of the two penalties."""

    visual_penalty: float | None = option(
        None, "gamma; none: chosen on held-out training classes (1 if there are fewer than ten classes)"
    )
    class_penalty: float | None = option(None, "lambda; none: chosen likewise")

    def __post_init__(self) -> None:
        """Refuse penalties that are not above zero, for which the problem may have no unique solution."""
        for name, value in (("visual_penalty", self.visual_penalty), ("class_penalty", self.class_penalty)):
            if value is not None and not value > 0:
                raise UserError(f"eszsl:{name} is {value:g}, expected a number above 0, or none.")


class EszslSpec(EmbeddingSpec):
    """Card, recipes and options of the method."""

    name = "eszsl"
    card = MethodCard(
        title="ESZSL on CLIP features",
        paper="Romera-Paredes and Torr, An embarrassingly simple approach to zero-shot learning, ICML 2015",
        family="unimodal",
        source="the paper's equation for V; no code is followed",
        unverified=FEATURES,
    )
    recipes = CLOSED_FORM
    options_type = EszslOptions
    parameters_vit_b16 = (149_882_881, 262_144)
