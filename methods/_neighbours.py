"""Attention of a ViT to the neighbouring frames of a video, and other code that Open-VCLIP and FROSTER share."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api import Backbone, ClipMethod, ParameterGroup, Recipe, class_row


def see_neighbours(backbone: Backbone, reach: int, method: str) -> None:
    """Let the blocks of a ViT attend to the frames before and behind a frame if they are given videos.

    Args:
        backbone: The CLIP model, whose blocks are changed in place.
        reach: Frames before and behind a frame; 0 for plain frames.
        method: Name of the method for messages.

    Raises:
        UserError: The vision tower is not a plain ViT.
    """
    backbone.require_vit(method)
    for block in backbone.vision_blocks:
        block.attention = NeighbourAttention(block.attn, reach)


class NeighbourAttention:
    """The attention of a block of open_clip: of videos to neighbouring frames, of single pictures as before.

    Args:
        attn: The attention layer of the block.
        reach: Frames before and behind a frame.
    """

    def __init__(self, attn: nn.MultiheadAttention, reach: int) -> None:
        self.attn, self.reach = attn, reach

    def __call__(
        self, q_x: Tensor, k_x: Tensor | None = None, v_x: Tensor | None = None, attn_mask: Tensor | None = None
    ) -> Tensor:
        """Return (B, T, L, width) of the tokens of videos, or (N, L, width) of pictures; keys are the queries."""
        attn = self.attn
        if q_x.ndim == 3:
            plain: Tensor = attn(q_x, q_x, q_x, need_weights=False, attn_mask=attn_mask)[0]
            return plain
        qkv = F.linear(q_x, attn.in_proj_weight, attn.in_proj_bias)
        q, k, v = (torch.unflatten(part, -1, (attn.num_heads, -1)) for part in qkv.chunk(3, dim=-1))
        k, v = with_neighbours(k, self.reach), with_neighbours(v, self.reach)
        # Frames join the batch, because fused attention takes four dimensions.
        q, k, v = (part.flatten(0, 1).transpose(1, 2) for part in (q, k, v))
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        projected: Tensor = attn.out_proj(torch.unflatten(attended, 0, q_x.shape[:2]))
        return projected


    def class_row(self, normed: Tensor) -> Tensor:
        """Return the attention (B, T, L) of the class tokens to the tokens of their own frames, mean over heads.

        Args:
            normed: (B, T, L, width) tokens after the first norm of the block.
        """
        attn, length = self.attn, normed.shape[2]
        query, key, _ = F.linear(normed, attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=-1)
        row = class_row(query.flatten(0, 1), with_neighbours(key, self.reach).flatten(0, 1), attn.num_heads)
        return torch.unflatten(row[:, self.reach * length : (self.reach + 1) * length], 0, normed.shape[:2])


def with_neighbours(x: Tensor, reach: int) -> Tensor:
    """Return keys or values of each frame and its neighbours: (B, T, L, ...) -> (B, T, (1 + 2 reach) L, ...).

    Frames before the first and behind the last are zeros that stay in the softmax with score 0, as in the original.
    """
    frames = x.shape[1]
    padding = [0, 0] * (x.ndim - 2) + [reach, reach]
    padded = F.pad(x, padding)
    return torch.cat([padded[:, shift : shift + frames] for shift in range(2 * reach + 1)], dim=2)


def mean_direction(features: Sequence[Tensor]) -> Tensor:
    """Return the normalised mean of the directions of features of equal shape."""
    return F.normalize(torch.stack([F.normalize(f.float(), dim=-1) for f in features]).mean(dim=0), dim=-1)


class NeighbourClip(ClipMethod):
    """CLIP whose frames see their neighbours and are scored one by one. `setup()` calls `see_neighbours`."""

    def encode_frames(self, video: Tensor) -> Tensor:
        """Return frame features (B, T, D), not normalised."""
        *_, last = self.backbone.vision_blocks
        x = last(self._before_last(video)).flatten(0, 1)
        return torch.unflatten(self.backbone.project_class_token(x), 0, video.shape[:2])

    def _before_last(self, video: Tensor) -> Tensor:
        """Return the tokens (B, T, 1 + P, width) before the last vision block."""
        backbone = self.backbone
        tokens: Tensor = backbone.visual.ln_pre(backbone.embed_patches(video.flatten(0, 1)))
        x = torch.unflatten(tokens, 0, video.shape[:2])
        *before, _ = backbone.vision_blocks
        for block in before:
            x = block(x)
        return x

    @torch.no_grad()
    def patch_attention(self, video: Tensor) -> Tensor:
        """Return the attention (B, T, P) of the class tokens to the patches of their frames, mean over heads."""
        *_, last = self.backbone.vision_blocks
        attention = last.attention
        assert isinstance(attention, NeighbourAttention)
        return attention.class_row(last.ln_1(self._before_last(video)))[:, :, 1:]

    def pool(self, frames: Tensor) -> Tensor:
        """Return the mean (B, D) of the directions of frame features, which is not normalised again."""
        return F.normalize(frames.float(), dim=-1).mean(dim=1)

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Return logits (B, C): the mean over frames of cosine times scale."""
        with self.in_fp32(video):
            cosines = video.float() @ F.normalize(text.float(), dim=-1).t()
            return self.backbone.add_bias(self.backbone.logit_scale.float().exp() * cosines)

    def parameter_groups(self, recipe: Recipe) -> list[ParameterGroup]:
        """Return two groups: parameters with weight decay, `logit_scale` included; vectors and biases without it.

        Source: the optimiser of the SlowFast code.
        """
        parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                parts[parameter.ndim != 1 and not name.endswith(".bias")].append(parameter)
        decays = {True: recipe.weight_decay, False: 0.0}
        return [{"params": parts[kind], "lr": recipe.lr, "weight_decay": decays[kind]} for kind in parts]


class InitialWeights(nn.Module):
    """Copies of tensors as they are when the copies are made. They are neither trained nor saved.

    Args:
        named: The tensors by name.
    """

    def __init__(self, named: Iterable[tuple[str, Tensor]]) -> None:
        super().__init__()
        self.names: list[str] = []
        for name, tensor in named:
            # Buffers, so that they move to a device with the method; their names may hold no dots.
            self.register_buffer(f"w{len(self.names)}", tensor.detach().clone(), persistent=False)
            self.names.append(name)

    def values(self) -> dict[str, Tensor]:
        """Return the copies by name."""
        return dict(zip(self.names, self.buffers(), strict=True))
