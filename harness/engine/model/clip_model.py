"""A CLIP model with the functions that video methods need, whichever class of open_clip implements it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from harness.base.errors import UserError
from harness.engine.model.lean_vision import is_lean, lean_features
from harness.engine.model.published_weights import clip_state, fit_names
from harness.engine.model.tokenizer import tokenize
from harness.engine.model.towers import Towers
from harness.engine.model.weights import strict_load
from harness.spec import Views
from harness.spec.views import NO_INPUT, InputSettings
from harness.weights.activation import require_activation
from harness.weights.describe import describe

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import ClipModel

Inputs = TypeVarTuple("Inputs")
Output = TypeVar("Output")


@dataclass(frozen=True)
class BackboneFacts:
    """Description of a backbone in records.

    Args:
        name: `mini-clip`, or architecture and weights joined by a slash.
        arch: Architecture.
        weights: Pretrained tag, or name of the weight file.
        weights_sha256: Hash of the tensors, not of the file, so that it does not depend on the file format.
        image_size: Side of the square input in pixels.
        quick_gelu: Whether the towers compute QuickGELU.
        input: Input statistics and resizing that the weights were trained with; empty for a model other than CLIP.
        published_input: Whether views take the input of published tables by default, and not `input`.
    """

    name: str
    arch: str
    weights: str
    weights_sha256: str
    image_size: int
    quick_gelu: bool
    input: InputSettings = NO_INPUT
    published_input: bool = True

    def views_of(self, views: Views) -> Views:
        """Return views with the settings of the weights for `normalize=model`."""
        return replace(views, input=self.input) if views.normalize == "model" else views

    @property
    def default_views(self) -> Views:
        """Views for videos outside of a protocol, for which no number is published."""
        views = Views(reader="exact")
        return views if self.published_input else self.views_of(replace(views, normalize="model"))


class Backbone(Towers):
    """A CLIP model with the functions that video methods need.

    Attributes:
        clip: The open_clip model.
        facts: Name, architecture, weights and their hash.
        embed_dim: Joint dimension D of image and text features.
        image_size: Side of the square input in pixels.
        file: File of a pretrained tag that the weights were read from; None for other weights.
        notes: Changes that were made to the weights when they were loaded, one line each.
        recomputes: Whether the fit recomputes activations (`--grad-checkpointing`), see `recompute`.
    """

    def __init__(self, clip: ClipModel, facts: BackboneFacts) -> None:
        super().__init__(clip, facts.arch)
        self.facts = facts
        self.image_size = facts.image_size
        self.file: Path | None = None
        self.notes: tuple[str, ...] = ()
        self.embed_dim = _output_dim(clip)
        self.recomputes = False

    def embed_patches(self, images: Tensor) -> Tensor:
        """Return class and patch tokens with positions, before `ln_pre`: (N, 3, H, W) -> (N, 1 + P, width)."""
        visual = self.visual
        x: Tensor = visual.conv1(images)
        x = x.flatten(2).transpose(1, 2)
        # Under autocast the convolution returns the lower precision, but parameters stay fp32. open_clip casts them as
        # well.
        cls = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        return torch.cat([cls, x], dim=1) + visual.positional_embedding.to(x.dtype)

    def project_class_token(self, x: Tensor) -> Tensor:
        """Return image features of the class token after the last block: (N, L, width) -> (N, D), not normalised."""
        normed: Tensor = self.visual.ln_post(x[:, 0])
        return normed @ self.visual.proj

    def encode_images(self, images: Tensor) -> Tensor:
        """Return image features (N, D) of images (N, 3, H, W), not normalised."""
        if is_lean(self.visual, images, self.recomputes):
            return lean_features(self.visual, images, self.recompute)
        features = self.visual(images)
        # Towers with `output_tokens` (CoCa) return the tokens, too.
        return features[0] if isinstance(features, tuple) else features

    def recompute(self, function: Callable[[*Inputs], Output], *inputs: *Inputs) -> Output:
        """Return the result of a function; with `--grad-checkpointing` its activations are not stored but recomputed.

        For methods that compute the blocks of a tower themselves. Blocks that are called need no such call.
        """
        if not (self.recomputes and torch.is_grad_enabled()):
            return function(*inputs)
        result: Output = checkpoint(function, *inputs, use_reentrant=False)
        return result

    def tokenize(self, texts: tuple[str, ...]) -> Tensor:
        """Return token ids (C, context) of C texts, zero padded.

        Raises:
            UserError: A text has more tokens than the context (open_clip would cut it silently).
        """
        return tokenize(self.facts.arch, self.context_length, texts)

    def trim_tokens(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return token ids (N, L) up to the longest text and the positions (N,) of end tokens, on the model's device.

        Args:
            tokens: (N, context) token ids on the CPU, as `tokenize` returns them.
        """
        device = self.logit_scale.device
        end = tokens.argmax(dim=-1)  # the end token has the largest id
        # Cut before the move: reading a length from a GPU waits.
        return tokens[:, : int(end.max()) + 1].to(device), end.to(device)

    def embed_tokens(self, tokens: Tensor, half: bool = False) -> Tensor:
        """Return token embeddings without positions: (C, L) -> (C, L, text width).

        Args:
            tokens: Token ids.
            half: Round to float16 and back, as ViFi-CLIP does when it stores its prompts in a buffer.
        """
        x: Tensor = self.text.token_embedding(tokens)
        return x.half().to(x.dtype) if half else x

    def encode_embedded_text(
        self, x: Tensor, end: Tensor, before_block: Callable[[int, Tensor], Tensor] | None = None
    ) -> Tensor:
        """Return text features (C, D) of embedded tokens (C, L, width), not normalised.

        L may be shorter than the context: attention is causal and only the end token is read, so that tokens behind
        the end token of the longest text have no influence.

        Args:
            x: Embedded tokens without positions.
            end: (C,) position of each end token.
            before_block: Function that changes the tokens before a block; its arguments are the index of the block
                and the tokens (C, L, width).
        """
        text = self.text
        length = x.shape[1]
        x = x + text.positional_embedding[:length].to(x.dtype)
        # The buffer is context x context; attention refuses a mask that is longer than the tokens.
        mask = text.attn_mask[:length, :length]
        if before_block is None:
            return self.project_end_token(text.transformer(x, attn_mask=mask), end)
        # open_clip's Transformer has no hook before a block, so that its loop is repeated here.
        for index, block in enumerate(self.text_blocks):
            x = block(before_block(index, x), attn_mask=mask)
        return self.project_end_token(x, end)

    def project_end_token(self, x: Tensor, end: Tensor) -> Tensor:
        """Return text features of the end-of-text tokens after the last block: (C, L, width), (C,) -> (C, D)."""
        normed: Tensor = self.text.ln_final(x)
        pooled = normed[torch.arange(len(normed), device=normed.device), end]
        projection = self.text.text_projection
        # A tower with `proj_bias` holds the projection as a layer, all other towers hold a matrix.
        if isinstance(projection, nn.Linear):
            projected: Tensor = projection(pooled)
            return projected
        return pooled @ projection

    def encode_texts(self, texts: tuple[str, ...], half: bool = False) -> Tensor:
        """Return text features (C, D) of raw texts, not normalised, encoded only up to the longest text.

        Args:
            texts: One text per row.
            half: Round token embeddings to float16, as `embed_tokens` does; no effect on text towers of other kinds.
        """
        tokens = self.tokenize(texts)
        if not self.has_causal_text:
            # Other towers attend to the padding or pool over it: their texts must keep the full length.
            tokens = tokens.to(self.logit_scale.device)
            return self.clip.encode_text(tokens, normalize=False)  # CoCa normalises by default
        tokens, end = self.trim_tokens(tokens)
        return self.encode_embedded_text(self.embed_tokens(tokens, half), end)

    def load_checkpoint(self, path: Path) -> None:
        """Replace this model's weights by the CLIP weights of a published checkpoint, strictly.

        Files of ViFi-CLIP lack the token embedding, which ViFi-CLIP never trains: the present table is kept.

        Raises:
            UserError: The file is missing or damaged, or a tensor is missing, unexpected or of another shape.
        """
        described = describe(path)
        require_activation(described.given, described.statement, self.facts.quick_gelu)
        if described.published.own:
            raise UserError(
                f"{path} holds {len(described.published.own)} tensors of a method, not CLIP alone ({described.title}; "
                f"first: {min(described.published.own)}).",
                "Name the method and give the file with --checkpoint (Python: load_published(method, path)).",
            )
        state = fit_names(self.clip, clip_state(described))
        strict_load(self.clip, state, f"{path} ({described.title})", described.published.absent)


def _output_dim(clip: ClipModel) -> int:
    """Return the joint dimension, which open_clip's classes keep under different names."""
    # A timm tower does not state it, but both text towers of open_clip's custom models do.
    for holder in (clip.visual, getattr(clip, "text", None)):
        value = getattr(holder, "output_dim", None)
        if isinstance(value, int):
            return value
    projection: Tensor | nn.Linear | None = getattr(clip, "text_projection", None)
    if projection is None:
        raise UserError(
            f"The joint dimension of {type(clip).__name__} is unknown: neither tower has an `output_dim`, and there is "
            "no `text_projection`.",
            "Use an architecture of open_clip with an image and a text tower.",
        )
    return projection.out_features if isinstance(projection, nn.Linear) else int(projection.shape[-1])
