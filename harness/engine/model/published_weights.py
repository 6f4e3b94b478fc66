"""CLIP's tensors of weight files, under the names of a model of open_clip."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.engine.model.transformers_names import from_transformers
from harness.engine.model.weights import read_state
from harness.weights.describe import Description

_TEXT_TOWER = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection")


def clip_state(described: Description) -> dict[str, Tensor]:
    """Read CLIP's tensors of a weight file, under OpenAI's names.

    Raises:
        UserError: The file is damaged, a value is not finite, or a name of transformers' layout is unknown.
    """
    state = read_state(described.file, described.published.clip)
    if described.published.family == "transformers":
        return from_transformers(state, described.given)
    patches = state.get("visual.conv1.weight")
    if patches is not None and patches.ndim == 5 and patches.shape[2] == 1:
        # ViCLIP embeds the patches of single frames by a convolution in three dimensions.
        state["visual.conv1.weight"] = patches[:, :, 0]
    return _joined_projections(state)


def _joined_projections(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with the queries, keys and values of an attention in one `in_proj`, as CLIP has them."""
    joined: dict[str, Tensor] = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        block, _, projection = layer.rpartition(".")
        if projection == "q_proj" and all(f"{block}.{part}_proj.{kind}" in state for part in "kv"):
            joined[f"{block}.in_proj_{kind}"] = torch.cat([state[f"{block}.{part}_proj.{kind}"] for part in "qkv"])
        elif not (projection in ("k_proj", "v_proj") and f"{block}.q_proj.{kind}" in state):
            joined[name] = value
    return joined


def fit_names(clip: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return CLIP tensors in fp32 under the names of an open_clip model, whose text tower may be a submodule."""
    if "positional_embedding" in state and not hasattr(clip, "positional_embedding"):
        state = {f"text.{name}" if name.startswith(_TEXT_TOWER) else name: value for name, value in state.items()}
    # OpenAI's file is float16, and a fit needs fp32 weights. Integer tensors, such as counters of batches, stay.
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    parameters = dict(clip.named_parameters(recurse=False))
    for name in ("logit_scale", "logit_bias"):
        # OpenAI saves a scalar, some open_clip models hold a vector of length 1.
        if name in state and name in parameters and state[name].numel() == 1:
            state[name] = state[name].reshape(parameters[name].shape)
    # As open_clip does: a file without a bias has the bias 0. It shifts all logits alike.
    if "logit_bias" in parameters and "logit_bias" not in state:
        state["logit_bias"] = torch.zeros_like(parameters["logit_bias"])
    return state
