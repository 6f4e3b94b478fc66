"""Video networks of methods that use no CLIP, with their weights: the model of such a method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.engine.model.clip_model import BackboneFacts
from harness.engine.model.recognizer_config import RANDOM
from harness.engine.model.weights import read_weights, require_finite, state_sha256, strict_load

if TYPE_CHECKING:
    from harness.engine.model.own_network import OwnNetwork

CONTAINERS = ("state_dict", "model_state")
"""Keys below which mmengine and the SlowFast code save the tensors."""


class NetworkModel(nn.Module):
    """A video network as the model of a method, instead of CLIP.

    Attributes:
        network: The network, frozen and in eval mode.
        facts: Name, kind, weights and their hash.
        image_size: Side of the square input in pixels.
        classes: Number of outputs.
    """

    def __init__(self, network: nn.Module, facts: BackboneFacts, classes: int) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.facts, self.image_size, self.classes = facts, facts.image_size, classes

    @property
    def visual(self) -> nn.Module:
        """The whole network, which has no other tower."""
        return self.network

    def scores(self, video: Tensor) -> Tensor:
        """Return class scores (B, C) before the softmax of videos (B, T, 3, H, W), RGB 0..255."""
        scores: Tensor = self.network(video)
        return scores


def load_network(chosen: OwnNetwork) -> NetworkModel:
    """Build a network and load its weights.

    Raises:
        UserError: The checkpoint is missing, damaged or of another network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = chosen.build().eval()
    weights = chosen.weights_name
    if chosen.checkpoint != RANDOM:
        path = Path(chosen.checkpoint)
        state = {n: v for n, v in checkpoint_tensors(path).items() if not n.startswith(chosen.unused)}
        strict_load(network, state, str(path), hint=f"Choose the settings of {chosen.name} that the weights belong to.")
        weights = path.name
    facts = BackboneFacts(
        f"{chosen.name}/{chosen.weights_name}", chosen.name, weights, state_sha256(network.state_dict()),
        chosen.input.size, False,
    )  # fmt: skip
    return NetworkModel(network, facts, chosen.classes)


def checkpoint_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint of mmengine or of the SlowFast code, or of a plain state dict.

    Raises:
        UserError: The file is missing or damaged, or a value is not finite.
    """
    content, _ = read_weights(path)
    state = next((inner for key in CONTAINERS if isinstance(inner := content.get(key), Mapping)), content)
    # Checkpoints of several GPUs carry the prefix of torch's DataParallel.
    tensors = {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    require_finite(tensors, str(path))
    return tensors
