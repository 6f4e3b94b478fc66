"""CLIP with attention over frames: a learned query weights the frames."""

import torch

from harness.api import ClipMethod, MethodCard, Recipe, register_method


@register_method("attention_pooling")
class AttentionPooling(ClipMethod):
    card = MethodCard(title="CLIP + attention pooling", source="an example of clip-video-harness")
    recipe = Recipe(epochs=11, lr=2e-4, ranks=1, accumulate=4, source="own: an example, not tuned")

    def setup(self):
        self.freeze_clip()
        self.query = torch.nn.Parameter(torch.zeros(1, 1, self.embed_dim))
        self.attend = torch.nn.MultiheadAttention(self.embed_dim, num_heads=4, batch_first=True)

    def pool(self, frames):  # (B, T, D) -> (B, D)
        query = self.query.expand(len(frames), -1, -1)
        return frames.mean(dim=1) + self.attend(query, frames, frames)[0][:, 0]
