"""Heads of methods that classify by texts, or by a linear layer with fixed classes."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, UserError
from methods._specs._head import CLASSES, HeadOptions, HeadSpec


class HeadMethod(HeadSpec, ClipMethod):
    """CLIP with a choice of heads. `setup()` calls `add_head`; `encode_video` gives the features that a head takes."""

    options: HeadOptions

    def add_head(self, std: float) -> None:
        """Add the linear layer if the option `head` is `classes`.

        Args:
            std: Standard deviation of the initial weights.

        Raises:
            UserError: The number of classes is not given.
        """
        if self.options.head != CLASSES:
            return
        if self.options.fixed_classes < 1:
            raise UserError(
                f"{self.name} has head=classes and fixed_classes={self.options.fixed_classes}, expected the number of "
                "classes.",
                f"Set the option {self.name}:fixed_classes=N.",
            )
        width = self.backbone.visual.ln_post.weight.shape[0]
        self.head_dropout = nn.Dropout(self.options.head_dropout)
        self.fc = nn.Linear(width, self.options.fixed_classes)
        nn.init.normal_(self.fc.weight, std=std)
        nn.init.zeros_(self.fc.bias)

    @abstractmethod
    def encode_class_tokens(self, video: Tensor) -> Tensor:
        """Return class tokens (B, T, width) after the last block: (B, T, 3, H, W) -> (B, T, width)."""

    def encode_frames(self, video: Tensor) -> Tensor:
        """Return frame features (B, T, D) in CLIP's joint space, not normalised."""
        classes = self.encode_class_tokens(video)
        return torch.unflatten(self.backbone.project_class_token(classes.flatten(0, 1)[:, None]), 0, video.shape[:2])

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return text features (C, D), not normalised; or the output (C,) of the linear layer for each class.

        Raises:
            NotApplicableError: The linear layer has another number of classes than the label set.
        """
        if self.options.head != CLASSES:
            return super().encode_text(label_set)
        self.check_classes(self.options, label_set)
        return torch.arange(len(label_set))

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Return logits (B, C): cosine times scale, or the output of the linear layer for features (B, width)."""
        if self.options.head != CLASSES:
            return super().score(video, text)
        with self.in_fp32(video):
            logits: Tensor = self.fc(self.head_dropout(video.float()))
        return logits[:, text.to(video.device)]
