"""SJE: a bilinear compatibility of videos and classes that ranks the true class above all other classes."""

import torch
from torch import Tensor, nn

from harness.api import register_method
from methods._embedding import EmbeddingMethod
from methods._specs.sje import SjeSpec


@register_method("sje")
class Sje(SjeSpec, EmbeddingMethod):
    """F(x, y) = x' W s_y of the true class should exceed F of each other class by a margin of 1."""

    def setup(self) -> None:
        """Freeze CLIP; W is drawn with the deviation 1/sqrt(D)."""
        super().setup()
        self.compatibility = nn.Parameter(torch.randn(self.embed_dim, self.embed_dim) * self.embed_dim**-0.5)

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Return compatibilities (B, C)."""
        with self.in_fp32(video):
            return self.unit(video) @ self.compatibility.float() @ self.unit(text).t()

    def feature_loss(self, video: Tensor, text: Tensor, targets: Tensor) -> Tensor:
        """Return the structured hinge: max over y of [delta(y_n, y) + F(x_n, y) - F(x_n, y_n)], delta 1 if y != y_n.

        Its gradient in W is x_n (s_y - s_yn)' for the class y that violates most: minus the update of the paper.
        """
        scores, true = self.score(video, text), targets.argmax(dim=-1, keepdim=True)
        margins = torch.ones_like(scores).scatter(1, true, 0.0)
        # The true class itself has the value 0, so that the maximum is never negative.
        return (margins + scores - scores.gather(1, true)).amax(dim=-1).mean()
