"""Motionformer: a video transformer whose patches follow trajectories, frame by frame and then over frames."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods._specs._mformer import JOINT, ORTHOFORMER, PROJECTED, MformerOptions, Size

PATCH, GRID = 16, 14
"""Side of a patch in pixels, and side of the stored table of positions in patches."""
EPS = 1e-6


def attend(queries: Tensor, keys: Tensor, values: Tensor, scale: float | None = None) -> Tensor:
    """Return attention (..., L, d) of queries (..., L, d) to M keys and values (..., M, d); 1/sqrt(d) by default."""
    return F.scaled_dot_product_attention(queries, keys, values, scale=scale)


class TrajectoryAttention(nn.Module):
    """Attention of a patch to each frame, then over frames; (B, 1 + F * P, width) -> the same.

    Args:
        width: Width of the tokens.
        heads: Number of heads.
        options: Options of the method.
    """

    def __init__(self, width: int, heads: int, options: MformerOptions) -> None:
        super().__init__()
        self.heads, self.options = heads, options
        self.qkv = nn.Linear(width, 3 * width)
        if options.attention != JOINT:
            self.proj_q = nn.Linear(width, width)
            # The half for values is in the published files and used by values=projected alone.
            self.proj_kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Return the attended tokens; `frames` is F, the number of temporal positions."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, 1 + S, d)
        if self.options.attention == JOINT:
            attended: Tensor = self.proj(self.joined(attend(q, k, v)))
            return attended
        # The class token sees all tokens, and no patch sees it.
        cls = self.joined(attend(q[:, :, :1], k, v))
        spatial = self.over_patches(q[:, :, 1:], k[:, :, 1:], v[:, :, 1:], frames)
        patches = self.along_trajectories(spatial.permute(0, 3, 2, 1, 4).flatten(3), frames)
        attended = self.proj(torch.cat([cls, patches], dim=1))
        return attended

    @staticmethod
    def joined(x: Tensor) -> Tensor:
        """Join the heads of tokens (B, heads, L, d): (B, L, width)."""
        return x.transpose(1, 2).flatten(2)

    def over_patches(self, q: Tensor, k: Tensor, v: Tensor, frames: int) -> Tensor:
        """Return (B, heads, F, S, d): for each of the S patches the mean of the patches of each frame that it sees."""
        k, v = k.unflatten(2, (frames, -1)), v.unflatten(2, (frames, -1))
        if self.options.attention != ORTHOFORMER:
            return attend(q[:, :, None].expand(-1, -1, frames, -1, -1), k, v)
        scale = q.shape[-1] ** -0.25
        q, k = q * scale, k * scale
        chosen = self.choose_landmarks(q.detach())
        landmarks = q.gather(2, chosen[..., None].expand(-1, -1, -1, q.shape[-1]))
        per_frame = attend(landmarks[:, :, None].expand(-1, -1, frames, -1, -1), k, v, 1.0)
        shares = (q @ landmarks.transpose(-2, -1)).softmax(dim=-1)
        return shares[:, :, None] @ per_frame

    def first_landmarks(self, q: Tensor) -> Tensor:
        """Return the first landmark (B, heads) for queries (B, heads, S, d).

        The original draws it anew in each pass, so that its scores are random. Here each head has a fixed one.
        """
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randint(q.shape[2], (q.shape[1],), generator=generator)
        return drawn.to(q.device).expand(q.shape[0], -1)

    def choose_landmarks(self, q: Tensor) -> Tensor:
        """Return indices (B, heads, K) of queries (B, heads, S, d), each nearly orthogonal to all before."""
        directions = F.normalize(q.float(), dim=-1)
        chosen = [self.first_landmarks(q)]
        nearest = torch.zeros(q.shape[:3], device=q.device)
        while len(chosen) < min(self.options.landmarks, q.shape[2]):
            last = chosen[-1][..., None, None].expand(-1, -1, 1, q.shape[-1])
            cosines = (directions * directions.gather(2, last)).sum(dim=-1).abs()
            nearest = torch.maximum(nearest, cosines)
            chosen.append(nearest.argmin(dim=-1))
        return torch.stack(chosen, dim=-1)

    def along_trajectories(self, x: Tensor, frames: int) -> Tensor:
        """Return (B, S, width), the attention of each patch over its means (B, S, F, width) of all frames."""
        # Entry (f, p, f): the mean of the frame in which the patch lies.
        own = x.unflatten(1, (frames, -1)).diagonal(dim1=1, dim2=3).movedim(-1, 1).flatten(1, 2)
        keys, projected = self.proj_kv(x).unflatten(-1, (2, self.heads, -1)).unbind(3)  # (B, S, F, heads, d)
        weights = self.over_frames(self.proj_q(own).unflatten(-1, (self.heads, -1)), keys)
        values = projected if self.options.values == PROJECTED else x.unflatten(-1, (self.heads, -1))
        return torch.einsum("bhsf,bsfhd->bshd", weights, values).flatten(2)

    def over_frames(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the weights (B, heads, S, F) of frames for queries (B, S, heads, d) and keys (B, S, F, heads, d)."""
        scores = torch.einsum("bshd,bsfhd->bhsf", q * q.shape[-1] ** -0.5, k)
        return scores.softmax(dim=-1)


class TrajectoryBlock(nn.Module):
    """x + attention(norm x), then x + MLP(norm x). Parameter names are those of the published files."""

    def __init__(self, width: int, heads: int, options: MformerOptions) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=EPS), nn.LayerNorm(width, eps=EPS)
        self.attn = TrajectoryAttention(width, heads, options)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Return the tokens (B, 1 + F * P, width) after the block."""
        attended: Tensor = self.attn(self.norm1(x), frames)
        x = x + attended
        mapped: Tensor = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
        return x + mapped


class Motionformer(nn.Module):
    """Videos (B, T, 3, H, W), RGB 0..255, to scores (B, C). Parameter names are those of the published files.

    Args:
        options: Options of the method.
        size: Size of the network.
    """

    def __init__(self, options: MformerOptions, size: Size) -> None:
        super().__init__()
        self.options, width, tubelet = options, size.width, options.tubelet
        self.frames = size.frames // tubelet
        self.cls_token = table(1, width)
        if options.positions == JOINT:
            # Unlike the tables of `separate`, it cannot be enlarged: the grid is that of the input.
            self.st_embed = table(1 + self.frames * (size.size // PATCH) ** 2, width)
        else:
            self.pos_embed = table(1 + GRID**2, width)
            self.temp_embed = nn.Parameter(torch.zeros(1, self.frames, width))
        patches: nn.Module
        if tubelet > 1:
            patches = nn.Conv3d(3, width, (tubelet, PATCH, PATCH), stride=(tubelet, PATCH, PATCH))
            self.patch_embed_3d = nn.ModuleDict({"proj": patches})
        else:
            self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, stride=PATCH)})
        self.blocks = nn.ModuleList(TrajectoryBlock(width, size.heads, options) for _ in range(size.layers))
        self.norm = nn.LayerNorm(width, eps=EPS)
        if options.mlp_head:
            self.pre_logits = nn.ModuleDict({"fc": nn.Linear(width, width)})
        self.head = nn.Linear(width, options.fixed_classes)

    def forward(self, video: Tensor) -> Tensor:
        """Return scores before the softmax."""
        return self.classify((video / 255 - 0.5) / 0.5)

    def classify(self, video: Tensor) -> Tensor:
        """Return scores (B, C) of normalised videos (B, T, 3, H, W)."""
        x = self.embed(video)
        for block in self.blocks:
            x = block(x, self.frames)
        cls = self.norm(x)[:, 0]
        if self.options.mlp_head:
            cls = torch.tanh(self.pre_logits["fc"](cls))
        scores: Tensor = self.head(cls)
        return scores

    def embed(self, video: Tensor) -> Tensor:
        """Return the tokens (B, 1 + F * P, width) of normalised videos: the class token, then frame by frame."""
        if self.options.tubelet > 1:
            grid = self.patch_embed_3d["proj"](video.transpose(1, 2)).transpose(1, 2)  # (B, F, width, rows, columns)
        else:
            grid = torch.unflatten(self.patch_embed["proj"](video.flatten(0, 1)), 0, video.shape[:2])
        x = grid.flatten(3).transpose(2, 3)  # (B, F, P, width)
        if self.options.positions == JOINT:
            first, table = self.st_embed[:, :1], self.st_embed[:, 1:].unflatten(1, (x.shape[1], -1))
        else:
            positions = self.resized_positions(x.shape[2])
            first, table = positions[:, :1], positions[:, None, 1:] + self.temp_embed[:, :, None]
        cls = (self.cls_token + first).expand(len(x), -1, -1)
        return torch.cat([cls.to(x.dtype), (x + table.to(x.dtype)).flatten(1, 2)], dim=1)

    def resized_positions(self, patches: int) -> Tensor:
        """Return positions (1, 1 + P, width) of the class token and of P patches, enlarged from the stored grid."""
        if patches == GRID**2:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (GRID, GRID))
        factor = math.sqrt(patches / GRID**2)
        resized = F.interpolate(grid.float(), scale_factor=factor, mode="bicubic", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


def table(rows: int, width: int) -> nn.Parameter:
    """Return an initial table (1, rows, width) of learned tokens."""
    return nn.Parameter(0.02 * torch.randn(1, rows, width))
