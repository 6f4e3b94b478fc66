"""Classic zero-shot learning on CLIP's frozen features: videos are points, classes are embeddings of their names.

The papers use features of an image network, and attributes or word vectors of the classes. Here both come from the two
towers of a frozen CLIP, scaled to length 1. A method learns the map between video features and class embeddings.
"""

import torch.nn.functional as F
from torch import Tensor

from harness.api import ClipMethod
from methods._specs._embedding import EmbeddingOptions, EmbeddingSpec


class EmbeddingMethod(EmbeddingSpec, ClipMethod):
    """CLIP is frozen and gives video features (B, D) and class embeddings (C, D) of length 1."""

    options: EmbeddingOptions

    def setup(self) -> None:
        """Freeze CLIP."""
        self.freeze_clip()

    @staticmethod
    def unit(features: Tensor) -> Tensor:
        """Return the rows scaled to length 1, in fp32."""
        return F.normalize(features.float(), dim=-1)
