"""Shared part of the specifications of classic zero-shot learning on frozen features of CLIP."""

from dataclasses import dataclass

from harness.api import MethodOptions, MethodSpec, Recipe, option
from methods._specs._hard_labels import require_hard_labels

FEATURES = (
    "the published rows take features and class embeddings of other networks and other training lists; here both are "
    "CLIP's, and the settings are this project's own"
)
"""Remark on the cards of these methods."""


@dataclass(frozen=True)
class EmbeddingOptions(MethodOptions):
    """Options of methods that embed a class by a text."""

    template: str = option("a photo of a {}.", "text around the class name, which replaces {}")


class EmbeddingSpec(MethodSpec):
    """Specification of methods that embed a class by a text."""

    options_type = EmbeddingOptions
    frozen_clip = True

    @classmethod
    def check_recipe(cls, recipe: Recipe) -> None:
        """Refuse targets that are smoothed or blended, and unknown parameter groups."""
        super().check_recipe(recipe)
        require_hard_labels(cls.name, recipe)
