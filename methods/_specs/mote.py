"""Specification of MoTE."""

from dataclasses import dataclass

from harness.api import MethodCard, MethodOptions, MethodSpec, UserError, option
from methods._recipes_later import MOTE


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
        # Named one by one, because the code hash counts recipes as code where an attribute is read by a computed name.
        counts = {
            "layers": self.layers, "experts": self.experts, "neighbours": self.neighbours,
            "training_classes": self.training_classes,
        }  # fmt: skip
        for name, count in counts.items():
            if count < 1:
                raise UserError(f"mote:{name} is {count}, expected at least 1.")
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
    fitted_buffers = ("training_texts",)
    checkpoint_normalize = "clip"
    parameters_vit_b16 = (187_466_257, 124_038_145)
