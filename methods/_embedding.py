"""Classic zero-shot learning on CLIP's frozen features: videos as points, classes as embeddings of their names.

The papers use the features of an image network and attributes or word vectors of the classes; here both come from the
two towers of a frozen CLIP, each scaled to length 1. What a method learns is the map between them.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from harness.api import ClipMethod, MethodOptions, option

FEATURES = (
    "the published rows take features and class embeddings of other networks and other training lists; here both are "
    "CLIP's, and the settings are this project's own"
)
"""What the cards of these methods say besides."""


@dataclass(frozen=True)
class EmbeddingOptions(MethodOptions):
    """The text whose feature is the class embedding."""

    template: str = option("a photo of a {}.", "text around the class name, which replaces {}")


class EmbeddingMethod(ClipMethod):
    """CLIP is frozen and gives (B, D) video features and (C, D) class embeddings of length 1."""

    options_type = EmbeddingOptions

    def setup(self) -> None:
        """Freeze CLIP."""
        self.freeze_clip()

    @staticmethod
    def unit(features: Tensor) -> Tensor:
        """Rows scaled to length 1, in fp32."""
        return F.normalize(features.float(), dim=-1)
