"""Methods whose own network has a fixed set of classes and gives their scores; they are only evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, UserError, read_fixed_classes
from methods._specs._outputs import OutputsOptions, require_outputs

if TYPE_CHECKING:
    from harness.engine.model.network_model import NetworkModel
    from harness.engine.model.recognizer import RecognizerModel


class OutputsMethod(ClipMethod):
    """Scores of each view by the network; the harness averages the probabilities of views as for all methods."""

    options: OutputsOptions
    backbone: RecognizerModel | NetworkModel  # type: ignore[assignment]  # `own_model` replaces CLIP

    def setup(self) -> None:
        """Freeze all parameters."""
        self.requires_grad_(False)

    def encode_video(self, video: Tensor) -> Tensor:
        """Return scores (B, K) of all classes of the head, for videos (B, T, 3, H, W) as decoded, RGB 0..255.

        The network normalises the videos.
        """
        return self.backbone.scores(video).float()

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return the output of the head for each class, (C,).

        Raises:
            UserError: The classes of the head are not those of the label set.
        """
        require_outputs(self.name, self.backbone.facts.name, self.backbone.classes, label_set)
        classes = self.options.classes
        heads = self.backbone.classes
        if not classes:
            return torch.arange(heads)
        names = read_fixed_classes(Path(classes))
        missing = sorted(set(label_set.names) - set(names))
        if missing or len(names) != heads:
            raise UserError(
                f"{classes} names {len(names)} classes of {heads}; {len(missing)} of the label set are "
                f"not among them (first: {', '.join(missing[:3]) or 'none'}).",
                "Write one name per line, in the order of the head's outputs, spelt as in the label set.",
            )
        # Outputs in the order of the label set: heads of other authors order their classes by other files.
        return torch.tensor([names.index(name) for name in label_set.names])

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Return scores (B, C) in the order of the label set."""
        return video[:, text.to(video.device)]
