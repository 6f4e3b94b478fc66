"""Bridge and prompt: deep vision and language prompts learnt on a frozen ViFi-CLIP that was tuned on the source."""

from pathlib import Path

import torch
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, UserError, register_method
from methods._specs.bridge_prompt import CLIP, FIT, BridgePromptSpec

WORDS_UP_TO = 4
"""With more context vectors than this the original ignores its initial words and draws the vectors."""


@register_method("bridge_prompt")
class BridgePrompt(BridgePromptSpec, ClipMethod):
    """Prompts at the input and in the first blocks of both towers learn; all of CLIP is frozen."""

    def setup(self) -> None:
        """Freeze CLIP and add the prompts, drawn from N(0, 0.02) or taken from the initial words."""
        options, backbone = self.options, self.backbone
        backbone.require_vit(self.name)
        backbone.require_causal_text(self.name)
        if options.text_tokens < 1 or options.text_depth < 1 or options.vision_tokens < 0 or options.vision_depth < 0:
            raise UserError(f"{self.name} needs text_tokens >= 1 and text_depth >= 1, found {options}.")
        if options.stage_one not in (FIT, CLIP):
            backbone.load_checkpoint(Path(options.stage_one))
        self.freeze_clip()
        n_vision = min(options.vision_depth, len(backbone.vision_blocks)) if options.vision_tokens else 0
        n_text = min(options.text_depth, len(backbone.text_blocks))
        vision_width, text_width = backbone.visual.class_embedding.shape[0], backbone.text.ln_final.weight.shape[0]
        self.text_context = nn.Parameter(self._initial_context(text_width))
        self.vision_prompts = _draw(n_vision, options.vision_tokens, vision_width)
        self.text_prompts = _draw(n_text - 1, options.text_tokens, text_width)

    @property
    def starts_from_words(self) -> bool:
        """Whether the text prompts begin as the embeddings of the initial words."""
        return bool(self.options.context) and self.options.text_tokens <= WORDS_UP_TO

    def _initial_context(self, width: int) -> Tensor:
        n = self.options.text_tokens
        if not self.starts_from_words:
            drawn = torch.randn(n, width) * 0.02
            return drawn.half().float() if self.options.prompt_rounding == "published" else drawn
        tokens = self.backbone.tokenize((self.options.context,))
        words = int(tokens.argmax()) - 1
        if words < n:
            raise UserError(f"The context {self.options.context!r} has {words} tokens, too few for text_tokens={n}.")
        return self.backbone.embed_tokens(tokens[:, 1 : 1 + n])[0].detach().clone()

    def prompts(self, label_set: LabelSet) -> tuple[str, ...]:
        """The text whose first tokens the context replaces; underscores in names become blanks, here only."""
        prefix = self.options.context if self.starts_from_words else " ".join(["X"] * self.options.text_tokens)
        return tuple(f"{prefix} {name.replace('_', ' ')}." for name in label_set.names)

    def adopt(self, state: dict[str, Tensor]) -> None:
        """Start from a stage-one fit, which must bring all of CLIP but the token embedding."""
        expected = {n for n, _ in self.named_parameters() if n.startswith("backbone.") and "token_embedding" not in n}
        missing = sorted(expected - set(state))
        if missing:
            raise UserError(
                f"The stage-one fit lacks {len(missing)} tensors of CLIP (first: {', '.join(missing[:3])})."
            )
        super().adopt(state)

    def _insert(self, prompt: Tensor, like: Tensor, rounded: bool = True) -> Tensor:
        """A prompt (n, width) for every row of `like` (N, L, width), rounded where the original rounds."""
        if rounded and self.options.prompt_rounding == "published":
            prompt = prompt.half()
        return prompt.to(like.dtype).expand(len(like), -1, -1)

    def encode_frames(self, video: Tensor) -> Tensor:
        """Frame features (B, T, D); prompts stand behind the patches, without positions, and pass `ln_pre` at first."""
        backbone, n = self.backbone, self.options.vision_tokens
        x = backbone.embed_patches(video.flatten(0, 1))
        if len(self.vision_prompts):
            x = torch.cat([x, self._insert(self.vision_prompts[0], x)], dim=1)
        x = backbone.visual.ln_pre(x)
        for number, block in enumerate(backbone.vision_blocks):
            if 0 < number < len(self.vision_prompts):
                x = torch.cat([x[:, :-n], self._insert(self.vision_prompts[number], x)], dim=1)
            x = block(x)
        return backbone.project_class_token(x).unflatten(0, video.shape[:2])

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Text features (C, D); prompts stand right behind the start token and receive its tower's positions."""
        backbone, n = self.backbone, self.options.text_tokens
        tokens = backbone.tokenize(self.prompts(label_set))
        end = tokens.argmax(dim=-1)
        tokens = tokens[:, : int(end.max()) + 1].to(self.text_context.device)
        x = backbone.embed_tokens(tokens, self.options.text_embedding == "published")
        x = torch.cat([x[:, :1], self._insert(self.text_context, x, rounded=False), x[:, 1 + n :]], dim=1)

        def replace(number: int, x: Tensor) -> Tensor:
            if not 0 < number <= len(self.text_prompts):
                return x
            return torch.cat([x[:, :1], self._insert(self.text_prompts[number - 1], x), x[:, 1 + n :]], dim=1)

        return backbone.encode_embedded_text(x, end.to(tokens.device), replace)


def _draw(count: int, tokens: int, width: int) -> nn.ParameterList:
    return nn.ParameterList(nn.Parameter(torch.randn(tokens, width) * 0.02) for _ in range(count))
