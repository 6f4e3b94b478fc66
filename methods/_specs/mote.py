"""Specification of MoTE."""

from dataclasses import dataclass, replace

from harness.api import MethodCard, MethodOptions, MethodSpec, Recipe, UserError, option
from methods._recipes import MINI

_MOTE = Recipe(
    epochs=30, lr=5e-5, warmup_epochs=5, micro_batch=64, ranks=3, accumulate=1, weight_decay=0.2, betas=(0.9, 0.999),
    min_lr_ratio=0.0, augmentation="resized_crop:0.08-1+grey:0.2", smoothing=0.0, mixup=0.0, cutmix=0.0,
    schedule="stepped_cosine",
    source="MoTE configs/k400 (ViT-B/16)",
)  # fmt: skip
_OWN = "own: not published; the settings of MoTE's K-400 configuration"
MOTE = {
    "supervised": _MOTE,
    "zero_shot": replace(
        _MOTE, initial_share=0.01,
        source="MoTE configs/k400 (ViT-B/16); test_zeroshot.py mixes 1 % of CLIP into the vision tower",
    ),
    "few_shot": replace(_MOTE, epochs=50, ranks=1, source=f"{_OWN}, 50 epochs"),
    "b2n": replace(_MOTE, epochs=12, warmup_epochs=2, ranks=1, source=f"{_OWN}, 12 epochs"),
    "mini": replace(
        MINI, lr=1e-3, micro_batch=16, accumulate=1, weight_decay=0.2, betas=(0.9, 0.999), smoothing=0.0, mixup=0.0,
        cutmix=0.0, min_lr_ratio=0.0,
    ),
}  # fmt: skip
"""Source: ZMHH-H/MoTE at 1d3fa01, configs and utils/solver.py, 3 GPUs x 64 clips; `last` replaces its best epoch."""


@dataclass(frozen=True)
class MoteOptions(MethodOptions):
    """Sizes of the temporal head, and weights of its losses; the defaults are the published values for ViT-B/16."""

    layers: int = option(4, "blocks of the temporal head; published: 6 for ViT-L/14")
    experts: int = option(4, "experts of each block")
    merged_loss: float = option(0.5, "weight of the loss of the merged experts")
    distance_loss: float = option(0.1, "weight of the squared distance of merged and CLIP's frame features")
    neighbours: int = option(5, "classes of either label set that decide how much the temporal head counts")
    gate_temperature: float = option(0.05, "temperature of that decision")
    training_classes: int = option(400, "room for the texts of training classes in the weights; published: 400")
    clip_lr: float = option(0.07, "learning rate of CLIP, in multiples of the recipe's; published: 0.06 for ViT-L/14")

    def __post_init__(self) -> None:
        """Refuse sizes that make no head."""
        for name in ("layers", "experts", "neighbours", "training_classes"):
            if getattr(self, name) < 1:
                raise UserError(f"mote:{name} is {getattr(self, name)}, expected at least 1.")
        if not self.gate_temperature > 0:
            raise UserError(f"mote:gate_temperature is {self.gate_temperature:g}, expected a number above 0.")


class MoteSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "mote"
    card = MethodCard(
        title="MoTE",
        paper="Zhu et al., MoTE: Reconciling Generalization with Specialization for VLM, NeurIPS 2024",
        class_text="templates",
        family="tuning",
        source="ZMHH-H/MoTE, modules/video_clip.py, train.py, test_zeroshot.py",
        unverified=(
            "no published checkpoint was available; the tables choose the best epoch on the K-400 validation list, and "
            "average scaled cosines over views, not probabilities"
        ),
    )
    recipes = MOTE
    options_type = MoteOptions
    random_draws = True  # one expert and one temperature for each block and group
    checkpoint_normalize = "clip"
    parameters_vit_b16 = (187_466_257, 124_038_145)
