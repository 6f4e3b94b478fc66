"""Specification of FROSTER."""

from dataclasses import dataclass

from harness.api import ClassTextOptions, LabelSet, MethodCard, MethodSpec, option
from methods._recipes_slowfast import FROSTER
from methods._specs._texts import require_one_text


@dataclass(frozen=True)
class FrosterOptions(ClassTextOptions):
    """File of the published form of class texts (`name: sentence`), and weight of the distillation."""

    distillation: float = option(
        2.0, "weight of the distances of frame and text features from those of CLIP", bounds=(0, None)
    )


class FrosterSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "froster"
    card = MethodCard(
        title="FROSTER",
        paper="Huang et al., FROSTER: Frozen CLIP Is a Strong Teacher for Open-Vocabulary Action Recognition, "
        "ICLR 2024",
        class_text="templates",
        family="tuning",
        source="Visual-AI/FROSTER, slowfast/models/temporalclip_video_model.py, tools/train_net.py",
        unverified=(
            "its class texts are sentences of a language model that are not part of this package: without a file of "
            "class texts the name stands in their place; no published checkpoint was available; frames, input "
            "statistics and number of views are those that all methods share unless the published ones are requested"
        ),
    )
    recipes = FROSTER
    options_type = FrosterOptions
    random_draws = True
    checkpoint_normalize = "clip"
    parameters_vit_b16 = (150_669_313, 150_669_313)

    @classmethod
    def check_classes(cls, options: FrosterOptions, label_set: LabelSet) -> None:  # type: ignore[override]
        """Refuse a file with several texts for a class."""
        super().check_classes(options, label_set)
        require_one_text(cls, options, label_set)
