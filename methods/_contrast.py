"""Contrastive losses over the clips of a batch, in which all clips of a class match each other's texts."""

import torch.nn.functional as F
from torch import Tensor

from harness.api import TrainingBatch, UserError

TARGET_SCALE = 10.0
"""Logit of a matching pair in the target distribution."""


def unblended_labels(batch: TrainingBatch, method: str) -> Tensor:
    """Return the class ids (B,) of a batch.

    Raises:
        UserError: The recipe smooths or blends targets, so that a clip has no single class.
    """
    if bool((batch.targets.amax(dim=-1) < 1).any()):
        raise UserError(
            f"The loss of {method} needs one class per clip; the recipe smooths or blends targets.",
            "Set --recipe smoothing=0 --recipe mixup=0 --recipe cutmix=0.",
        )
    return batch.labels


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
    rows, columns = (
        F.kl_div(F.log_softmax(side, dim=-1), target, reduction="sum") / len(labels) for side in (logits, logits.t())
    )
    return rows, columns
