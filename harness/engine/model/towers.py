"""Access to the two towers of a CLIP model, whichever class of open_clip implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from open_clip.transformer import VisionTransformer
from torch import nn

from harness.base.errors import UserError

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Blocks, ClipModel, TextTower, VisionTower

CLIP_CONTEXT = 77
"""Context of CLIP's text tower in tokens."""


class Towers(nn.Module):
    """A CLIP model and its towers.

    Args:
        clip: The open_clip model.
        arch: Name of the architecture for messages.
    """

    def __init__(self, clip: ClipModel, arch: str) -> None:
        super().__init__()
        self.clip = clip
        self.arch = arch

    @property
    def visual(self) -> VisionTower:
        """open_clip's vision tower."""
        return self.clip.visual

    @property
    def text(self) -> TextTower:
        """The text tower: the CLIP model itself where open_clip keeps the text modules at its top level."""
        return self.clip if hasattr(self.clip, "token_embedding") else getattr(self.clip, "text", self.clip)

    @property
    def logit_scale(self) -> nn.Parameter:
        """The learned log temperature, a scalar parameter."""
        return self.clip.logit_scale

    @property
    def vision_blocks(self) -> Blocks:
        """The residual blocks of a ViT, first to last; each block maps (N, L, width) to the same shape."""
        return self.visual.transformer.resblocks

    @property
    def text_blocks(self) -> Blocks:
        """The residual blocks of the text tower, first to last."""
        return self.text.transformer.resblocks

    @property
    def token_embedding(self) -> nn.Module:
        """The table of token embeddings.

        Raises:
            UserError: The table has an unknown name in this text tower.
        """
        if hasattr(self.text, "token_embedding"):
            return self.text.token_embedding
        transformer = getattr(self.text, "transformer", None)
        table_of = getattr(transformer, "get_input_embeddings", None)  # text towers from Hugging Face
        if table_of is not None:
            table: nn.Module = table_of()
            return table
        raise UserError(f"The token embedding of {self.arch} is unknown.", "Choose another architecture.")

    @property
    def context_length(self) -> int:
        """Length of the longest text in tokens; 77 for CLIP."""
        in_text: int | None = getattr(self.text, "context_length", None)
        at_top: int = getattr(self.clip, "context_length", CLIP_CONTEXT)
        return int(in_text or at_top)

    @property
    def has_causal_text(self) -> bool:
        """Whether the text tower is CLIP's: causal, and read at the end-of-text token.

        Only then may texts be cut behind their end token.
        """
        text = self.text
        pool = getattr(text, "text_pool_type", None) or getattr(text, "pool_type", None)
        return hasattr(text, "token_embedding") and text.attn_mask is not None and pool == "argmax"

    def text_parameters(self) -> list[nn.Parameter]:
        """Return all parameters that text features can depend on."""
        # They act on logits alone. Counting them would switch off the cache of frozen text wherever the scale is
        # trained.
        skip = ("visual.", "logit_scale", "logit_bias")
        return [p for n, p in self.clip.named_parameters() if not n.startswith(skip)]

    def require_vit(self, method: str) -> VisionTower:
        """Return the vision tower if it is a plain ViT with a class token, which prompts and messages need.

        Args:
            method: Name of the method for the message.

        Raises:
            UserError: The vision tower is of another kind.
        """
        visual = self.visual
        # Prompts and messages use open_clip's modules and the class token, which timm towers and other poolings lack.
        plain = isinstance(visual, VisionTransformer) and visual.attn_pool is None and visual.pool_type == "tok"
        if not plain:
            raise UserError(
                f"{method} changes the inside of a vision transformer; {self.arch} has a {type(visual).__name__}.",
                "Choose a ViT with a class token, such as ViT-B-16.",
            )
        return visual

    def require_causal_text(self, method: str) -> None:
        """Refuse a text tower that is not CLIP's own causal transformer, which learned text prompts need.

        Args:
            method: Name of the method for the message.

        Raises:
            UserError: The architecture has another text tower.
        """
        if not self.has_causal_text:
            raise UserError(
                f"{method} changes the inside of CLIP's text transformer; {self.arch} has another text tower.",
                "Choose an architecture with CLIP's own text tower, such as ViT-B-16.",
            )
