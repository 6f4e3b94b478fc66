"""Vita-CLIP: prompts of the video, of its frames, and a summary of it in a frozen vision tower, and text contexts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, UserError, register_method
from methods._halves import attended, mapped
from methods._specs.vita_clip import CLASSES, VitaClipOptions, VitaClipSpec

if TYPE_CHECKING:
    from harness.engine.model.open_clip_types import Block


class SummaryAttention(nn.Module):
    """Attention among the frames of a video: (B, T, width) -> (B, T, width). Names are those of published files."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended frames; there is no mask."""
        q, k, v = (
            torch.unflatten(layer(x), -1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended: Tensor = self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return attended


class BlockPrompts(nn.Module):
    """The tokens that a block adds to each frame, made from the class tokens of all frames.

    Args:
        width: Width of the tokens.
        heads: Attention heads of the block.
        options: The parts, and the number of frames.
        bound: Largest absolute value of initial prompts.
    """

    def __init__(self, width: int, heads: int, options: VitaClipOptions, bound: float) -> None:
        super().__init__()
        if options.summary or options.local_prompts:
            # Frozen at its random values in the original, too: its name matches none of the trained parts.
            self.cls_proj = nn.Linear(width, width).requires_grad_(False)
        if options.summary:
            self.summary_ln = nn.LayerNorm(width)
            self.summary_attn_layer = SummaryAttention(width, heads)
        if options.local_prompts:
            self.local_prompts = nn.Parameter(torch.empty(1, options.frames, width).uniform_(-bound, bound))

    def forward(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens for the front (B, T, L, width) and the end (B, T, S, width) of frames.

        Args:
            classes: (B, T, width) class tokens. L is the number of frames, S is 1; either is 0 without the part.
        """
        front = back = classes[:, :, None][:, :, :0]
        if hasattr(self, "cls_proj"):
            projected = self.cls_proj(classes)
            if hasattr(self, "local_prompts"):
                # The prompts of all frames go into each frame.
                front = (self.local_prompts + projected)[:, None].expand(-1, classes.shape[1], -1, -1)
            if hasattr(self, "summary_ln"):
                back = (projected + self.summary_attn_layer(self.summary_ln(projected)))[:, :, None]
        return front.to(classes.dtype), back.to(classes.dtype)


@register_method("vita_clip")
class VitaClip(VitaClipSpec, ClipMethod):
    """The prompts, the summary attention, the times of frames, the text contexts and the scale are trained."""

    options: VitaClipOptions

    def setup(self) -> None:
        """Freeze CLIP but its scale; add prompts to both towers."""
        options, backbone = self.options, self.backbone
        visual = backbone.require_vit(self.name)
        backbone.require_causal_text(self.name)
        if options.context == CLASSES and options.fixed_classes < 1:
            raise UserError(
                f"{self.name} has context=classes and fixed_classes={options.fixed_classes}, expected the number of "
                "classes.",
                f"Set the option {self.name}:fixed_classes=N.",
            )
        self.learn_only("logit_scale")
        width, depth = visual.class_embedding.shape[0], len(backbone.vision_blocks)
        side: int = visual.conv1.weight.shape[-1]
        bound = math.sqrt(6 / (3 * side**2 + width))
        # CLIP's convolution has no bias; that of the original has one, which files hold and which is frozen.
        self.patch_bias = nn.Parameter(torch.zeros(width), requires_grad=False)
        self.time_embed = nn.Parameter(0.02 * torch.randn(options.frames, width))
        if options.global_prompts:
            prompts = torch.empty(depth, options.global_prompts, width)
            self.global_prompts = nn.Parameter(prompts.uniform_(-bound, bound))
        self.blocks = nn.ModuleList(
            BlockPrompts(width, block.attn.num_heads, options, bound) for block in backbone.vision_blocks
        )
        self.ctx = nn.Parameter(self._initial_context(backbone.text.ln_final.weight.shape[0]))

    def _initial_context(self, width: int) -> Tensor:
        """Return the initial contexts (n, width), or (C, n, width) with contexts for each class."""
        options = self.options
        if options.words:
            # Words are shared by the classes, as in the original, where they win over contexts for each class.
            with torch.device("cpu"):  # also where shapes alone are counted
                tokens = self.backbone.tokenize((options.words.replace("_", " "),))
            words = tokens[:, 1 : int(tokens.argmax())].to(self.backbone.logit_scale.device)
            return self.backbone.embed_tokens(words)[0].detach().clone()
        classes = (options.fixed_classes,) if options.context == CLASSES else ()
        return 0.02 * torch.randn(*classes, options.contexts, width)

    def times(self, frames: int) -> Tensor:
        """Return the embedding (T, width) that is added to the tokens of each frame.

        Raises:
            UserError: A part of the method needs the number of frames that it was set up for.
        """
        if frames == self.options.frames:
            return self.time_embed
        self.check_frames(self.options, frames)
        return F.interpolate(self.time_embed.t()[None], size=frames, mode="nearest")[0].t()

    def apply_block(self, index: int, block: Block, x: Tensor) -> Tensor:
        """Return tokens (B, T, 1 + P, width) after a block with its prompts, which are removed again."""
        shape = x.shape
        front, back = self.blocks[index](x[:, :, 0])
        video = x[:, :, :0]
        if self.options.global_prompts:
            video = self.global_prompts[index].to(x.dtype).expand(*shape[:2], -1, -1)
        tokens = torch.cat([x[:, :, :1], front, video, x[:, :, 1:], back], dim=2).flatten(0, 1)
        tokens = tokens + attended(block, block.ln_1(tokens))
        # Local prompts and summary leave before the MLP, the prompts of the video behind it.
        tokens = torch.cat([tokens[:, :1], tokens[:, 1 + front.shape[2] : tokens.shape[1] - back.shape[2]]], dim=1)
        tokens = tokens + mapped(block, block.ln_2(tokens))
        return torch.cat([tokens[:, :1], tokens[:, 1 + video.shape[2] :]], dim=1).view(shape)

    def first_patch(self, frames: int) -> int:
        """Return the position of the first patch, behind the class token and the prompts."""
        return 1 + (frames if self.options.local_prompts else 0) + self.options.global_prompts

    def encode_frames(self, video: Tensor) -> Tensor:
        """Return frame features (B, T, D), not normalised."""
        times = self.times(video.shape[1])
        tokens = torch.unflatten(self.backbone.embed_patches(video.flatten(0, 1)), 0, video.shape[:2])
        tokens = torch.cat([tokens[:, :, :1], tokens[:, :, 1:] + self.patch_bias.to(tokens.dtype)], dim=2)
        x: Tensor = self.backbone.visual.ln_pre(tokens + times[:, None].to(tokens.dtype))
        for index, block in enumerate(self.backbone.vision_blocks):
            x = self.apply_block(index, block, x)
        return torch.unflatten(self.backbone.project_class_token(x.flatten(0, 1)), 0, video.shape[:2])

    def prompts(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return the texts whose first tokens the contexts replace; underscores in names become blanks."""
        prefix = self.options.words.replace("_", " ") or " ".join(["X"] * self.options.contexts)
        return tuple(f"{prefix} {name.replace('_', ' ')}." for name in label_set.names)

    def order(self, label_set: LabelSet, length: int) -> Tensor:
        """Return, for each class and position, the position in the text of `prompts` whose vector it takes, (C, L)."""
        contexts = self.ctx.shape[-2]
        ahead = {"end": contexts, "middle": contexts // 2, "front": 0}[self.options.position]
        names = tuple(name.replace("_", " ") for name in label_set.names)
        rows = torch.arange(length).repeat(len(names), 1)
        for row, words in zip(rows, (self.backbone.tokenize(names).argmax(dim=-1) - 1).tolist(), strict=True):
            name, rest = row[1 + contexts : 1 + contexts + words], row[1 + ahead : 1 + contexts]
            row[1 + ahead : 1 + contexts + words] = torch.cat([name, rest]).clone()
        return rows

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return text features (C, D), not normalised.

        Raises:
            NotApplicableError: There are contexts for another number of classes than the label set has.
        """
        self.check_classes(self.options, label_set)
        tokens = self.backbone.tokenize(self.prompts(label_set))
        end = tokens.argmax(dim=-1)
        order = self.order(label_set, int(end.max()) + 1)
        tokens, order = (part[:, : order.shape[1]].to(self.ctx.device) for part in (tokens, order))
        x = self.backbone.embed_tokens(tokens)
        contexts = self.ctx.to(x.dtype).expand(len(x), -1, -1)
        x = torch.cat([x[:, :1], contexts, x[:, 1 + contexts.shape[1] :]], dim=1)
        x = x.gather(1, order[:, :, None].expand_as(x))
        return self.backbone.encode_embedded_text(x, end.to(x.device))
