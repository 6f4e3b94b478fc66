"""The two halves of a block of CLIP, for methods that change the tokens between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Block


def attended(block: Block, normed: Tensor) -> Tensor:
    """Return the attention of normed tokens (N, L, width) without the residual."""
    change: Tensor = block.ls_1(block.attention(normed))
    return change


def mapped(block: Block, normed: Tensor) -> Tensor:
    """Return the MLP of normed tokens (..., width) without the residual."""
    change: Tensor = block.ls_2(block.mlp(normed))
    return change
