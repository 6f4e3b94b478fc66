"""ESZSL: a bilinear map between videos and classes, solved in closed form."""

import torch
from torch import Tensor, nn

from harness.api import LabelSet, register_method
from methods._embedding import EmbeddingMethod
from methods._specs.eszsl import EszslOptions, EszslSpec

GRID = tuple(10.0**power for power in range(-3, 4))
"""Candidates of both penalties."""
HELD_OUT = 5
"""Every fifth training class is held out to choose the penalties."""
FEWEST = 10
"""Least number of training classes for which penalties are chosen; with fewer classes they are 1."""


@register_method("eszsl")
class Eszsl(EszslSpec, EmbeddingMethod):
    """The matrix V of the score x' V s of a video x and a class s solves a regularised least-squares problem."""

    options: EszslOptions
    penalties: Tensor

    def setup(self) -> None:
        """Freeze CLIP; V is zero until the fit."""
        super().setup()
        self.bilinear = nn.Parameter(torch.zeros(self.embed_dim, self.embed_dim))
        self.register_buffer("penalties", torch.zeros(2))

    def fit_features(self, features: Tensor, labels: Tensor, label_set: LabelSet) -> None:
        """Choose the penalties, then solve for V on all classes."""
        # On the CPU in double precision: the sums run over up to 240,000 videos and must be equal on all devices.
        text = self.encode_text(label_set)
        videos, classes = (self.unit(x).cpu().double() for x in (features, text))
        labels = labels.cpu()
        gamma, penalty = self.options.visual_penalty, self.options.class_penalty
        if gamma is None or penalty is None:
            gamma, penalty = choose(videos, labels, classes, gamma, penalty)
        self.penalties.copy_(torch.tensor([gamma, penalty]))
        self.bilinear.copy_(solution(videos, labels, classes, gamma, penalty))

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Return scores (B, C): x' V s."""
        with self.in_fp32(video):
            return self.unit(video) @ self.bilinear.float() @ self.unit(text).t()


def solution(videos: Tensor, labels: Tensor, classes: Tensor, gamma: float, penalty: float) -> Tensor:
    """Return V = (X X' + gamma I)^-1 X Y S' (S S' + lambda I)^-1, where Y is 1 for a video's class, else -1.

    Args:
        videos: (N, D), the columns of X.
        labels: (N,) ids.
        classes: (C, A), the columns of S.
        gamma: Penalty on the image of the classes under the map.
        penalty: Lambda, the penalty on the image of the videos.

    Returns:
        (D, A).
    """
    return _Moments(videos, labels, classes).solution(gamma, penalty)


class _Moments:
    """Products of a training set from which V follows for any penalties."""

    def __init__(self, videos: Tensor, labels: Tensor, classes: Tensor) -> None:
        of_class = torch.zeros(len(classes), videos.shape[1], dtype=videos.dtype).index_add(0, labels, videos)
        signed = 2 * of_class - of_class.sum(dim=0)  # Y'X without the matrix Y of N x C entries
        self.visual, self.semantic = videos.t() @ videos, classes.t() @ classes
        self.cross = signed.t() @ classes

    def solution(self, gamma: float, penalty: float) -> Tensor:
        left, right = (m + p * torch.eye(len(m)).to(m) for m, p in ((self.visual, gamma), (self.semantic, penalty)))
        solved: Tensor = torch.linalg.solve(right, torch.linalg.solve(left, self.cross).t())
        return solved.t()


def choose(
    videos: Tensor, labels: Tensor, classes: Tensor, gamma: float | None = None, penalty: float | None = None
) -> tuple[float, float]:
    """Return the penalties of the grid with the best mean accuracy per class on held-out training classes.

    Args:
        videos: (N, D).
        labels: (N,) class ids.
        classes: (C, A).
        gamma: Fixed value; None to choose one.
        penalty: Fixed value; None to choose one.
    """
    # Fewer classes leave at most one held-out class, on which every penalty scores 100 %.
    if len(classes) < FEWEST:
        return gamma or 1.0, penalty or 1.0
    ids = torch.arange(len(classes), device=labels.device)
    held = ids % HELD_OUT == HELD_OUT - 1
    # Held-out and remaining classes are numbered anew, because each part has a matrix of classes of its own.
    new = torch.full_like(ids, -1)
    for part in (held, ~held):
        new[part] = torch.arange(int(part.sum()), device=ids.device)
    tests = held[labels]
    moments = _Moments(videos[~tests], new[labels[~tests]], classes[~held])
    unseen, true, candidates = videos[tests], new[labels[tests]], classes[held].t()
    counts = torch.bincount(true, minlength=candidates.shape[1]).clamp(min=1)
    best = (-1.0, GRID[0], GRID[0])
    for g in GRID if gamma is None else (gamma,):
        for p in GRID if penalty is None else (penalty,):
            hits = (unseen @ (moments.solution(g, p) @ candidates)).argmax(dim=-1) == true
            # Per class, because large classes would decide a mean over videos.
            accuracy = float((torch.bincount(true[hits], minlength=len(counts)) / counts).mean())
            # A tie keeps the earlier candidate, whose penalties are smaller.
            best = max(best, (accuracy, g, p), key=lambda row: row[0])
    return best[1:]
