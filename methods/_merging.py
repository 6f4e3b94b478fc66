"""Merging of similar tokens by bipartite matching, as in token merging (Bolya et al., ICLR 2023)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Merged:
    """Tokens after merging.

    Args:
        tokens: (B, K, width) averages of their members.
        sizes: (B, K) numbers of members.
        source: (B, N) index of the merged token of each original token.
    """

    tokens: Tensor
    sizes: Tensor
    source: Tensor


def merge_schedule(tokens: int, kept: int, per_round: int) -> list[int]:
    """Return how many tokens each round removes until `kept` are left: at most `per_round`, and at most half."""
    rounds: list[int] = []
    left = tokens
    for _ in range(max(0, tokens - kept) // per_round):
        rounds.append(min(per_round, left // 2))
        left -= rounds[-1]
    while left > kept:
        rounds.append(min(left - kept, left // 2))
        left -= rounds[-1]
    return rounds


def merge(tokens: Tensor, kept: int, per_round: int) -> Merged:
    """Merge tokens (B, N, width) into `kept` tokens; without effect if there are no more.

    In each round, tokens at even positions look for the most similar token at an odd position, and the most similar
    pairs become one token, an average weighted by sizes. The order of tokens matters: the next round pairs even and odd
    positions of [tokens that were not merged, by descending similarity; tokens at odd positions].
    """
    sizes = torch.ones(tokens.shape[:2], dtype=tokens.dtype, device=tokens.device)
    source = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape[:2])
    for removed in merge_schedule(tokens.shape[1], kept, per_round):
        position = _positions(tokens.detach(), removed)
        left = tokens.shape[1] - removed
        total = torch.zeros_like(tokens[:, :left]).scatter_add(
            1, position.unsqueeze(-1).expand(-1, -1, tokens.shape[2]), tokens * sizes.unsqueeze(-1)
        )
        sizes = torch.zeros_like(sizes[:, :left]).scatter_add(1, position, sizes)
        tokens = total / sizes.unsqueeze(-1)
        source = position.gather(1, source)
    return Merged(tokens, sizes, source)


def _positions(tokens: Tensor, removed: int) -> Tensor:
    """The position (B, N) of each token after a round that removes tokens; merged tokens share a position."""
    metric = F.normalize(tokens.float(), dim=-1)
    best, partner = (metric[:, ::2] @ metric[:, 1::2].transpose(1, 2)).max(dim=-1)
    order = best.argsort(dim=-1, descending=True)
    unmerged = order.shape[1] - removed  # tokens at even positions that stay
    rank = order.argsort(dim=-1)  # the inverse permutation
    position = torch.empty(tokens.shape[:2], dtype=torch.int64, device=tokens.device)
    position[:, ::2] = torch.where(rank < removed, unmerged + partner, rank - removed)
    position[:, 1::2] = unmerged + torch.arange(tokens.shape[1] // 2, device=tokens.device)
    return position
