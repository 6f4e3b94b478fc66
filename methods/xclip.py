"""X-CLIP: frames exchange messages inside the vision tower, and each video adapts the text of the classes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api import ClipMethod, ParameterGroup, Recipe, register_method
from methods._blocks import Blocks, QuickGELU, draw_linear
from methods._specs.xclip import XClipOptions, XClipSpec

HEAD_WIDTH = 64


class Message(nn.Module):
    """Messages of frames, made of their class tokens and exchanged among the frames of a video."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.ln = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, tokens: Tensor, frames: int) -> Tensor:
        """Return messages (B*T, 1, width) of tokens (B*T, L, width)."""
        message: Tensor = torch.unflatten(self.fc(tokens[:, 0]), 0, (-1, frames))
        y = self.ln(message)
        exchanged: Tensor = self.attn(y, y, y, need_weights=False)[0]
        message = message + exchanged
        return message.flatten(0, 1).unsqueeze(1).to(tokens.dtype)


class MultiFrameIntegration(Blocks):
    """Blocks over frame features with learned positions and a residual, then the mean: (B, T, D) -> (B, D)."""

    def __init__(self, width: int, layers: int, frames: int) -> None:
        super().__init__(width, layers, max(1, width // HEAD_WIDTH))
        # One position per frame of training: weights of one number of frames do not fit another (models/mit.py).
        self.positional_embedding = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, frames, width), std=0.02))
        draw_linear(self, truncated=True)

    def forward(self, frames: Tensor) -> Tensor:
        """Return video features; the residual carries the frame features without positions."""
        return (super().forward(frames + self.positional_embedding).to(frames.dtype) + frames).mean(dim=1)


class CrossAttention(nn.Module):
    """Attention of class texts to the patches of a video; only the output projection has a bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, texts: Tensor, patches: Tensor) -> Tensor:
        """Return (B, C, D) of texts (B, C, D) and patches (B, P, D)."""
        q, k, v = (
            torch.unflatten(project(x), -1, (self.heads, -1)).transpose(1, 2)
            for project, x in ((self.q_proj, texts), (self.k_proj, patches), (self.v_proj, patches))
        )
        attended: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return attended


class PromptLayer(nn.Module):
    """Cross-attention and MLP, each with a residual. Names are those of the original, which has no `norm2`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cross_attn = CrossAttention(width, max(1, width // HEAD_WIDTH))
        self.norm1 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        # The dropout does nothing and keeps the numbers of the layers in published files.
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), QuickGELU(), nn.Dropout(0.0), nn.Linear(4 * width, width))

    def forward(self, texts: Tensor, patches: Tensor) -> Tensor:
        """Return (B, C, D) of texts (B, C, D) and patches (B, P, D)."""
        texts = texts + self.cross_attn(self.norm1(texts), patches)
        mapped: Tensor = self.mlp(self.norm3(texts))
        return texts + mapped


class PromptGenerator(nn.Module):
    """The video-specific part of each class text: texts (B, C, D), patches (B, P, D) -> (B, C, D)."""

    def __init__(self, width: int, layers: int, alpha: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.decoder = nn.ModuleList(PromptLayer(width) for _ in range(layers))
        self.alpha = nn.Parameter(torch.full((width,), alpha))
        draw_linear(self, truncated=True)

    def forward(self, texts: Tensor, patches: Tensor) -> Tensor:
        """Return the part that is added to the texts, weighted by `alpha`."""
        # Once, before all layers: the original does not normalise the patches again in each layer.
        patches = self.norm(patches)
        for layer in self.decoder:
            texts = layer(texts, patches)
        return self.alpha * texts


@register_method("xclip")
class XClip(XClipSpec, ClipMethod[tuple[Tensor, Tensor], Tensor]):
    """The vision tower and the added modules are trained; the frozen text tower encodes the texts once."""

    options: XClipOptions

    def setup(self) -> None:
        """Add messages, integration and prompt generator to a ViT."""
        options, dim = self.options, self.embed_dim
        visual = self.backbone.require_vit(self.name)
        blocks = self.backbone.vision_blocks
        width = visual.class_embedding.shape[0]
        # With torch's initial values: the initialiser in models/cct.py is never called.
        self.messages = nn.ModuleList(Message(width, block.attn.num_heads) for block in blocks)
        self.mit = MultiFrameIntegration(dim, options.mit_layers, options.frames)
        self.prompts_visual_ln = nn.LayerNorm(width)
        # Standard normal as in models/xclip.py; the initialiser of linear layers does not reach a plain parameter.
        self.prompts_visual_proj = nn.Parameter(torch.randn(width, dim))
        self.prompts_generator = PromptGenerator(dim, options.prompt_layers, options.alpha)
        self.learn_all()
        if not options.tune_text:
            self.learn_only("visual.", "messages.", "mit.", "prompts_")

    def encode_tokens(self, video: Tensor) -> Tensor:
        """Return all tokens after the last block, before the final norm: (B, T, 3, H, W) -> (B*T, 1 + P, width)."""
        frames = video.shape[1]
        self.check_frames(self.options, frames)
        x: Tensor = self.backbone.visual.ln_pre(self.backbone.embed_patches(video.flatten(0, 1)))
        for block, message in zip(self.backbone.vision_blocks, self.messages, strict=True):
            x = block(torch.cat([x, message(x, frames)], dim=1))[:, :-1]  # the message is read, then dropped
        return x

    def encode_frames(self, video: Tensor) -> Tensor:
        """Return frame features (B, T, D), not normalised."""
        return torch.unflatten(self.backbone.project_class_token(self.encode_tokens(video)), 0, video.shape[:2])

    def encode_video(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Return video features (B, D), and patch features (B, P, D) averaged over frames, which adapt the texts."""
        tokens = self.encode_tokens(video)
        frames = torch.unflatten(self.backbone.project_class_token(tokens), 0, video.shape[:2])
        # From tokens before `ln_post`, which the original applies to the class token only.
        patches = self.prompts_visual_ln(tokens[:, 1:]) @ self.prompts_visual_proj
        return self.mit(frames), torch.unflatten(patches, 0, video.shape[:2]).mean(dim=1)

    def adapt_text(self, text: Tensor, patches: Tensor) -> Tensor:
        """Return the part (B, C, D) that each video adds to the text features (C, D)."""
        added: Tensor = self.prompts_generator(text.expand(len(patches), -1, -1), patches)
        return added

    def score(self, video: tuple[Tensor, Tensor], text: Tensor) -> Tensor:
        """Return logits (B, C): cosine of a video and the texts that it adapted, times the scale."""
        features, patches = video
        texts = text + self.adapt_text(text, patches)
        with self.in_fp32(features):
            features = self.backbone.logit_scale.float().exp() * F.normalize(features.float(), dim=-1)
            texts = F.normalize(texts.float(), dim=-1)
            if self.options.logits == "published":
                return self.backbone.add_bias(torch.einsum("bd,bcd->bc", features.half(), texts.half()).float())
            return self.backbone.add_bias(torch.einsum("bd,bcd->bc", features, texts))

    def parameter_groups(self, recipe: Recipe) -> list[ParameterGroup]:
        """Return two groups, with and without weight decay, for each of CLIP, integration, prompts and messages.

        The added modules have a tenfold rate. Vectors, biases and positional embeddings are not decayed.
        """
        parts: dict[str, list[tuple[str, nn.Parameter]]] = {"clip": [], "mit": [], "prompts": [], "messages": []}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                # `prompts_generator`, `prompts_visual_ln` and `prompts_visual_proj` are one part.
                own = name.partition(".")[0].partition("_")[0]
                parts[own if own in parts else "clip"].append((name, parameter))
        groups: list[ParameterGroup] = []
        for part, named in parts.items():
            rate = recipe.lr if part == "clip" else recipe.lr * self.options.new_lr
            # As in X-CLIP's `utils/optimizer.py`.
            free = [(n, p) for n, p in named if p.ndim == 1 or n.endswith(".bias") or "positional_embedding" in n]
            kept = {id(p) for _, p in free}
            decayed = [p for _, p in named if id(p) not in kept]
            groups.append({"params": decayed, "lr": rate, "weight_decay": recipe.weight_decay})
            groups.append({"params": [p for _, p in free], "lr": rate, "weight_decay": 0.0})
        return groups
