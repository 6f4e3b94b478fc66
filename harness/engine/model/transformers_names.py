"""The names of transformers' CLIPModel translated to those of open_clip."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from harness.base.errors import UserError

_TOWERS = {"vision_model": "visual.", "text_model": ""}
_OUTSIDE = {
    "visual_projection.weight": "visual.proj",
    "text_projection.weight": "text_projection",
    "logit_scale": "logit_scale",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
}
# `pre_layrnorm` is spelled so in transformers.
_NORMS = {"pre_layrnorm": "ln_pre", "post_layernorm": "ln_post", "final_layer_norm": "ln_final"}
_IN_BLOCK = {
    "self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}  # fmt: skip


def from_transformers(state: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Return the tensors of transformers' CLIPModel under open_clip's names.

    The projections are linear layers in transformers and matrices in open_clip, and each block of open_clip holds the
    three projections of attention as one matrix.

    Args:
        state: Tensors by transformers' names.
        what: Name of the file in errors.

    Raises:
        UserError: A tensor has an unknown name, or one of the three projections of a block is missing.
    """
    translated: dict[str, Tensor] = {}
    attention: dict[str, dict[str, Tensor]] = {}
    unknown: list[str] = []
    for name, value in state.items():
        parts = re.fullmatch(r"(vision_model|text_model)\.(?:encoder\.layers\.(\d+)\.)?(.+)\.(weight|bias)", name)
        if name in _OUTSIDE:
            translated[_OUTSIDE[name]] = value.T.contiguous() if name.endswith("projection.weight") else value
        elif parts is None:
            unknown.append(name)
        elif parts[2] is None and parts[3] in _NORMS:
            translated[f"{_TOWERS[parts[1]]}{_NORMS[parts[3]]}.{parts[4]}"] = value
        elif parts[2] is not None and parts[3] in _IN_BLOCK:
            translated[f"{_block(parts)}{_IN_BLOCK[parts[3]]}.{parts[4]}"] = value
        elif parts[2] is not None and (projection := re.fullmatch(r"self_attn\.([qkv])_proj", parts[3])):
            attention.setdefault(f"{_block(parts)}attn.in_proj_{parts[4]}", {})[projection[1]] = value
        else:
            unknown.append(name)
    incomplete = [name for name, projections in attention.items() if len(projections) != 3]
    if unknown or incomplete:
        first = unknown[0] if unknown else f"q, k or v of {incomplete[0]} is missing"
        raise UserError(
            f"{what} has the names of transformers' CLIP, but {len(unknown) + len(incomplete)} tensors do not fit it "
            f"(first: {first}).",
            "Give the weights of a plain CLIPModel.",
        )
    for name, projections in attention.items():
        translated[name] = torch.cat([projections[kind] for kind in "qkv"])
    return translated


def _block(parts: re.Match[str]) -> str:
    """The prefix of a block's tensors in open_clip."""
    return f"{_TOWERS[parts[1]]}transformer.resblocks.{parts[2]}."
