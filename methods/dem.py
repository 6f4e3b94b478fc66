"""DEM: class embeddings are mapped into the space of videos, and a video has the class of the nearest embedding."""

import torch
from torch import Tensor, nn

from harness.api import ParameterGroup, Recipe, register_method
from methods._embedding import EmbeddingMethod
from methods._specs.dem import DemOptions, DemSpec


@register_method("dem")
class Dem(DemSpec, EmbeddingMethod):
    """Two layers map the embedding of a class to the features of its videos, trained by least squares."""

    options: DemOptions

    def setup(self) -> None:
        """Freeze CLIP; add the two layers."""
        super().setup()
        self.first = nn.Linear(self.embed_dim, self.options.hidden)
        self.second = nn.Linear(self.options.hidden, self.embed_dim)

    def embed(self, text: Tensor) -> Tensor:
        """Return class embeddings (C, A) mapped to (C, D): f(W2 f(W1 s)), where f is the positive part."""
        mapped: Tensor = self.second(torch.relu(self.first(self.unit(text))))
        return torch.relu(mapped) if self.options.output == "relu" else mapped

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Return minus the squared distance of each video and class, (B, C)."""
        with self.in_fp32(video):
            return -torch.cdist(self.unit(video), self.embed(text)).square()

    def feature_loss(self, video: Tensor, text: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared distance of a video and its class, plus lambda (|W1|^2 + |W2|^2)."""
        with self.in_fp32(video):
            embedded = self.embed(text)[targets.argmax(dim=-1)]
            distance = (self.unit(video) - embedded).square().sum(dim=-1).mean()
            weights: Tensor = self.first.weight.square().sum() + self.second.weight.square().sum()
            return distance + self.options.penalty * weights

    def parameter_groups(self, recipe: Recipe) -> list[ParameterGroup]:
        """Return a single group without weight decay: the penalty is part of the loss, as published."""
        return [{"params": self.trainable(), "lr": recipe.lr, "weight_decay": 0.0}]
