"""A CLIP model with the hooks that video methods need, whichever of open_clip's classes it is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import open_clip
import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from harness.base.errors import UserError
from harness.engine.model.published_weights import load_clip
from harness.engine.model.weights import read_weights


@dataclass(frozen=True)
class BackboneFacts:
    """What a record says of a backbone. `weights_sha256` is over the tensors, not the file."""

    name: str
    arch: str
    weights: str
    weights_sha256: str
    image_size: int
    quick_gelu: bool


class Backbone(nn.Module):
    """A CLIP model with the hooks that video methods need.

    Attributes:
        clip: The open_clip model.
        facts: Name, architecture, weights and their hash.
        embed_dim: Joint dimension D.
        image_size: Side of the square input in pixels.
        file: File of a pretrained tag that the weights were read from; None for other weights.
    """

    def __init__(self, clip: nn.Module, facts: BackboneFacts) -> None:
        super().__init__()
        self.clip = clip
        self.facts = facts
        self.image_size = facts.image_size
        self.file: Path | None = None
        self.embed_dim = int(_output_dim(clip))

    @property
    def text(self) -> Any:
        """The text tower: the CLIP model itself where open_clip keeps the text modules at its top level."""
        return self.clip if hasattr(self.clip, "token_embedding") else getattr(self.clip, "text", None)

    @property
    def visual(self) -> Any:
        """open_clip's vision tower."""
        return self.clip.visual

    @property
    def logit_scale(self) -> nn.Parameter:
        """The learned log temperature, a scalar parameter."""
        return cast(nn.Parameter, self.clip.logit_scale)

    def require_vit(self, method: str) -> VisionTransformer:
        """The vision tower, if it is a plain ViT with a class token; other towers cannot host prompts or messages."""
        visual = self.visual
        if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None or visual.pool_type != "tok":
            raise UserError(
                f"{method} changes the inside of a vision transformer; "
                f"{self.facts.arch} has a {type(visual).__name__}.",
                "Choose a ViT with a class token, such as ViT-B-16.",
            )
        return visual

    def require_causal_text(self, method: str) -> None:
        """Refuse a text tower that is not CLIP's own: prompts go into a causal transformer read at its end token.

        Raises:
            UserError: The architecture has another text tower.
        """
        if not self.has_causal_text:
            raise UserError(
                f"{method} changes the inside of CLIP's text transformer; {self.facts.arch} has another text tower.",
                "Choose an architecture with CLIP's own text tower, such as ViT-B-16.",
            )

    @property
    def vision_blocks(self) -> Any:
        """The residual blocks of a ViT, first to last; each maps (N, L, width) to the same shape."""
        return self.visual.transformer.resblocks

    @property
    def text_blocks(self) -> Any:
        """The residual blocks of the text tower, first to last."""
        return self.text.transformer.resblocks

    @property
    def token_embedding(self) -> nn.Module:
        """The table of token embeddings.

        Raises:
            UserError: The text tower keeps it where it is not known.
        """
        text = self.text
        if hasattr(text, "token_embedding"):
            return cast(nn.Module, text.token_embedding)
        inner = getattr(text, "transformer", None)  # text towers from Hugging Face
        if hasattr(inner, "get_input_embeddings"):
            return cast(nn.Module, inner.get_input_embeddings())
        raise UserError(f"The token embedding of {self.facts.arch} is unknown.", "Choose another architecture.")

    def text_parameters(self) -> list[nn.Parameter]:
        """All parameters that text features can depend on."""
        skip = ("visual.", "logit_scale", "logit_bias")
        return [p for n, p in self.clip.named_parameters() if not n.startswith(skip)]

    def embed_patches(self, images: Tensor) -> Tensor:
        """Class and patch tokens with positions, before `ln_pre`: (N, 3, H, W) -> (N, 1 + P, width)."""
        visual = self.visual
        x = visual.conv1(images).flatten(2).transpose(1, 2)
        cls = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        return torch.cat([cls, x], dim=1) + visual.positional_embedding.to(x.dtype)

    def project_class_token(self, x: Tensor) -> Tensor:
        """Image features of the class token after the last block: (N, L, width) -> (N, D), not normalised."""
        return self.visual.ln_post(x[:, 0]) @ self.visual.proj

    def encode_images(self, images: Tensor) -> Tensor:
        """Image features (N, 3, H, W) -> (N, D), not normalised."""
        features = self.visual(images)
        return features[0] if isinstance(features, tuple) else features

    def tokenize(self, texts: tuple[str, ...]) -> Tensor:
        """Token ids (C, context), zero padded.

        Raises:
            UserError: A text has more tokens than the context (open_clip would cut it silently).
        """
        return _tokenize(self.facts.arch, self.context_length, texts)

    @property
    def context_length(self) -> int:
        """Longest text in tokens, 77 for CLIP."""
        return int(getattr(self.text, "context_length", None) or getattr(self.clip, "context_length", 77))

    @property
    def has_causal_text(self) -> bool:
        """Whether the text tower is CLIP's: causal, read at the end-of-text token. Only then may texts be shortened."""
        text = self.text
        pool = getattr(text, "text_pool_type", None) or getattr(text, "pool_type", None)
        return hasattr(text, "token_embedding") and text.attn_mask is not None and pool == "argmax"

    def embed_tokens(self, tokens: Tensor, half: bool = False) -> Tensor:
        """Token embeddings without positions: (C, L) -> (C, L, text width).

        Args:
            tokens: Ids.
            half: Round to float16 and back, as ViFi-CLIP does when it stores its prompts in a buffer.
        """
        x = self.text.token_embedding(tokens)
        return x.half().to(x.dtype) if half else x

    def encode_embedded_text(
        self, x: Tensor, end: Tensor, before_block: Callable[[int, Tensor], Tensor] | None = None
    ) -> Tensor:
        """Text features of embedded tokens: (C, L, width), end positions (C,) -> (C, D), not normalised.

        L may be shorter than the context: attention is causal and only the end token is read, so what stands behind
        the longest text cannot influence the result.

        Args:
            x: Embedded tokens without positions.
            end: Position of each end token.
            before_block: Changes the tokens before a block: called with the block's number and (C, L, width).
        """
        text = self.text
        length = x.shape[1]
        x = x + text.positional_embedding[:length].to(x.dtype)
        mask = text.attn_mask[:length, :length]
        if before_block is None:
            return self.project_end_token(text.transformer(x, attn_mask=mask), end)
        for number, block in enumerate(self.text_blocks):
            x = block(before_block(number, x), attn_mask=mask)
        return self.project_end_token(x, end)

    def project_end_token(self, x: Tensor, end: Tensor) -> Tensor:
        """Text features of the end-of-text tokens after the last block: (C, L, width), (C,) -> (C, D)."""
        text = self.text
        x = text.ln_final(x)
        pooled = x[torch.arange(len(x), device=x.device), end]
        projection = text.text_projection
        return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection

    def encode_texts(self, texts: tuple[str, ...], half: bool = False) -> Tensor:
        """Text features (C, D) of raw texts, not normalised, encoded only up to the longest text.

        Args:
            texts: One text per row.
            half: Round token embeddings to float16, as `embed_tokens` does; without effect on other text towers.
        """
        tokens = self.tokenize(texts)
        device = self.logit_scale.device
        if not self.has_causal_text:
            return self.clip.encode_text(tokens.to(device))  # type: ignore[operator]
        end = tokens.argmax(dim=-1)
        tokens = tokens[:, : int(end.max()) + 1].to(device)  # cut before the move: reading a length from a GPU waits
        return self.encode_embedded_text(self.embed_tokens(tokens, half), end.to(device))

    def load_checkpoint(self, path: Path) -> None:
        """Put a published checkpoint's CLIP weights in place of this model's, strictly.

        ViFi-CLIP's files lack the token embedding, which it never trains: the present one stays.

        Raises:
            UserError: The file is missing or damaged, or a tensor is missing, unexpected or of another shape.
        """
        content, _ = read_weights(path)
        load_clip(self.clip, content, str(path), keep_absent=True)


@functools.cache
def _tokenizer(arch: str) -> Any:
    """open_clip's tokenizer of an architecture, CLIP's own for unknown ones; building it takes a second."""
    return open_clip.get_tokenizer(arch if arch in open_clip.list_models() else "ViT-B-16")


@functools.lru_cache(maxsize=64)
def _tokenize(arch: str, context: int, texts: tuple[str, ...]) -> Tensor:
    tokenizer = _tokenizer(arch)
    tokens = tokenizer(list(texts), context_length=context)
    if hasattr(tokenizer, "encode"):
        for text in texts:
            n = len(tokenizer.encode(text)) + 2
            if n > context:
                raise UserError(
                    f"The text {text[:60]!r}... has {n} tokens, the model reads {context}.", "Shorten the class name."
                )
    return cast(Tensor, tokens)


def _output_dim(clip: nn.Module) -> int:
    for holder in (clip, clip.visual):
        for attribute in ("output_dim", "embed_dim"):
            if isinstance(getattr(holder, attribute, None), int):
                return int(getattr(holder, attribute))
    text = getattr(clip, "text_projection", None)
    if text is None:
        raise UserError(
            f"The joint dimension of {type(clip).__name__} is unknown.", "Use an open_clip CLIP architecture."
        )
    return int(text.shape[-1])
