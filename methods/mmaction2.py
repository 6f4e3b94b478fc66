"""Any recogniser of mmaction2 by config and checkpoint: video networks with a fixed set of classes, evaluated only."""

from pathlib import Path

import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, UserError, read_head_classes, register_method
from methods._specs.mmaction2 import RecogniserSpec, require_size


@register_method("mmaction2")
class Recogniser(RecogniserSpec, ClipMethod):
    """The recogniser's scores of each view; the harness averages the probabilities of views as for all methods."""

    def setup(self) -> None:
        """Nothing learns."""
        self.requires_grad_(False)

    def encode_video(self, video: Tensor) -> Tensor:
        """Scores of all the head's classes, (B, K), of videos (B, T, 3, H, W) as decoded, RGB 0..255.

        The recogniser's own preprocessor normalises.
        """
        return self.backbone.scores(video).float()

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Which output of the head stands for each class, (C,).

        Raises:
            UserError: The head has other classes than the label set.
        """
        heads = self.backbone.classes
        require_size(self.backbone.facts.name, heads, label_set)
        if not self.options.classes:
            return torch.arange(heads)
        names = read_head_classes(Path(self.options.classes))
        missing = sorted(set(label_set.names) - set(names))
        if missing or len(names) != heads:
            raise UserError(
                f"{self.options.classes} names {len(names)} classes of {heads}; {len(missing)} of the label set are "
                f"not among them (first: {', '.join(missing[:3]) or 'none'}).",
                "One name a line, in the order of the head's outputs, spelt as in the label set.",
            )
        return torch.tensor([names.index(name) for name in label_set.names])

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Scores (B, C) in the order of the label set."""
        return video[:, text.to(video.device)]
