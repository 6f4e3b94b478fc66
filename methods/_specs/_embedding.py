"""Shared part of the specifications of classic zero-shot learning on frozen features of CLIP."""

from dataclasses import dataclass

from harness.api import MethodOptions, MethodSpec, option

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
