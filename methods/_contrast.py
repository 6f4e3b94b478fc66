"""Contrastive losses over the clips of a batch, in which all clips of a class match each other's texts, and scores."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.api import Backbone, ClipMethod, TrainingBatch, UserError

TARGET_SCALE = 10.0
"""Logit of a matching pair in the target distribution."""
EVAL_SCALE = 100.0
"""Scale of similarities in evaluation, where the code of ActionCLIP and EZ-CLIP does not use the learned scale."""


def unblended_labels(batch: TrainingBatch, method: str) -> Tensor:
    """Return the class ids (B,) of a batch.

    Raises:
        UserError: The recipe smooths or blends targets, so that a clip has no single class.
    """
    require_unblended(batch.targets, method)
    return batch.labels


def require_unblended(targets: Tensor, method: str) -> None:
    """Refuse targets (B, C) that are smoothed or blended.

    Raises:
        UserError: A clip has no single class.
    """
    if bool((targets.amax(dim=-1) < 1).any()):
        raise UserError(
            f"The loss of {method} needs one class per clip; the recipe smooths or blends targets.",
            "Set --recipe smoothing=0 --recipe mixup=0 --recipe cutmix=0.",
        )


def matching_losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the losses of clips over texts and of texts over clips.

    Each is KL(target || softmax of the logits), mean over the rows. The target of a row is a softmax with the logit 10
    for every clip of the same class and 0 for all other clips.

    Args:
        logits: (B, B); row i is clip i, column j the text of the class of clip j.
        labels: (B,) class ids.
    """
    matches = (labels[:, None] == labels[None, :]).float()
    target = (TARGET_SCALE * matches).softmax(dim=-1)  # symmetric, as the logits of the other direction need it
    return divergence(logits, target), divergence(logits.t(), target)


def divergence(logits: Tensor, target: Tensor) -> Tensor:
    """Return KL(target || softmax of logits), mean over the rows of (B, B)."""
    # KLLoss.py averages over all B x B elements and multiplies by B.
    return F.kl_div(F.log_softmax(logits, dim=-1), target, reduction="sum") / len(logits)


def pair_logits(backbone: Backbone, video: Tensor, text: Tensor) -> Tensor:
    """Return cosines (B, B) of clips (B, D) and texts (B, D), times the learned scale."""
    with ClipMethod.in_fp32(video):
        video, text = F.normalize(video.float(), dim=-1), F.normalize(text.float(), dim=-1)
        return backbone.add_bias(backbone.logit_scale.float().exp() * video @ text.t())


def mean_log_probabilities(video: Tensor, text: Tensor) -> Tensor:
    """Return log-probabilities (B, C): a softmax over classes for each text of a class, averaged over the texts.

    The softmax of log-probabilities gives the probabilities, so that the harness averages views as published.

    Args:
        video: (B, D) video features.
        text: (K, C, D) features of K texts per class.
    """
    with ClipMethod.in_fp32(video):
        video, text = F.normalize(video.float(), dim=-1), F.normalize(text.float(), dim=-1)
        similarity = EVAL_SCALE * torch.einsum("bd,kcd->bkc", video, text)
        # The mean of probabilities in logarithms: a product of small probabilities would underflow.
        return similarity.log_softmax(dim=-1).logsumexp(dim=1) - math.log(len(text))
