"""The shared part of the specifications of classic zero-shot learning on CLIP's frozen features."""

from dataclasses import dataclass

from harness.api import MethodOptions, MethodSpec, option

FEATURES = (
    "the published rows take features and class embeddings of other networks and other training lists; here both are "
    "CLIP's, and the settings are this project's own"
)
"""A remark that the cards of these methods share."""


@dataclass(frozen=True)
class EmbeddingOptions(MethodOptions):
    """The text whose feature is the class embedding."""

    template: str = option("a photo of a {}.", "text around the class name, which replaces {}")


class EmbeddingSpec(MethodSpec):
    """Methods with a text per class."""

    options_type = EmbeddingOptions
