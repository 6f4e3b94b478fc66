"""Specification of MoTE."""

from dataclasses import dataclass

from harness.api import LabelSet, MethodCard, MethodOptions, MethodSpec, Recipe, UserError, option
from methods._recipes_later import MOTE
from methods._specs._hard_labels import require_hard_labels
from methods._specs._positions import require_positions

POSITIONS = 77
"""Rows of the table of frame positions, as long as CLIP's texts."""


@dataclass(frozen=True)
class MoteOptions(MethodOptions):
    """Sizes of the temporal head, and weights of its losses; the defaults are the published values for ViT-B/16."""

    layers: int = option(4, "blocks of the temporal head; published: 6 for ViT-L/14", bounds=(1, None))
    experts: int = option(4, "experts of each block", bounds=(1, None))
    merged_loss: float = option(0.5, "weight of the loss of the merged experts", bounds=(0, None))
    distance_loss: float = option(
        0.1, "weight of the squared distance of merged and CLIP's frame features", bounds=(0, None)
    )
    neighbours: int = option(
        5, "classes of either label set that decide how much the temporal head counts", bounds=(1, None)
    )
    gate_temperature: float = option(0.05, "temperature of that decision", bounds=(0, None))
    training_classes: int = option(
        400, "room for the texts of training classes in the weights; published: 400", bounds=(1, None)
    )
    clip_lr: float = option(
        0.07, "learning rate of CLIP, in multiples of the recipe's; published: 0.06 for ViT-L/14", bounds=(0, None)
    )

    def __post_init__(self) -> None:
        """Refuse a temperature of zero."""
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
            "average scaled cosines over views, not probabilities; its training crop is taken by Pillow from frames of "
            "a bicubic short side of 256 pixels and swaps height and width of its random boxes, here it is that of "
            "`resized_crop`"
        ),
    )
    recipes = MOTE
    options_type = MoteOptions
    random_draws = True  # one expert and one temperature for each block and group
    fitted_buffers = ("training_texts",)
    checkpoint_normalize = "clip"
    parameters_vit_b16 = (187_466_257, 124_038_145)

    @classmethod
    def check_frames(cls, options: MethodOptions, frames: int) -> None:
        """Refuse more frames than the temporal head has positions."""
        require_positions(cls.name, POSITIONS, frames)

    @classmethod
    def check_recipe(cls, recipe: Recipe) -> None:
        """Refuse targets that are smoothed or blended, and unknown parameter groups."""
        super().check_recipe(recipe)
        require_hard_labels(cls.name, recipe)

    @classmethod
    def check_training_classes(cls, options: MoteOptions, label_set: LabelSet) -> None:  # type: ignore[override]
        """Refuse more training classes than the weights have room for.

        Raises:
            UserError: There are more classes than the option `training_classes`.
        """
        if len(label_set) > options.training_classes:
            raise UserError(
                f"{cls.name} has room for {options.training_classes} training classes, found {len(label_set)}.",
                f"Set the option: {cls.name}:training_classes={len(label_set)}.",
            )
