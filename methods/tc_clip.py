"""TC-CLIP: each frame attends to context tokens of the whole video, and these tokens adapt the texts of the classes.

Source: naver-ai/tc-clip, clip/vision_transformer_tc.py and trainers/tc_clip*.py.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, ParameterGroup, Recipe, UserError, register_method
from methods._context_attention import PromptLayer, attend_with_context
from methods._merging import Merged, merge
from methods._specs._texts import split_words
from methods._specs.tc_clip import JOINT, TcClipOptions, TcClipSpec


@register_method("tc_clip")
class TcClip(TcClipSpec, ClipMethod[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]):
    """All of CLIP but the token embedding is trained, with attention biases, text vectors and prompt layers."""

    options: TcClipOptions

    def setup(self) -> None:
        """Add attention biases, text vectors and prompt layers; choose the trained parameters."""
        backbone, options = self.backbone, self.options
        visual = backbone.require_vit(self.name)
        backbone.require_causal_text(self.name)
        texts, depth = list(backbone.text_blocks), len(backbone.vision_blocks)
        numbers = {"last": [len(texts)], "none": []}.get(options.prompt_layers)
        self.levels = sorted({int(n) for n in options.prompt_layers.split("+")} if numbers is None else numbers)
        width = backbone.text.ln_final.weight.shape[0]
        if self.levels and (self.levels[-1] > len(texts) or width != self.embed_dim):
            raise UserError(
                f"{self.name} needs the text blocks {self.levels}, as wide as the joint space of dimension "
                f"{self.embed_dim}; found {len(texts)} blocks of width {width}.",
                "Set the option tc_clip:prompt_layers=none.",
            )
        # A vision tower that is deeper than the text tower counts from its end; published only for equal depths.
        self.sources = [depth - len(texts) + level for level in self.levels]
        heads = next(iter(backbone.vision_blocks)).attn.num_heads
        self.bias_tables = nn.ParameterList(
            nn.init.trunc_normal_(torch.empty(heads, 1, 2), std=0.02) for _ in range(depth - 1 if options.bias else 0)
        )
        self.text_context = nn.Parameter(self._initial_context(width))
        self.prompt_layers = nn.ModuleList(PromptLayer(texts[level - 1]) for level in self.levels)
        self._choose_trained()
        if options.positions == JOINT:
            table = visual.positional_embedding.detach().expand(options.frames, -1, -1)
            self.positions = nn.Parameter(table.clone(), requires_grad=options.freeze not in ("image", "backbone"))
            visual.positional_embedding.requires_grad_(False)

    def _words(self) -> Tensor:
        """Return the token ids (1, words) of the option `context`."""
        with torch.device("cpu"):  # also where shapes alone are counted
            tokens = self.backbone.tokenize((self.options.context,))
        words = min(self.options.context_vectors, int(tokens.argmax()) - 1)
        return tokens[:, 1 : 1 + words]  # without the start token; the end token has the largest id

    def _initial_context(self, width: int) -> Tensor:
        """Return the embedded words of the option `context`, and further vectors from N(0, 0.02)."""
        words = self._words().to(self.backbone.logit_scale.device)
        drawn = 0.02 * torch.randn(self.options.context_vectors - words.shape[1], width)
        return torch.cat([self.backbone.embed_tokens(words)[0].detach(), drawn])

    def _choose_trained(self) -> None:
        self.learn_all()
        self.backbone.token_embedding.requires_grad_(False)
        freeze = self.options.freeze
        for name, parameter in self.named_parameters():
            clip = name.removeprefix("backbone.clip.")
            image = clip.startswith("visual.") or name.startswith("bias_tables.")
            text = clip != name and not image and clip != "logit_scale"
            if (image and freeze in ("image", "backbone")) or (text and freeze in ("text", "backbone")):
                parameter.requires_grad_(False)

    def shares_initial(self, name: str) -> bool:
        """Return whether a tensor is interpolated with CLIP: not the biases, text vectors and prompt layers."""
        return super().shares_initial(name) or name == "positions"

    def prompts(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return the texts whose first tokens the learned vectors replace; a file of class texts replaces the names."""
        drawn = ["X"] * (self.options.context_vectors - self._words().shape[1])
        prefix = " ".join(filter(None, [self.options.context, *drawn]))
        names = super().prompts(label_set)
        if self.options.split_names:
            names = tuple(split_words(name) for name in names)
        return tuple(f"{prefix} {name.replace('_', ' ')}." for name in names)

    def summarise(self, frames: Tensor, attention: Tensor) -> tuple[Merged, Tensor]:
        """Merge the most attended patches of all frames into context tokens.

        Args:
            frames: (B, T, 1 + P, width).
            attention: (B, T, P) attention of the class tokens.

        Returns:
            The context tokens, and the seeds (B, T, S): numbers of patches, most attended first, an order on which the
            pairs of the matching depend.
        """
        seeds = attention.topk(max(1, int(attention.shape[2] * self.options.seeds)), dim=-1).indices
        chosen = frames[:, :, 1:].gather(2, seeds.unsqueeze(-1).expand(-1, -1, -1, frames.shape[3]))
        return merge(chosen.flatten(1, 2), self.options.tokens, self.options.merged_per_round), seeds

    def encode_video(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Return video features (B, D), and for each prompt layer the projected context tokens (B, layers, K, D)."""
        frames, tokens, _ = self._encode(video)
        return frames.mean(dim=1), tokens

    def encode_frames(self, video: Tensor) -> Tensor:
        """Return frame features (B, T, D), not normalised: the projected class tokens of the last block."""
        return self._encode(video)[0]

    def patch_attention(self, video: Tensor) -> Tensor:
        """Return the attention (B, T, P) of the class tokens to the patches in the last block, mean over heads."""
        return self._encode(video)[2]

    def _run_vision_block(self, index: int, frames: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        block = list(self.backbone.vision_blocks)[index]
        table = self.bias_tables[index - 1] if index and len(self.bias_tables) else None
        attended, attention = attend_with_context(block, frames, context, table)
        frames = frames + attended
        context = self.summarise(frames, attention)[0].tokens
        # Context tokens are made before the MLP, and pass it like the patches.
        return frames + block.mlp(block.ln_2(frames)), context + block.mlp(block.ln_2(context)), attention

    def _encode(self, video: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.check_frames(self.options, video.shape[1])
        visual, context, kept = self.backbone.visual, None, []
        x = self.backbone.embed_patches(video.flatten(0, 1))
        frames = torch.unflatten(x, 0, video.shape[:2])
        if self.options.positions == JOINT:
            frames = frames + (self.positions - visual.positional_embedding).to(x.dtype)
        frames = visual.ln_pre(frames)
        for index in range(len(self.backbone.vision_blocks)):
            frames, context, attention = self.backbone.recompute(self._run_vision_block, index, frames, context)
            if index + 1 in self.sources:
                kept.append(visual.ln_post(context) @ visual.proj)
        tokens = torch.stack(kept, dim=1) if kept else frames.new_zeros(len(frames), 0, 1, self.embed_dim)
        # Without gradient, so that the texts do not train the vision tower.
        tokens = tokens.detach() if self.options.stop_gradient else tokens
        return visual.ln_post(frames[:, :, 0]) @ visual.proj, tokens, attention

    def encode_text(self, label_set: LabelSet) -> tuple[Tensor, Tensor]:
        """Return hidden states (C, L, width) before the first prompt layer, and positions (C,) of the end tokens."""
        backbone, n = self.backbone, self.options.context_vectors
        tokens, end = backbone.trim_tokens(backbone.tokenize(self.prompts(label_set)))
        x = backbone.embed_tokens(tokens, self.options.text_embedding == "published")
        x = torch.cat([x[:, :1], self.text_context.to(x.dtype).expand(len(x), -1, -1), x[:, 1 + n :]], dim=1)
        x = x + backbone.text.positional_embedding[: x.shape[1]].to(x.dtype)
        stop = self.levels[0] - 1 if self.levels else len(backbone.text_blocks)
        return self._run_blocks(x, 0, stop), end

    def _run_blocks(self, x: Tensor, start: int, stop: int) -> Tensor:
        mask = self.backbone.text.attn_mask[: x.shape[1], : x.shape[1]]
        for block in list(self.backbone.text_blocks)[start:stop]:
            x = block(x, attn_mask=mask)
        return x

    def adapt_text(self, hidden: Tensor, end: Tensor, tokens: Tensor) -> Tensor:
        """Return the text features (C, D) that one video gives, from its context tokens (layers, K, D)."""
        stops = [*self.levels, len(self.backbone.text_blocks) + 1]
        for layer, context, (start, stop) in zip(self.prompt_layers, tokens, pairwise(stops), strict=True):
            vectors = layer(hidden[:, 1 : 1 + len(self.text_context)], context.to(hidden.dtype))
            hidden = torch.cat([hidden[:, :1], vectors, hidden[:, 1 + vectors.shape[1] :]], dim=1)
            hidden = self._run_blocks(hidden, start - 1, stop - 1)
        return self.backbone.project_end_token(hidden, end)

    def score(self, video: tuple[Tensor, Tensor], text: tuple[Tensor, Tensor]) -> Tensor:
        """Return logits (B, C): cosine of each video and the texts that it adapted, times the scale."""
        features, tokens = video
        # Video by video, because hidden states of all classes for a whole batch do not fit into memory.
        texts = (self.adapt_text(*text, of_video) for of_video in tokens)
        return torch.cat([self.scaled_cosines(f[None], t) for f, t in zip(features, texts, strict=True)])

    def parameter_groups(self, recipe: Recipe) -> list[ParameterGroup]:
        """Return the groups of CLIP and the biases, of the text vectors, and of the prompt layers."""
        new = [[self.text_context], list(self.prompt_layers.parameters())]
        own = {id(p) for group in new for p in group}
        clip = [p for p in self.trainable() if id(p) not in own]
        groups: list[ParameterGroup] = [{"params": clip, "lr": recipe.lr, "weight_decay": recipe.weight_decay}]
        for params in new:
            rate = recipe.lr * self.options.new_lr
            groups.append({"params": params, "lr": rate, "weight_decay": recipe.weight_decay})
        return groups
