"""ActionCLIP: sixteen templates, a contrastive loss over the batch, and a temporal Transformer over frames."""

import torch
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, ParameterGroup, Recipe, register_method
from methods._blocks import Blocks, draw_linear
from methods._contrast import matching_losses, mean_log_probabilities, pair_logits, require_unblended
from methods._specs.actionclip import MEAN, POSITIONS, ActionClipOptions, ActionClipSpec
from methods._templates import ACTION_TEMPLATES


class TemporalFusion(nn.Module):
    """Blocks over frame features with learned positions, and a residual around them: (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.frame_position_embeddings = nn.Embedding(POSITIONS, width)
        # ActionCLIP has its own LayerNorm with this epsilon (modules/Visual_Prompt.py); CLIP's blocks have 1e-5.
        self.transformer = Blocks(width, layers, heads, eps=1e-12)
        draw_linear(self)

    def forward(self, frames: Tensor) -> Tensor:
        """Return frame features after the blocks; the residual carries the features without positions."""
        positions = self.frame_position_embeddings.weight[: frames.shape[1]]
        fused: Tensor = self.transformer(frames + positions)
        return fused.to(frames.dtype) + frames


@register_method("actionclip")
class ActionClip(ActionClipSpec, ClipMethod):
    """All parameters of CLIP, token embedding and scale included, and of the fusion module are trained."""

    options: ActionClipOptions

    def setup(self) -> None:
        """Add the fusion module; all parameters are trained."""
        # Also the token embedding, unlike ViFi-CLIP: no published configuration freezes anything.
        self.learn_all()
        if self.options.fusion == "transf":
            self.fusion = TemporalFusion(self.embed_dim, self.options.layers, max(1, self.embed_dim // 64))

    def pool(self, frames: Tensor) -> Tensor:
        """Return video features (B, D), the mean of frame features (B, T, D), after the fusion module if present."""
        if self.options.fusion == MEAN:
            return super().pool(frames)
        self.check_frames(self.options, frames.shape[1])
        fused: Tensor = self.fusion(frames)
        return fused.mean(dim=1)

    def prompts(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return all templates of all classes, template by template: 16 * C texts."""
        # Template by template, the order of test.py.
        return tuple(template.replace("{}", name) for template in ACTION_TEMPLATES for name in label_set.names)

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Return text features (16, C, D), not normalised."""
        features = self.encode_prompts(self.prompts(label_set))
        return torch.unflatten(features, 0, (len(ACTION_TEMPLATES), len(label_set)))

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Return log-probabilities (B, C), the mean over the templates."""
        return mean_log_probabilities(video, text)

    def loss(self, video: Tensor, targets: Tensor, label_set: LabelSet) -> Tensor:
        """Return the contrastive loss of a whole batch, in nats, with one random template per clip.

        Args:
            video: (B, T, 3, H, W), all clips of one blending group: the negatives come from the batch.
            targets: (B, C) one-hot; the loss cannot use smoothed or blended targets.
            label_set: Classes of the training list.

        Raises:
            UserError: The targets are smoothed or blended.
        """
        # A blended clip has no text of its own in a batch of clip-text pairs.
        require_unblended(targets, self.name)
        labels = targets.argmax(dim=-1)
        # Drawn on the CPU, so that a fit on a GPU draws the same templates.
        chosen = torch.randint(len(ACTION_TEMPLATES), (len(labels),)).tolist()
        texts = tuple(
            ACTION_TEMPLATES[k].replace("{}", label_set.names[i]) for k, i in zip(chosen, labels.tolist(), strict=True)
        )
        return self.contrast(self.encode_video(video), self.encode_prompts(texts), labels)

    def similarity(self, video: Tensor, text: Tensor) -> Tensor:
        """Return cosines (B, B) of clips and texts, times the learned scale."""
        return pair_logits(self.backbone, video, text)

    def contrast(self, video: Tensor, text: Tensor, labels: Tensor) -> Tensor:
        """Return the divergence between target and predicted matches of a batch, mean over both directions.

        All pairs of equal label are matches: the target distribution is a softmax over 10 for a match and 0 otherwise.

        Args:
            video: (B, D) video features.
            text: (B, D) text features; row i describes the class of clip i.
            labels: (B,) class ids.
        """
        # All clips of a class are positives for each other (utils/tools.py, gen_label), not only the diagonal.
        rows, columns = matching_losses(self.similarity(video, text), labels)
        return (rows + columns) / 2

    def parameter_groups(self, recipe: Recipe) -> list[ParameterGroup]:
        """Return three groups: text tower and scale, vision tower, fusion at a tenfold rate; all with weight decay."""
        groups: dict[str, list[nn.Parameter]] = {"text": [], "visual": [], "fusion": []}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                # utils/solver.py: everything outside of the vision tower is on the text side, `logit_scale` among it.
                side = "visual" if name.startswith("backbone.clip.visual.") else "text"
                groups["fusion" if name.startswith("fusion.") else side].append(parameter)
        rates = {"text": recipe.lr, "visual": recipe.lr, "fusion": recipe.lr * self.options.fusion_lr}
        return [
            {"params": parameters, "lr": rates[name], "weight_decay": recipe.weight_decay}
            for name, parameters in groups.items()
        ]
