"""Cache of the text features of a frozen text tower."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.engine.model.clip_model import Backbone

Key = tuple[tuple[str, ...], bool, torch.device, torch.dtype | None, tuple[tuple[int, int], ...]]


class FrozenText:
    """Text features of the last texts, kept until a text, a weight, the device or the precision changes.

    The training steps of a method with a frozen text tower encode the same prompts again and again.
    """

    def __init__(self) -> None:
        self._key: Key | None = None
        self._features: Tensor | None = None

    def encode(self, backbone: Backbone, texts: tuple[str, ...], half: bool) -> Tensor:
        """Return text features (N, D) of N texts, not normalised; computed anew if the text side learns.

        Args:
            backbone: The CLIP model.
            texts: The texts.
            half: Round token embeddings to float16.
        """
        parameters = backbone.text_parameters()
        # Tensors made in inference mode cannot be used by a later training step, so they are not kept.
        if any(p.requires_grad for p in parameters) or torch.is_inference_mode_enabled():
            return backbone.encode_texts(texts, half)
        device = backbone.logit_scale.device
        mixed = device.type != "meta" and torch.is_autocast_enabled(device.type)
        autocast = torch.get_autocast_dtype(device.type) if mixed else None
        # `_version` counts in-place changes of a tensor, e.g. by `load_state_dict`.
        key = (texts, half, device, autocast, tuple((id(p), p._version) for p in parameters))
        if self._features is None or self._key != key:
            with torch.no_grad():
                self._features = backbone.encode_texts(texts, half)
            self._key = key
        return self._features

    def __deepcopy__(self, memo: dict[int, FrozenText]) -> FrozenText:
        """Return an empty cache: the parameters of a copied method are other tensors."""
        return FrozenText()
