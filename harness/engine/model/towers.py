"""Access to the two towers of a CLIP model, whichever class of open_clip implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import open_clip
from open_clip.hf_model import HFTextEncoder
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.base.errors import UserError

if TYPE_CHECKING:
    from typing import Self

    from harness.engine.model.open_clip_types import Blocks, ClipModel, TextTower, VisionTower

CLIP_CONTEXT = 77
"""Context of CLIP's text tower in tokens."""
PLAIN_VIT = "ViT"
"""Kind of a vision transformer that is read at its class token."""
NOT_IN_FEATURES = ("text_decoder.", "logit_bias")
"""Prefixes of parameters that get no useful gradient: no image or text feature depends on CoCa's caption decoder, and
a softmax over classes does not depend on the bias of all logits."""


class Towers(nn.Module):
    """A CLIP model and its towers.

    Args:
        clip: The open_clip model.
        arch: Name of the architecture for messages.

    Attributes:
        batch_statistics: Whether BatchNorm layers normalise by the statistics of the device batch in training mode
            and update the stored statistics. Otherwise they use the stored statistics in both modes.
    """

    def __init__(self, clip: ClipModel, arch: str) -> None:
        super().__init__()
        self.clip = clip
        self.arch = arch
        self.batch_statistics = False

    @property
    def uses_batch_statistics(self) -> bool:
        """Whether a fit depends on the device batch: BatchNorm layers that normalise by its statistics."""
        return self.batch_statistics and any(isinstance(module, _BatchNorm) for module in self.modules())

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules; BatchNorm layers stay in eval mode unless `batch_statistics` is set.

        With batch statistics a fitted model is another function than the evaluated model, and the loss depends on the
        size of the device batch.
        """
        super().train(mode)
        if not self.batch_statistics:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

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

    def add_bias(self, logits: Tensor) -> Tensor:
        """Return scaled cosines plus the model's `logit_bias`; models without a bias (CLIP) return them unchanged."""
        bias: Tensor | None = getattr(self.clip, "logit_bias", None)
        return logits if bias is None else logits + bias.to(logits.dtype)

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
        if isinstance(self.text, HFTextEncoder):
            # Its own `context_length` is the number of positions of the language model (514, 1024). CLIP trained it on
            # texts of the length in its configuration, to which open_clip's tokenizer pads.
            text = (open_clip.get_model_config(self.arch) or {}).get("text_cfg", {})
            return int(text.get("context_length", CLIP_CONTEXT))
        in_text: int | None = getattr(self.text, "context_length", None)
        at_top: int = getattr(self.clip, "context_length", CLIP_CONTEXT)
        return int(in_text or at_top)

    @property
    def has_causal_text(self) -> bool:
        """Whether the text tower is CLIP's: causal, and read at the end-of-text token.

        Only then may texts be cut behind their end token.
        """
        text = self.text
        # CoCa appends a class token behind the padding and reads the text there, whatever `pool_type` says.
        if getattr(text, "cls_emb", None) is not None or getattr(text, "use_pad_mask", False):
            return False
        pool = getattr(text, "text_pool_type", None) or getattr(text, "pool_type", None)
        return hasattr(text, "token_embedding") and text.attn_mask is not None and pool == "argmax"

    @property
    def vision_kind(self) -> str:
        """The vision tower in words: `ViT` (read at its class token), `ViT with ... pooling`, or a class of modules."""
        visual: nn.Module = self.visual
        if not isinstance(visual, VisionTransformer):
            trunk = getattr(visual, "trunk", None)  # timm's model in open_clip's adapter
            return f"{type(trunk).__name__} of timm" if trunk is not None else type(visual).__name__
        if visual.attn_pool is not None:
            return f"{PLAIN_VIT} with attentional pooling"
        return PLAIN_VIT if visual.pool_type == "tok" else f"{PLAIN_VIT} with {visual.pool_type} pooling"

    @property
    def text_kind(self) -> str:
        """The text tower in words: `CLIP text tower`, or how it differs."""
        text: nn.Module = self.text
        if isinstance(text, HFTextEncoder):
            return "text tower of transformers"
        if self.has_causal_text:
            return "CLIP text tower"
        if getattr(text, "cls_emb", None) is not None:
            return "text tower with an appended class token"
        if getattr(text, "attn_mask", None) is None:
            return "text tower without a causal mask"
        pool = getattr(text, "text_pool_type", None) or getattr(text, "pool_type", None)
        return f"text tower with {pool} pooling"

    def text_parameters(self) -> list[nn.Parameter]:
        """Return all parameters that text features can depend on."""
        # They act on logits alone. Counting them would switch off the cache of frozen text wherever the scale is
        # trained.
        skip = ("logit_scale", *NOT_IN_FEATURES)
        clip: nn.Module = self.clip
        found = dict(clip.named_parameters(recurse=False))
        for name, module in clip.named_children():
            if name != "visual":  # most modules of CLIP, and this runs in each training step
                found |= module.named_parameters(prefix=name)
        return [p for n, p in found.items() if not n.startswith(skip)]

    def require_vit(self, method: str) -> VisionTower:
        """Return the vision tower if it is a plain ViT with a class token, which prompts and messages need.

        Args:
            method: Name of the method for the message.

        Raises:
            UserError: The vision tower is of another kind.
        """
        # Prompts and messages use open_clip's modules and the class token, which timm towers and other poolings lack.
        if self.vision_kind != PLAIN_VIT:
            raise UserError(
                f"{method} changes the inside of a vision transformer that is read at its class token; {self.arch} has "
                f"a {self.vision_kind}.",
                "Choose a ViT with a class token, such as ViT-B-16.",
            )
        return self.visual

    def require_causal_text(self, method: str) -> None:
        """Refuse a text tower that is not CLIP's own causal transformer, which learned text prompts need.

        Args:
            method: Name of the method for the message.

        Raises:
            UserError: The architecture has another text tower.
        """
        if not self.has_causal_text:
            raise UserError(
                f"{method} changes the inside of CLIP's text transformer; {self.arch} has a {self.text_kind}.",
                "Choose an architecture with CLIP's own text tower, such as ViT-B-16.",
            )
