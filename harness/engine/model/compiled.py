"""The vision tower's blocks as one compiled function: the same sums with fewer passes over memory.

A block of open_clip copies its input and its projected queries, keys and values into other layouts, and casts, norms
and activates in passes of their own; on a GPU these take longer than the products. Written as one function of tensors,
a block is compiled once for all blocks of a tower and all methods. Results differ from the plain block by rounding.

The compiler takes its time first, so that it pays from a number of frames on (`compile_if_it_pays`). What decides is
the work as a whole, never what is left of it: a run that was interrupted computes the rest in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import LayerNorm, QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn

from harness.base.errors import EXIT_FAILED, UserError
from harness.engine.compute.device import Device
from harness.engine.model.clip_model import Backbone

logger = logging.getLogger(__name__)
SAVED = {("cuda", "fit"): 0.19e-3, ("cuda", "eval"): 0.074e-3}
"""Seconds saved a frame of a ViT-B/16 at 224 pixels, in bf16 on one H200 (benchmarks/results/throughput-h200.json).
CPUs are left out: there an eval becomes 1.06 to 1.13 times as fast (benchmarks/results/cpu-precision.json)."""
WORTH_SECONDS = 90.0
"""What has to be saved for the compiler to be worth it, which takes up to a minute where nothing is cached."""
MEASURED_ON = 86e6 * 197
"""Parameters times tokens of the tower of `SAVED`; time goes with them."""


def compile_if_asked(backbone: Backbone, wanted: str, device: Device) -> None:
    """Compile the vision blocks where `wanted` is `on`.

    Raises:
        UserError: There is no compiler that works.
    """
    if wanted == "on":
        if problem := compiler_problem(device.kind):
            message = f"--compile: torch.compile does not work here: {problem}"
            raise UserError(message, "Use --compile off.", EXIT_FAILED)
        compile_vision(backbone)


def compile_if_it_pays(backbone: Backbone, wanted: str, device: Device, work: str, frames: int) -> None:
    """Compile the vision blocks where `wanted` is `auto` and saves more than it costs; without a compiler, say so.

    Args:
        backbone: On its device.
        wanted: `on`, `off` or `auto`.
        device: Where it computes.
        work: `fit` or `eval`.
        frames: That the tower looks at in the whole piece of work: over all epochs, or in all views.
    """
    if wanted == "auto" and seconds_saved(backbone, device.kind, work, frames) > WORTH_SECONDS:
        if problem := compiler_problem(device.kind):
            logger.warning("the vision tower is not compiled: torch.compile does not work here: %s", problem)
        else:
            compile_vision(backbone)


def seconds_saved(backbone: Backbone, kind: str, work: str, frames: int) -> float:
    """The time that compiled blocks save over a number of frames, without what the compiler takes. Roughly."""
    visual = backbone.visual
    positions = getattr(visual, "positional_embedding", None)
    size = sum(p.numel() for p in visual.parameters()) * (0 if positions is None else len(positions))
    return SAVED.get((kind, work), 0.0) * frames * size / MEASURED_ON


@cache
def compiler_problem(kind: str) -> str:
    """Why nothing can be compiled for a kind of device; empty if it can. Tries once a process, in seconds."""
    try:
        torch.compile(_double)(torch.ones(8, device=kind))
    except Exception as error:  # a compiler, its headers or Triton may be missing, each with an error of its own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
    return ""


def _double(x: Tensor) -> Tensor:
    return x + x


def runs_compiled(method: nn.Module) -> bool:
    """Whether blocks of a method run compiled."""
    return any(is_compiled(module) for module in method.modules())


def compile_vision(backbone: Backbone) -> int:
    """Compile the vision blocks of a backbone, in place; parameters and their names stay as they are.

    Returns:
        How many blocks there are; 0 where the tower has no blocks of CLIP's kind, which then runs as it is.
    """
    transformer = getattr(backbone.visual, "transformer", None)
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
    if not torch.is_grad_enabled():
        # Batches of an eval have several sizes. One function for all of them: what a batch gives must not depend on
        # which sizes came before it, or an interrupted eval would end differently.
        torch._dynamo.maybe_mark_dynamic(q_x, 0)
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
        part.unflatten(-1, (heads, width // heads)).transpose(1, 2) for part in F.linear(y, w_in, b_in).chunk(3, dim=-1)
    )
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = x + F.linear(y, w_out, b_out)
    y = F.linear(F.layer_norm(x, (width,), norm_2, shift_2, eps_2).to(x.dtype), w_up, b_up)
    y = y * torch.sigmoid(1.702 * y) if quick else F.gelu(y)
    return x + F.linear(y, w_down, b_down)
