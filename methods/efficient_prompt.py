"""Efficient-Prompt: learned vectors around the class name, optionally with a small Transformer over frame features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, UserError, register_method
from methods._blocks import Blocks
from methods._specs.efficient_prompt import EfficientPromptOptions, EfficientPromptSpec

TEMPERATURE = 0.07
HEADS = 8


@register_method("efficient_prompt")
class EfficientPrompt(EfficientPromptSpec, ClipMethod):
    """CLIP is frozen; a table with a vector per position fills the positions that the class name leaves free."""

    options: EfficientPromptOptions

    def setup(self) -> None:
        """Freeze CLIP; add the table of vectors and, if the option `temporal` is set, the temporal module."""
        options, backbone = self.options, self.backbone
        backbone.require_causal_text(self.name)
        if options.temporal and self.embed_dim % HEADS:
            raise UserError(
                f"{self.name} has {HEADS} temporal heads, which do not divide the dimension {self.embed_dim}.",
                f"Set {self.name}:temporal=false.",
            )
        self.freeze_clip()
        # Attribute names are those of the published checkpoint.
        self.embedding = nn.Embedding(backbone.context_length, backbone.text.ln_final.weight.shape[0])
        nn.init.normal_(self.embedding.weight, std=0.01)
        if options.temporal:
            self.temporalEmbedding = nn.Embedding(options.frames, self.embed_dim)
            nn.init.normal_(self.temporalEmbedding.weight, std=0.01)
            self.temporalModelling = Blocks(self.embed_dim, options.temporal_layers, HEADS)

    def pool(self, frames: Tensor) -> Tensor:
        """Return video features (B, D) of frame features (B, T, D); no residual goes around the temporal blocks."""
        if not self.options.temporal:
            return super().pool(frames)
        self.check_frames(self.options, frames.shape[1])
        mixed: Tensor = self.temporalModelling(frames + self.temporalEmbedding.weight)
        return mixed.mean(dim=1)

    def layout(self, label_set: LabelSet) -> Tensor:
        """Return token ids (C, L) up to the end of the longest text; -1 marks the position of a learned vector.

        A row holds the start token, `prefix` vectors, the name, `postfix` vectors, the end token, and vectors. The
        table of vectors is indexed by absolute position, so that the vectors behind a name depend on its length.

        Raises:
            UserError: A name leaves no room for the vectors.
        """
        prefix, postfix = self.options.prefix, self.options.postfix
        tokens = self.backbone.tokenize(label_set.names)
        words = tokens.argmax(dim=-1) - 1
        ends = prefix + words + postfix + 1
        longest = int(ends.argmax())
        if int(ends.max()) >= self.backbone.context_length:
            raise UserError(
                f"{label_set.names[longest]!r} has {int(words[longest])} tokens; with {prefix} + {postfix} vectors it "
                f"exceeds the context of {self.backbone.context_length}.",
                "Choose a smaller prefix or postfix.",
            )
        # Up to the longest text only: causal attention lets no later token act on an end token.
        rows = torch.full((len(tokens), int(ends.max()) + 1), -1)
        rows[:, 0] = tokens[:, 0]
        for row, name, count, end in zip(rows, tokens, words.tolist(), ends.tolist(), strict=True):
            row[prefix + 1 : prefix + 1 + count] = name[1 : 1 + count]
            row[end] = name[1 + count]
        return rows

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return text features (C, D), not normalised, read at the end token."""
        rows = self.layout(label_set)
        end = rows.argmax(dim=-1).to(self.embedding.weight.device)  # the end token has the largest id
        rows = rows.to(self.embedding.weight.device)
        # Positions of learned vectors look up token 0; `where` replaces the result.
        names = self.backbone.embed_tokens(rows.clamp(min=0))
        learned = self.embedding.weight[: rows.shape[1]].to(names.dtype)
        return self.backbone.encode_embedded_text(torch.where(rows[..., None] < 0, learned, names), end)

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Return logits (B, C): cosine divided by a fixed temperature."""
        with self.in_fp32(video):
            return F.normalize(video.float(), dim=-1) @ F.normalize(text.float(), dim=-1).t() / TEMPERATURE
