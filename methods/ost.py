"""OST: descriptors of each class are matched to the frames of a video by optimal transport; CLIP is fine-tuned."""

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.api import ClipMethod, LabelSet, TrainingBatch, UserError, register_method
from methods._contrast import matching_losses, unblended_labels
from methods._specs.ost import EVALUATED_TOGETHER, KINDS, OstOptions, OstSpec

TEMPLATES = {
    "spatial": "This is a video about {text}",
    "temporal": "A video of {name} usually includes {text}",
}
EPSILON = 0.1
"""Weight of the entropy: the kernel of a pair is exp(-(1 - cosine) / EPSILON)."""
THRESHOLD = 0.01
"""The iterations end when the row factors of the plan change by less than this number on average."""
MOST_ITERATIONS = 100
PUBLISHED_BATCH = {True: 32, False: EVALUATED_TOGETHER}
"""Videos that the published code sees together in training (all GPUs) and in evaluation (one GPU)."""

Descriptors = tuple[Tensor, Tensor]


@register_method("ost")
class Ost(OstSpec, ClipMethod[Tensor, Descriptors]):
    """CLIP without added parameters. A video is its frames (B, T, D), a class its descriptors of two kinds."""

    options: OstOptions

    def setup(self) -> None:
        """Train all of CLIP, token embedding and scale included, or one tower without the scale."""
        self.learn_all()
        if self.options.train == "image":
            self.learn_only("visual.")
        elif self.options.train == "text":
            self.backbone.visual.requires_grad_(False)
            self.backbone.logit_scale.requires_grad_(False)

    def pool(self, frames: Tensor) -> Tensor:
        """Return the frames (B, T, D) themselves: the transport matches each of them with the descriptors."""
        return frames

    def sentences(self, label_set: LabelSet, kind: str) -> tuple[tuple[str, ...], ...]:
        """Return the sentences of one kind for each class; without a file the class name is its own descriptor."""
        return tuple(
            tuple(TEMPLATES[kind].format(name=name, text=text) for text in listed)
            for name, listed in zip(label_set.names, self.texts_of(label_set, kind), strict=True)
        )

    def encode_text(self, label_set: LabelSet) -> Descriptors:
        """Return spatial and temporal descriptors (C, N, D), not normalised.

        Raises:
            UserError: Two classes have different numbers of descriptors.
        """
        self.check_classes(self.options, label_set)
        by_kind = [self.sentences(label_set, kind) for kind in KINDS]
        features = self.encode_prompts(tuple(text for classes in by_kind for listed in classes for text in listed))
        spatial, temporal = features.split([len(classes) * len(classes[0]) for classes in by_kind])
        return (
            torch.unflatten(spatial, 0, (len(label_set), -1)),
            torch.unflatten(temporal, 0, (len(label_set), -1)),
        )

    def score(self, video: Tensor, text: Descriptors) -> Tensor:
        """Return logits (B, C): half the sum of mean and transported similarities over both kinds of descriptors.

        Raises:
            UserError: With `stop=batch`, more videos than the published code sees together.
        """
        most = PUBLISHED_BATCH[self.training]
        if self.options.stop == "batch" and len(video) > most:
            step, setting = (
                ("training", "--recipe micro_batch=32") if self.training else ("evaluation", "--eval-clips 2")
            )
            raise UserError(
                f"{self.name}:stop=batch ends the transport by the mean over a batch, which has {len(video)} videos in "
                f"{step}; expected at most {most}, as published.",
                f"Set {setting}, or use the default stop=pair, which treats each video alone.",
            )
        with self.in_fp32(video):
            frames = F.normalize(video.float(), dim=-1)
            logits = torch.stack([self.match(frames, F.normalize(kind.float(), dim=-1)) for kind in text]).sum(dim=0)
            return self.backbone.add_bias(0.5 * self.backbone.logit_scale.float().exp() * logits)

    def match(self, frames: Tensor, descriptors: Tensor) -> Tensor:
        """Return mean plus transported similarity (B, C) of frames (B, T, D) and descriptors (C, N, D) of length 1."""
        similarity = torch.einsum("btd,cnd->bctn", frames, descriptors)
        plan, _ = transport_plan(similarity.detach(), self.options.stop == "pair")
        # The means have no gradient path through the plan, which is a constant of the step.
        pooled = frames.mean(dim=1) @ descriptors.mean(dim=1).t()
        return pooled + (plan * similarity).sum(dim=(-2, -1))

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        """Return the sum of both directions of the contrast between clips and the descriptors of their classes.

        Raises:
            UserError: The recipe smooths or blends targets.
        """
        labels = unblended_labels(batch, self.name)
        # Each class of the batch is encoded once; a clip's column is that of its class.
        classes, columns = labels.unique(return_inverse=True)
        names = LabelSet(tuple(batch.label_set.names[i] for i in classes.tolist()), batch.label_set.variant)
        spatial, temporal = self.encode_text(names)
        logits = self.score(self.encode_video(batch.video), (spatial[columns], temporal[columns]))
        # The sum of both directions, which the original does not halve.
        return torch.stack(matching_losses(logits, labels)).sum()


@torch.no_grad()
def transport_plan(
    similarity: Tensor, per_pair: bool, most: int = MOST_ITERATIONS, threshold: float = THRESHOLD
) -> tuple[Tensor, Tensor]:
    """Return the plan of entropic optimal transport for each pair, and the iterations (B, C) that it took.

    Sinkhorn's iterations with equal weights of all frames and of all descriptors. Source: trainers/OST.py.

    Args:
        similarity: (B, C, T, N) cosines of T frames and N descriptors.
        per_pair: End the iterations of each pair by itself; otherwise all together, by the mean over all pairs.
        most: Largest number of iterations.
        threshold: Change of the row factors at which the iterations end.
    """
    kernel = torch.exp((similarity - 1) / EPSILON)
    frames, descriptors = kernel.shape[-2:]
    rows, columns = kernel.new_ones((*kernel.shape[:-1], 1)), kernel.new_ones((*kernel.shape[:-2], descriptors, 1))
    running = torch.ones(kernel.shape[:-2], dtype=torch.bool, device=kernel.device)
    iterations = torch.zeros(kernel.shape[:-2], dtype=torch.long, device=kernel.device)
    for _ in range(most):
        new_rows = 1 / (frames * (kernel @ columns))
        new_columns = 1 / (descriptors * (kernel.transpose(-2, -1) @ new_rows))
        change = (new_rows - rows).abs().mean(dim=(-2, -1))
        rows = torch.where(running[..., None, None], new_rows, rows)
        columns = torch.where(running[..., None, None], new_columns, columns)
        iterations += running
        running = running & ~((change if per_pair else change.mean()) < threshold)
        # On the device `meta`, where costs are counted, there are no values to look at.
        if kernel.is_meta or not bool(running.any()):
            break
    return rows * kernel * columns.transpose(-2, -1), iterations
