"""Position embeddings of weights for another image size or text length, interpolated as open_clip does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from open_clip.model import resize_pos_embed, resize_text_pos_embed
from torch import Tensor

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import ClipModel


def resize_positions(clip: ClipModel, state: dict[str, Tensor]) -> tuple[str, ...]:
    """Interpolate the position embeddings of a state dict, in place, to the sizes of a model.

    Image positions are interpolated bicubically with antialiasing and text positions linearly: the functions of
    open_clip are called.

    Args:
        clip: The model whose sizes are taken.
        state: Tensors by the names of the model.

    Returns:
        One line for each interpolated tensor; empty if the sizes are equal.
    """
    before = {name: value.shape[0] for name, value in state.items() if name.endswith("positional_embedding")}
    tower = clip if hasattr(clip, "positional_embedding") else clip.text
    # Other image towers have other names for their positions, and other text towers have none.
    if state.get("visual.positional_embedding") is not None and hasattr(clip.visual, "grid_size"):
        resize_pos_embed(state, clip)
    if hasattr(tower, "positional_embedding") and before.keys() & {"positional_embedding", "text.positional_embedding"}:
        resize_text_pos_embed(state, clip)
    return tuple(
        f"{name} interpolated from {count} to {state[name].shape[0]} positions"
        for name, count in before.items()
        if state[name].shape[0] != count
    )
