"""The features of a plain vision transformer on a CPU, with fewer passes over memory than open_clip's modules.

On a CPU the passes between the matrix products take as long as the products. Three of them are saved here, and the
results differ from open_clip's by rounding:

* queries, keys and values are views of one product; open_clip copies them, and adds three gradients of its full size;
* QuickGELU, x * sigmoid(1.702 x), is one pass: silu(1.702 x) / 1.702, with both factors in the weights of the MLP;
* the last block computes the class token alone, which is the only token that is read.

On a GPU the blocks are compiled instead, see `harness.engine.model.compiled`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from open_clip.transformer import LayerNorm, QuickGELU, Transformer, VisionTransformer
from torch import Tensor, nn

from harness.engine.model.compiled import is_plain

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Block, VisionTower

SLOPE = 1.702
"""Factor of QuickGELU."""
FEW = 16
"""Number of rows from which a matrix product has the same bits for each row (measured with torch's MKL on a CPU)."""


Step = Callable[[Callable[["Block", Tensor, int], Tensor], "Block", Tensor, int], Tensor]
"""Calls a function of a block, tokens and a number of tokens."""


def is_lean(visual: nn.Module, images: Tensor, recomputes: bool = False) -> bool:
    """Return whether `lean_features` computes the features of images: CLIP's own tower, unchanged, on a CPU.

    A method or a user may have replaced a layer, hooked a module or compiled a block, which `lean_features` would pass
    over.

    Args:
        visual: The vision tower.
        images: Its input. Tensors of other classes (fake or sharded tensors) stand for other devices.
        recomputes: Whether blocks are wrapped for `--grad-checkpointing`.
    """
    if type(visual) is not VisionTransformer or type(images) is not Tensor or images.device.type != "cpu":
        return False
    transformer = visual.get_submodule("transformer")
    outside = (visual, transformer, visual.conv1, visual.ln_pre, visual.ln_post)
    return (
        visual.attn_pool is None
        and visual.pool_type == "tok"
        and not visual.output_tokens
        and isinstance(visual.patch_dropout, nn.Identity)
        and type(transformer) is Transformer
        and not transformer.grad_checkpointing
        and type(visual.conv1) is nn.Conv2d
        and all(type(norm) is LayerNorm for norm in (visual.ln_pre, visual.ln_post))
        and not any(map(_is_hooked, outside))
        and not any(callable(getattr(type(module), name, None)) for module in outside for name in vars(module))
        and len(transformer.resblocks) > 0
        and all(_is_unchanged(block, recomputes) for block in transformer.resblocks)
    )


def _is_hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _is_unchanged(block: Block, recomputes: bool) -> bool:
    """Whether a block computes what its class computes, with its activations stored or recomputed."""
    forward = vars(block).get("forward")
    if forward is not None:
        inner = forward.args if isinstance(forward, partial) else ()
        if not recomputes or inner != (MethodType(type(block).forward, block),):
            return False
    return not _is_hooked(block) and is_plain(block, wrapped=True)


def lean_features(visual: VisionTower, images: Tensor, step: Step) -> Tensor:
    """Return image features (N, D) of images (N, 3, H, W), not normalised.

    Args:
        visual: The vision tower.
        images: The images.
        step: Computes a block: calls its first argument with the other arguments, or recomputes it.
    """
    x: Tensor = visual.conv1(images).flatten(2).transpose(1, 2)
    token = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
    x = visual.ln_pre(torch.cat([token, x], dim=1) + visual.positional_embedding.to(x.dtype))
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        x = step(_after, block, x, x.shape[1])
    pooled: Tensor = visual.ln_post(step(_after, last, x, 1)[:, 0])
    return pooled @ visual.proj


def _after(block: Block, x: Tensor, tokens: int) -> Tensor:
    """Return the first tokens (N, tokens, width) after a block of tokens (N, L, width)."""
    attention, width = block.attn, x.shape[-1]
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    normed = block.ln_1(x)
    linear: Callable[[Tensor, Tensor, Tensor], Tensor] = F.linear
    if tokens == x.shape[1]:
        query, key, value = _split(linear(normed, weight, bias), 3, attention.num_heads)
    else:
        linear = _linear_of_few
        (query,) = _split(linear(normed[:, :tokens], weight[:width], bias[:width]), 1, attention.num_heads)
        key, value = _split(F.linear(normed, weight[width:], bias[width:]), 2, attention.num_heads)
        x = x[:, :tokens]
    mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    x = x + linear(mixed, attention.out_proj.weight, attention.out_proj.bias)
    up, down, hidden = block.mlp.c_fc, block.mlp.c_proj, block.ln_2(x)
    if isinstance(block.mlp.gelu, QuickGELU):
        hidden = F.silu(linear(hidden, SLOPE * up.weight, SLOPE * up.bias))
        return x + linear(hidden, down.weight / SLOPE, down.bias)
    return x + linear(F.gelu(linear(hidden, up.weight, up.bias)), down.weight, down.bias)


def _linear_of_few(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return `F.linear` of a few rows, equal in every bit to the result of these rows among more rows.

    Products of fewer than `FEW` rows are computed by another kernel. The features of a clip would then depend, by
    rounding, on the number of clips that are encoded with it.
    """
    missing = FEW - len(x)
    if missing <= 0:
        return F.linear(x, weight, bias)
    return F.linear(torch.cat([x, x.new_zeros(missing, *x.shape[1:])]), weight, bias)[: len(x)]


def _split(projected: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Return the parts (N, heads, L, D) of projected tokens (N, L, parts * heads * D), as views."""
    split = torch.unflatten(projected, -1, (parts, heads, -1))
    return tuple(part.transpose(1, 2) for part in split.unbind(2))
