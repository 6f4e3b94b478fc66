"""Classic zero-shot learning on CLIP's frozen features: videos as points, classes as embeddings of their names.

The papers use the features of an image network and attributes or word vectors of the classes; here both come from the
two towers of a frozen CLIP, each scaled to length 1. What a method learns is the map between them.
"""

import torch.nn.functional as F
from torch import Tensor

from harness.api import ClipMethod
from methods._specs._embedding import EmbeddingSpec


class EmbeddingMethod(EmbeddingSpec, ClipMethod):
    """CLIP is frozen and gives (B, D) video features and (C, D) class embeddings of length 1."""

    def setup(self) -> None:
        """Freeze CLIP."""
        self.freeze_clip()

    @staticmethod
    def unit(features: Tensor) -> Tensor:
        """Rows scaled to length 1, in fp32."""
        return F.normalize(features.float(), dim=-1)
