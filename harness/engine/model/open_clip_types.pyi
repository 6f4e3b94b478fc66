"""Types of the open_clip modules that this package reads; open_clip has no type hints.

A stub: the classes are imported for type checks only. Attributes below the first block of each class exist in the
towers of CLIP's own architecture, which `Towers.require_vit` and `Towers.require_causal_text` ensure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn

Tokenizer = Callable[..., Tensor]

class Block(nn.Module):
    """A residual attention block: (N, L, width) -> (N, L, width)."""

    attn: nn.MultiheadAttention
    ln_1: nn.LayerNorm
    ln_2: nn.LayerNorm
    ls_1: nn.Module
    ls_2: nn.Module
    mlp: Mlp
    attention: Callable[..., Tensor]
    """The attention of normalised tokens, without the residual."""

    def __call__(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Return the tokens after the block."""
        ...

class Mlp(nn.Sequential):
    """The MLP of a block."""

    c_fc: nn.Linear
    gelu: nn.Module
    c_proj: nn.Linear

class Blocks(nn.Sequential):
    """The blocks of a transformer."""

    def __iter__(self) -> Iterator[Block]:
        """Iterate from the first block to the last one."""
        ...

class Transformer(nn.Module):
    """The blocks of a tower."""

    resblocks: Blocks

    def __call__(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Return the tokens after the last block."""
        ...

class VisionTower(nn.Module):
    """Images (N, 3, H, W) -> features (N, D), or a tuple that begins with the features."""

    image_size: int | tuple[int, int]

    attn_pool: nn.Module | None
    pool_type: str
    conv1: nn.Conv2d
    class_embedding: nn.Parameter
    positional_embedding: nn.Parameter
    ln_pre: nn.LayerNorm
    transformer: Transformer
    ln_post: nn.LayerNorm
    proj: nn.Parameter

    def __call__(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return the image features, not normalised."""
        ...

class TextTower(nn.Module):
    """CLIP's text tower, or the CLIP model itself where it keeps the modules of the text tower at its top level."""

    context_length: int

    token_embedding: nn.Embedding
    positional_embedding: nn.Parameter
    attn_mask: Tensor
    transformer: Transformer
    ln_final: nn.LayerNorm
    text_projection: nn.Parameter | nn.Linear

class ClipModel(TextTower):
    """open_clip's models of images and texts; only some have the modules of the text tower at their top level."""

    text: TextTower
    visual: VisionTower
    logit_scale: nn.Parameter

    def encode_text(self, tokens: Tensor, normalize: bool = ...) -> Tensor:
        """Return text features (C, D) of token ids (C, context); only CoCa normalises them by default."""
        ...
