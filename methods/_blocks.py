"""The pre-norm transformer block that three methods stack on frame features."""

from collections import OrderedDict

import torch
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the activation of OpenAI's CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation to each element of a tensor of any shape."""
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """x + attention(norm x), then x + MLP(norm x); (N, L, width) -> (N, L, width). Parameter names are CLIP's.

    Args:
        width: Width of the tokens.
        heads: Number of attention heads, which must divide the width.
        eps: Epsilon of both layer norms.
    """

    def __init__(self, width: int, heads: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width, eps=eps)
        layers = {"c_fc": nn.Linear(width, 4 * width), "gelu": QuickGELU(), "c_proj": nn.Linear(4 * width, width)}
        self.mlp: nn.Module = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after the block; attention has no mask."""
        y = self.ln_1(x)
        # Without weights torch may use fused attention.
        attended: Tensor = self.attn(y, y, y, need_weights=False)[0]
        x = x + attended
        mapped: Tensor = self.mlp(self.ln_2(x))
        return x + mapped


class Blocks(nn.Module):
    """Consecutive blocks, named `resblocks` as in CLIP."""

    def __init__(self, width: int, layers: int, heads: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(Block(width, heads, eps) for _ in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after the last block: (N, L, width) -> (N, L, width)."""
        y: Tensor = self.resblocks(x)
        return y


@torch.no_grad()
def draw_linear(module: nn.Module, std: float = 0.02, truncated: bool = False) -> None:
    """Draw all linear weights and embeddings of a module from N(0, std) and set linear biases to 0.

    The output projection of an attention is an `nn.Linear`. Its input projection is a plain parameter, which keeps the
    values that torch drew.

    Args:
        module: The module, which is changed in place.
        std: Standard deviation.
        truncated: Cut the normal distribution at -2 and 2 (absolute values, as in torch and timm).
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            (nn.init.trunc_normal_ if truncated else nn.init.normal_)(part.weight, std=std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
