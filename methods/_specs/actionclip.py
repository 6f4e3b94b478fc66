"""Specification of ActionCLIP."""

from dataclasses import dataclass

from harness.api import MethodCard, MethodOptions, MethodSpec, Recipe, option
from methods._recipes import ACTIONCLIP
from methods._specs._hard_labels import require_hard_labels
from methods._specs._positions import require_positions

MEAN = "mean"
POSITIONS = 77
"""Rows of the published table of frame positions, which is the largest number of frames."""


@dataclass(frozen=True)
class ActionClipOptions(MethodOptions):
    """Options of the fusion of frames."""

    fusion: str = option(
        "transf", "transf: temporal Transformer (published); mean: average of frames", ("transf", MEAN)
    )
    layers: int = option(6, "blocks of the temporal Transformer", bounds=(1, None), unused_with={"fusion": (MEAN,)})
    fusion_lr: float = option(
        10.0,
        "learning rate of the fusion module, in multiples of the recipe's",
        bounds=(0, None),
        unused_with={"fusion": (MEAN,)},
    )


class ActionClipSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "actionclip"
    card = MethodCard(
        title="ActionCLIP",
        paper="Wang et al., ActionCLIP: A New Paradigm for Video Action Recognition, arXiv 2109.08472",
        class_text="templates",
        family="adapting",
        source="sallymmx/ActionCLIP, modules/Visual_Prompt.py, train.py, test.py, utils/KLLoss.py",
        unverified=(
            "how it was trained for the base-to-novel and few-shot tables is not public; the published code trains in "
            "float16 without a master copy, and its own pipeline (frames as JPEG, CLIP statistics, bicubic resize, "
            "13 crops, RandAugment on K-400) is replaced by the one that all methods share"
        ),
    )
    recipes = ACTIONCLIP
    options_type = ActionClipOptions
    couples_clips = True
    checkpoint_normalize = "clip"  # utils/Augmentation.py of the original
    version = 2  # templates are drawn by group, so that results do not depend on the number of processes
    parameters_vit_b16 = (168_574_465, 168_574_465)

    @classmethod
    def check_frames(cls, options: ActionClipOptions, frames: int) -> None:  # type: ignore[override]
        """Refuse more frames than the temporal Transformer has positions."""
        if options.fusion != MEAN:
            require_positions(cls.name, POSITIONS, frames)

    @classmethod
    def check_recipe(cls, recipe: Recipe) -> None:
        """Refuse targets that are smoothed or blended, and unknown parameter groups."""
        super().check_recipe(recipe)
        require_hard_labels(cls.name, recipe)
