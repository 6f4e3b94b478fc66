"""Recognisers of mmaction2 by config and checkpoint: video networks with a fixed set of classes, only evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, UserError, read_fixed_classes, register_method
from methods._specs.mmaction2 import RecogniserSpec, RecognizerOptions, require_size

if TYPE_CHECKING:
    from harness.engine.model.recognizer import RecognizerModel


@register_method("mmaction2")
class Recogniser(RecogniserSpec, ClipMethod):
    """Scores of each view by the recogniser; the harness averages the probabilities of views as for all methods."""

    options: RecognizerOptions
    backbone: RecognizerModel  # type: ignore[assignment]  # `own_model` replaces CLIP

    def setup(self) -> None:
        """Freeze all parameters."""
        self.requires_grad_(False)

    def encode_video(self, video: Tensor) -> Tensor:
        """Return scores (B, K) of all classes of the head, for videos (B, T, 3, H, W) as decoded, RGB 0..255.

        The preprocessor of the recogniser normalises the videos.
        """
        return self.backbone.scores(video).float()

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return the output of the head for each class, (C,).

        Raises:
            UserError: The classes of the head are not those of the label set.
        """
        heads = self.backbone.classes
        require_size(self.backbone.facts.name, heads, label_set)
        if not self.options.classes:
            return torch.arange(heads)
        names = read_fixed_classes(Path(self.options.classes))
        missing = sorted(set(label_set.names) - set(names))
        if missing or len(names) != heads:
            raise UserError(
                f"{self.options.classes} names {len(names)} classes of {heads}; {len(missing)} of the label set are "
                f"not among them (first: {', '.join(missing[:3]) or 'none'}).",
                "One name a line, in the order of the head's outputs, spelt as in the label set.",
            )
        # Outputs in the order of the label set: heads of other authors order their classes by other files.
        return torch.tensor([names.index(name) for name in label_set.names])

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Return scores (B, C) in the order of the label set."""
        return video[:, text.to(video.device)]
