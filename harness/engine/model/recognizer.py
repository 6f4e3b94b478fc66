"""Recognisers of mmaction2 with their weights, as the model that a method uses instead of CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.engine.model.clip_model import BackboneFacts
from harness.engine.model.network_model import checkpoint_tensors
from harness.engine.model.recognizer_config import RANDOM, RecognizerConfig
from harness.engine.model.weights import state_sha256, strict_load

if TYPE_CHECKING:
    from harness.engine.video.mm_types import MMRecognizer


class RecognizerModel(nn.Module):
    """A recogniser as the model of a method, instead of CLIP.

    Attributes:
        recognizer: mmaction2's model, frozen and in eval mode.
        facts: Name, kind, weights and their hash.
        image_size: Side of the square input in pixels.
        classes: Number of outputs of the head.
    """

    def __init__(self, recognizer: MMRecognizer, facts: BackboneFacts, classes: int) -> None:
        super().__init__()
        self.recognizer = recognizer.requires_grad_(False)
        self.facts, self.image_size, self.classes = facts, facts.image_size, classes

    @property
    def visual(self) -> nn.Module:
        """The whole recogniser, which has no other tower."""
        return self.recognizer

    def scores(self, video: Tensor) -> Tensor:
        """Return class scores (B, C) before the softmax of videos (B, T, 3, H, W), RGB 0..255."""
        from harness.engine.video.mm_zoo import recognizer_scores

        return recognizer_scores(self.recognizer, video)


def load_recognizer(config: RecognizerConfig, checkpoint: Path | None) -> RecognizerModel:
    """Build the model of a config and load its weights.

    Args:
        config: The config.
        checkpoint: A weight file; None for weights drawn from seed 0.

    Raises:
        UserError: mmaction2 cannot build the model, or the checkpoint is missing, damaged or of another model.
    """
    from harness.engine.video.mm_zoo import build_recognizer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        recognizer = build_recognizer(config.model)
    if checkpoint is not None:
        strict_load(recognizer, checkpoint_tensors(checkpoint), str(checkpoint))
    state = state_sha256(dict(recognizer.state_dict()))
    arch = config.model["backbone"]["type"]
    weights, name = (checkpoint.name, checkpoint.stem) if checkpoint else (RANDOM, RANDOM)
    facts = BackboneFacts(f"{config.name}/{name}", arch, weights, state, config.size, False)
    return RecognizerModel(recognizer, facts, config.classes)
