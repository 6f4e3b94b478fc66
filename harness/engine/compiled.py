"""The vision tower's blocks as one compiled function: the same sums with fewer passes over memory.

A block of open_clip copies its input and its projected queries, keys and values into other layouts, and casts, norms
and activates in passes of their own; on a GPU these take longer than the products. Written as one function of tensors,
a block is compiled once for all blocks of a tower and all methods. Results differ from the plain block by rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import LayerNorm, QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn

from harness.engine.method import ClipMethod


def compile_vision(method: ClipMethod) -> int:
    """Let the vision blocks of a method run compiled, in place; parameters and their names stay as they are.

    Returns:
        How many blocks there are; 0 where the tower has no blocks of CLIP's kind, which then runs as it is.
    """
    transformer = getattr(method.backbone.visual, "transformer", None)
    blocks = [block for block in getattr(transformer, "resblocks", ()) if _is_plain(block)]
    for block in blocks:
        block.forward = partial(_run, block, type(block).forward)  # type: ignore[method-assign]
    return len(blocks)


def is_compiled(module: nn.Module) -> bool:
    """Whether a module is a block that runs compiled."""
    forward = vars(module).get("forward")
    return isinstance(forward, partial) and forward.func is _run


def _is_plain(block: nn.Module) -> bool:
    """Whether a block is what `_block` computes: pre-norm self-attention and a GELU or QuickGELU MLP."""
    if type(block) is not ResidualAttentionBlock:
        return False
    attention, parts = block.attn, dict(block.mlp.named_children())
    return (
        type(attention) is nn.MultiheadAttention
        and attention.batch_first
        and attention.in_proj_weight is not None
        and attention.in_proj_bias is not None
        and attention.dropout == 0
        and not attention.add_zero_attn
        and attention.bias_k is None
        and all(type(norm) is LayerNorm for norm in (block.ln_1, block.ln_2))
        and all(isinstance(scale, nn.Identity) for scale in (block.ls_1, block.ls_2))
        and type(parts.get("gelu")) in (nn.GELU, QuickGELU)
    )


def _run(block: Any, plain: Callable[..., Tensor], q_x: Tensor, *others: Any, **named: Any) -> Tensor:
    """A block's forward pass: compiled for self-attention without a mask, as it was for anything else."""
    if others or any(value is not None for value in named.values()):
        return plain(block, q_x, *others, **named)
    attention, mlp = block.attn, block.mlp
    weights = (
        block.ln_1.weight, block.ln_1.bias, attention.in_proj_weight, attention.in_proj_bias,
        attention.out_proj.weight, attention.out_proj.bias, block.ln_2.weight, block.ln_2.bias,
        mlp.c_fc.weight, mlp.c_fc.bias, mlp.c_proj.weight, mlp.c_proj.bias,
    )  # fmt: skip
    quick = isinstance(mlp.gelu, QuickGELU)
    return _compiled()(q_x, weights, attention.num_heads, block.ln_1.eps, block.ln_2.eps, quick)


@cache
def _compiled() -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(_block)
    return compiled


def _block(x: Tensor, weights: tuple[Tensor, ...], heads: int, eps_1: float, eps_2: float, quick: bool) -> Tensor:
    """Tokens (N, L, width) -> the same shape: x + attention(norm x), then x + MLP(norm x), as in open_clip."""
    norm_1, shift_1, w_in, b_in, w_out, b_out, norm_2, shift_2, w_up, b_up, w_down, b_down = weights
    width = x.shape[-1]
    y = F.layer_norm(x, (width,), norm_1, shift_1, eps_1).to(x.dtype)
    q, k, v = (
        part.unflatten(-1, (heads, width // heads)).transpose(1, 2)
        for part in F.linear(y, w_in, b_in).chunk(3, dim=-1)
    )
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = x + F.linear(y, w_out, b_out)
    y = F.linear(F.layer_norm(x, (width,), norm_2, shift_2, eps_2).to(x.dtype), w_up, b_up)
    y = y * torch.sigmoid(1.702 * y) if quick else F.gelu(y)
    return x + F.linear(y, w_down, b_down)
