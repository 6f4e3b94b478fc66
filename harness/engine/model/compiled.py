"""The blocks of the vision tower as a compiled function: the same sums with fewer passes over memory.

A block of open_clip copies its input, queries, keys and values into other layouts, and runs casts, norms and
activations as separate passes over memory; on a GPU these passes take longer than the matrix products. The block is
written here as a function of tensors, so that torch compiles it once for all blocks, towers and methods. Results
differ from the plain block by rounding.

Compilation takes up to a minute, so that it pays only from a number of frames on (`compile_if_it_pays`). The number of
frames of the whole fit or eval decides, never the number that is left: an interrupted run continues in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from open_clip.transformer import LayerNorm, QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from harness.base.errors import EXIT_FAILED, UserError
from harness.engine.compute.device import Device
from harness.engine.model.towers import Towers

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Block

logger = logging.getLogger(__name__)
SAVED = {("cuda", "fit"): 0.19e-3, ("cuda", "eval"): 0.074e-3}
"""Seconds saved per frame of a ViT-B/16 at 224 pixels, in bf16 on one H200 (benchmarks/results/throughput-h200.json).
CPUs are not listed: there an eval gets only 1.06 to 1.13 times as fast (benchmarks/results/cpu-precision.json)."""
WORTH_SECONDS = 90.0
"""Least number of saved seconds for which blocks are compiled; compilation takes up to a minute without a cache."""
MEASURED_ON = 86e6 * 197
"""Parameters times tokens of the tower that `SAVED` was measured on; the saved time is proportional to it."""


def compile_if_asked(backbone: Towers, wanted: str, device: Device) -> None:
    """Compile the vision blocks if `wanted` is `on`.

    Raises:
        UserError: torch.compile does not work on this machine.
    """
    if wanted == "on":
        if problem := compiler_problem(device.kind):
            message = f"--compile: torch.compile does not work here: {problem}"
            raise UserError(message, "Use --compile off.", EXIT_FAILED)
        compile_vision(backbone)


def compile_if_it_pays(backbone: Towers, wanted: str, device: Device, work: str, frames: int) -> None:
    """Compile the vision blocks if `wanted` is `auto` and compilation saves time; warn if torch.compile does not work.

    Args:
        backbone: The CLIP model, on its device.
        wanted: `on`, `off` or `auto`.
        device: Device of the model.
        work: `fit` or `eval`.
        frames: Number of frames that the tower encodes in the whole fit (all epochs) or eval (all views).
    """
    if wanted == "auto" and seconds_saved(backbone, device.kind, work, frames) > WORTH_SECONDS:
        if problem := compiler_problem(device.kind):
            logger.warning("the vision tower is not compiled: torch.compile does not work here: %s", problem)
        else:
            compile_vision(backbone)


def seconds_saved(backbone: Towers, kind: str, work: str, frames: int) -> float:
    """Estimate the seconds that compiled blocks save over a number of frames, without the time of the compiler."""
    visual = backbone.visual
    positions: Tensor | None = getattr(visual, "positional_embedding", None)
    size = sum(p.numel() for p in visual.parameters()) * (0 if positions is None else len(positions))
    return SAVED.get((kind, work), 0.0) * frames * size / MEASURED_ON


@cache
def compiler_problem(kind: str) -> str:
    """Return why torch.compile does not work for a kind of device, empty if it works. Tried once per process."""
    try:
        torch.compile(_double)(torch.ones(8, device=kind))
    except Exception as error:  # a C compiler, its headers or Triton may be missing; each raises another type
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
    return ""


def _double(x: Tensor) -> Tensor:
    return x + x


def runs_compiled(method: nn.Module) -> bool:
    """Return whether blocks of a method run compiled."""
    return any(is_compiled(module) for module in method.modules())


def compile_vision(backbone: Towers) -> int:
    """Compile the vision blocks of a backbone in place, without changing parameters or their names.

    Returns:
        Number of compiled blocks; 0 if the tower has no blocks of CLIP's kind, which then runs without compilation.
    """
    transformer = getattr(backbone.visual, "transformer", None)
    blocks = [block for block in getattr(transformer, "resblocks", ()) if is_plain(block)]
    for block in blocks:
        # An attribute of the object, not a wrapper module: names in state dicts and hooks on the block stay valid.
        block.forward = partial(_run, block, type(block).forward)
    return len(blocks)


def is_compiled(module: nn.Module) -> bool:
    """Return whether a module is a block that runs compiled."""
    forward = vars(module).get("forward")
    return isinstance(forward, partial) and forward.func is _run


def is_plain(block: Block, wrapped: bool = False) -> bool:
    """Return whether a block is CLIP's, unchanged: pre-norm self-attention and a GELU or QuickGELU MLP.

    Args:
        block: A block of a tower.
        wrapped: Ignore a `forward` that was set on the block.
    """
    # Not `isinstance`: a subclass may compute something else, and so may a method that was replaced on the instance.
    if type(block) is not ResidualAttentionBlock or "attention" in vars(block):
        return False
    # A function that a method set on the block (attention to other frames, say) would be passed over.
    replaced = {name for name in vars(block) if callable(getattr(type(block), name, None))}
    if replaced - ({"forward"} if wrapped or is_compiled(block) else set()):
        return False
    attention, parts = block.attn, dict(block.mlp.named_children())
    # `_block` reads weights and calls no module: a layer that a plugin replaced (LoRA) or hooked would be passed over.
    if any(module._forward_hooks or module._forward_pre_hooks for module in block.modules() if module is not block):
        return False
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
        and all(type(parts.get(name)) is nn.Linear for name in ("c_fc", "c_proj"))
        and type(attention.out_proj) is NonDynamicallyQuantizableLinear
    )


def _run(
    block: Block, plain: Callable[..., Tensor], q_x: Tensor, *others: Tensor | None, **named: Tensor | None
) -> Tensor:
    """Forward pass of a block: compiled for self-attention without a mask, open_clip's own for all other calls."""
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
        # Batches of an eval have several sizes. torch would compile the first size as a constant and the second one as
        # a variable; results would depend on the order of sizes, and an interrupted eval would end differently.
        torch._dynamo.maybe_mark_dynamic(q_x, 0)
    return _compiled()(q_x, weights, attention.num_heads, block.ln_1.eps, block.ln_2.eps, quick)


@cache
def _compiled() -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(_block)
    return compiled


def _block(x: Tensor, weights: tuple[Tensor, ...], heads: int, eps_1: float, eps_2: float, quick: bool) -> Tensor:
    """Compute x + attention(norm x), then x + MLP(norm x), as in open_clip; tokens (N, L, width) -> the same shape."""
    norm_1, shift_1, w_in, b_in, w_out, b_out, norm_2, shift_2, w_up, b_up, w_down, b_down = weights
    width = x.shape[-1]
    # open_clip's LayerNorm casts its result back, because CUDA's autocast computes layer norms in fp32.
    y = F.layer_norm(x, (width,), norm_1, shift_1, eps_1).to(x.dtype)
    q, k, v = (
        torch.unflatten(part, -1, (heads, width // heads)).transpose(1, 2)
        for part in F.linear(y, w_in, b_in).chunk(3, dim=-1)
    )
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = x + F.linear(y, w_out, b_out)
    y = F.linear(F.layer_norm(x, (width,), norm_2, shift_2, eps_2).to(x.dtype), w_up, b_up)
    y = y * torch.sigmoid(1.702 * y) if quick else F.gelu(y)
    return x + F.linear(y, w_down, b_down)
