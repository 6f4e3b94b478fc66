"""Weight-interpolated fine-tuning (WiSE-FT, Open-VCLIP): a point between CLIP's and the fine-tuned weights."""

from dataclasses import dataclass

import torch
from torch.func import functional_call

from harness.api import ClipMethod, MethodCard, MethodOptions, Recipe, UserError, option, register_method

VISION = "backbone.clip.visual."


@dataclass(frozen=True)
class InterpolationOptions(MethodOptions):
    """The evaluated point between CLIP's weights (0) and the fine-tuned weights (1), and the loss on the way."""

    template: str = option("a photo of a {}.", "text around the class name, which replaces {}")
    alpha: float = option(0.5, "share of the fine-tuned weights after the fit: 0 is CLIP, 1 plain fine-tuning")
    path_loss: float = option(0.0, "weight C of the loss at a random point of the line; Open-VCLIP: 0.5, WiSE-FT: 0")
    path_end: float = option(0.6, "CLIP's share at that point is drawn from 0 to this; Open-VCLIP: 0.6")

    def __post_init__(self) -> None:
        """Refuse points that are not between the two models."""
        for name, allowed in (("alpha", 0 <= self.alpha <= 1), ("path_end", 0 < self.path_end < 1)):
            if not allowed:
                raise UserError(f"weight_interpolation:{name} is {getattr(self, name):g}, expected between 0 and 1.")
        if self.path_loss < 0:
            raise UserError(f"weight_interpolation:path_loss is {self.path_loss:g}, expected from 0.")


@register_method("weight_interpolation")
class WeightInterpolation(ClipMethod):
    """The vision tower and the scale are trained; the text tower stays CLIP's, so that any class can be evaluated."""

    card = MethodCard(
        title="CLIP, interpolated weights",
        paper="Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022; Weng et al., Open-VCLIP, ICML 2023",
        family="tuning",
        source="the papers' descriptions; constants as in mlfoundations/wise-ft and wengzejia1/Open-VCLIP",
        unverified="no original outputs were available; of Open-VCLIP, attention to neighbouring frames, the 28 "
        "templates and the average over epochs are not implemented",
    )
    recipes = {
        "mini": Recipe(epochs=11, lr=8e-4, ranks=1, accumulate=4, source="own: scaled to the embedded tiny model"),
    }
    recipe = Recipe(
        epochs=22, lr=3.33e-6, warmup_epochs=2, micro_batch=8, ranks=8, accumulate=1, smoothing=0.0, mixup=0.0,
        cutmix=0.0, source="Open-VCLIP script/training/temporal_b16 (K-400); its other settings own",
    )  # fmt: skip
    options_type = InterpolationOptions
    couples_clips = True  # one random point per blending group, whatever the device batch

    def setup(self) -> None:
        """Keep CLIP's values of the trained parameters, in buffers that are not saved: the backbone has them."""
        self.learn_only("visual.", "logit_scale")
        for name, parameter in self._trained():
            self.register_buffer(self._kept(name), parameter.detach().clone(), persistent=False)

    def _trained(self):
        return [(name, p) for name, p in self.named_parameters() if p.requires_grad]

    def _kept(self, name: str) -> str:
        return "clip_" + name.replace(".", "_")

    def loss(self, video, targets, label_set):
        """The loss at the current weights, plus C / (1 - r) times the loss at (1 - r) of the way, r ~ U(0, path_end).

        The factor cancels the chain rule: as in the authors' code, C times the gradient at that point is added.
        """
        here = super().loss(video, targets, label_set)
        if not self.options.path_loss:
            return here
        r = float(torch.rand(())) * self.options.path_end
        between = {name: torch.lerp(p, getattr(self, self._kept(name)), r) for name, p in self._trained()}
        logits = functional_call(self, between, (video, label_set)).float()
        there = -(targets * logits.log_softmax(dim=-1)).sum(dim=-1).mean()
        return here + self.options.path_loss / (1 - r) * there

    def after_fit(self) -> None:
        """WiSE-FT: (1 - alpha) times CLIP's weights plus alpha times the fine-tuned weights."""
        for name, parameter in self._trained():
            parameter.copy_(torch.lerp(getattr(self, self._kept(name)), parameter, self.options.alpha))
