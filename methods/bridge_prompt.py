"""Bridge and prompt: deep vision and language prompts learned on a frozen ViFi-CLIP that was tuned on the source."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, UserError, register_method
from methods._specs.bridge_prompt import CLIP, FIT, BridgeOptions, BridgePromptSpec

WORDS_UP_TO = 4
"""Largest number of context vectors that start as embeddings of words; the original draws a larger number."""


@register_method("bridge_prompt")
class BridgePrompt(BridgePromptSpec, ClipMethod):
    """Prompts at the input and in the first blocks of both towers are trained; all of CLIP is frozen."""

    options: BridgeOptions

    def setup(self) -> None:
        """Freeze CLIP and add the prompts, drawn from N(0, 0.02) or taken from the initial words."""
        options, backbone = self.options, self.backbone
        backbone.require_vit(self.name)
        backbone.require_causal_text(self.name)
        if options.stage_one not in (FIT, CLIP):
            # Before CLIP is frozen and the prompts are made: words initialise the prompts from the loaded token
            # embedding.
            backbone.load_checkpoint(Path(options.stage_one))
        self.freeze_clip()
        n_vision = min(options.vision_depth, len(backbone.vision_blocks)) if options.vision_tokens else 0
        n_text = min(options.text_depth, len(backbone.text_blocks))
        vision_width, text_width = backbone.visual.class_embedding.shape[0], backbone.text.ln_final.weight.shape[0]
        self.text_context = nn.Parameter(self._initial_context(text_width))
        self.vision_prompts = _draw(n_vision, options.vision_tokens, vision_width)
        # One fewer than in the vision tower: the prompts of the first text block are `text_context`.
        self.text_prompts = _draw(n_text - 1, options.text_tokens, text_width)

    @property
    def starts_from_words(self) -> bool:
        """Whether the text prompts start as embeddings of words."""
        return bool(self.options.context) and self.options.text_tokens <= WORDS_UP_TO

    def _initial_context(self, width: int) -> Tensor:
        """Return the initial text prompts (text_tokens, width)."""
        n = self.options.text_tokens
        if not self.starts_from_words:
            drawn = torch.randn(n, width) * 0.02
            # The original draws its context in float16, then up-casts it.
            return drawn.half().float() if self.options.prompt_rounding == "published" else drawn
        tokens = self.backbone.tokenize((self.options.context,))
        # Without the start token; the end token has the largest id.
        words = int(tokens.argmax()) - 1
        if words < n:
            raise UserError(
                f"{self.name}:context={self.options.context!r} has {words} tokens, expected at least text_tokens={n}.",
                f"Set {self.name}:text_tokens={max(1, words)}, or a longer context.",
            )
        return self.backbone.embed_tokens(tokens[:, 1 : 1 + n])[0].detach().clone()

    def prompts(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return the texts whose first tokens the prompts replace; underscores in names become blanks, as published."""
        # Placeholders of one token each keep the positions that the drawn prompts will take.
        prefix = self.options.context if self.starts_from_words else " ".join(["X"] * self.options.text_tokens)
        return tuple(f"{prefix} {name.replace('_', ' ')}." for name in label_set.names)

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Start from a stage-one fit, which must hold all tensors of CLIP but the token embedding.

        Raises:
            UserError: A tensor is missing, unknown or of another shape.
        """
        # A stage one that trained less would leave tensors of CLIP that no stage tuned.
        expected = {n for n, _ in self.named_parameters() if n.startswith("backbone.") and "token_embedding" not in n}
        missing = sorted(expected - set(state))
        if missing:
            raise UserError(
                f"The stage-one fit lacks {len(missing)} tensors of CLIP (first: {', '.join(missing[:3])}), expected "
                "all but the token embedding.",
                "Fit stage one with vificlip, or start from its published file: --set stage_one=FILE.",
            )
        super().adopt(state)

    def _insert(self, prompt: Tensor, like: Tensor, rounded: bool = True) -> Tensor:
        """Return a prompt (n, width) for each row of `like` (N, L, width), rounded where the original rounds."""
        if rounded and self.options.prompt_rounding == "published":
            prompt = prompt.half()
        return prompt.to(like.dtype).expand(len(like), -1, -1)

    def encode_frames(self, video: Tensor) -> Tensor:
        """Return frame features (B, T, D). Prompts follow the patches, have no positions, and pass `ln_pre` once."""
        backbone, n = self.backbone, self.options.vision_tokens
        x = backbone.embed_patches(video.flatten(0, 1))
        if len(self.vision_prompts):
            x = torch.cat([x, self._insert(self.vision_prompts[0], x)], dim=1)
        # After the prompts were added: those of the first block pass the norm, those of later blocks do not.
        x = backbone.visual.ln_pre(x)
        for index, block in enumerate(backbone.vision_blocks):
            if 0 < index < len(self.vision_prompts):
                # The last n tokens are the outputs of the previous block's prompts, which the new prompts replace.
                x = torch.cat([x[:, :-n], self._insert(self.vision_prompts[index], x)], dim=1)
            x = block(x)
        return torch.unflatten(backbone.project_class_token(x), 0, video.shape[:2])

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return text features (C, D). Prompts follow the start token and have the positions of the text tower."""
        backbone, n = self.backbone, self.options.text_tokens
        tokens, end = backbone.trim_tokens(backbone.tokenize(self.prompts(label_set)))
        x = backbone.embed_tokens(tokens, self.options.text_embedding == "published")
        # Not rounded: the original up-casts `ctx` to float32 once and does not cast it again.
        x = torch.cat([x[:, :1], self._insert(self.text_context, x, rounded=False), x[:, 1 + n :]], dim=1)

        def replace(index: int, x: Tensor) -> Tensor:
            if not 0 < index <= len(self.text_prompts):
                return x
            return torch.cat([x[:, :1], self._insert(self.text_prompts[index - 1], x), x[:, 1 + n :]], dim=1)

        return backbone.encode_embedded_text(x, end.to(tokens.device), replace)


def _draw(count: int, tokens: int, width: int) -> nn.ParameterList:
    return nn.ParameterList(nn.Parameter(torch.randn(tokens, width) * 0.02) for _ in range(count))
