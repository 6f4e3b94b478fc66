"""Specification of EZ-CLIP."""

from dataclasses import dataclass
from typing import ClassVar

from harness.api import ClassTextOptions, LabelSet, MethodCard, MethodSpec, Recipe, option
from methods._recipes_later import EZ_CLIP
from methods._specs._hard_labels import require_hard_labels
from methods._specs._texts import require_equal_counts


@dataclass(frozen=True)
class EzClipOptions(ClassTextOptions):
    """The temporal part, and dropout in training."""

    temporal: str = option(
        "prompts",
        "prompts: a temporal prompt in every block (published); first: in the first block; adapters: temporal "
        "adapters; none",
        ("prompts", "first", "adapters", "none"),
    )
    adapter_order: str = option(
        "clean",
        "frames that temporal adapters change: clean, those they were computed from; published, mixed among the videos "
        "of a batch, for evaluation of single videos",
        ("published", "clean"),
        unused_with={"temporal": ("prompts", "first", "none")},
    )
    frames: int = option(8, "frames per view; the weights fit this number only", bounds=(1, None))
    dropout: float = option(0.1, "largest rate of attention dropout and dropped tokens in training", bounds=(0, 0.99))
    prompt_dropout: float = option(
        0.1,
        "dropout of the temporal prompts in training",
        bounds=(0, 0.99),
        unused_with={"temporal": ("adapters", "none")},
    )


class EzClipSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "ez_clip"
    card = MethodCard(
        title="EZ-CLIP (T2L)",
        paper="Ahmad et al., EZ-CLIP: Efficient Zeroshot Video Action Recognition, arXiv 2312.08010",
        class_text="templates",
        family="adapting",
        source="Shahzadnit/EZ-CLIP, clip/model.py, train.py, test.py, utils/KLLoss.py, utils/solver.py",
        unverified=(
            "no published checkpoint and no description file was loaded; the published code rounds the adapters to "
            "float16 after every update on a GPU; the reference outputs do not show where the dropouts act; "
            "frames, views and resize are those that all methods share unless they are requested; its b2n "
            "configurations train on the complete base lists, its few-shot configurations are for one K each (HMDB-51 "
            "2, UCF-101 8 with ViT-L/14), both take the centre of each segment in training, where frames are drawn "
            "here; its zero-shot configurations test split 1 alone, and 232 classes of K-600"
        ),
    )
    recipes = EZ_CLIP
    options_type = EzClipOptions
    protocol_options: ClassVar = {
        "few_shot/hmdb51": {"temporal": "none"},
        "few_shot/ucf101": {"dropout": 0.0},
    }
    named_groups: ClassVar = {"text": ("text_adapters.*",), "vision": ("vision_adapters.*", "temporal_*")}
    couples_clips = True
    random_draws = True
    checkpoint_normalize = "clip"  # the pipeline of ActionCLIP
    frozen_clip = True
    parameters_vit_b16 = (154_831_617, 5_204_736)

    @classmethod
    def scored_together(cls, options: EzClipOptions) -> int | None:  # type: ignore[override]
        """Return 1 where temporal adapters mix the frames of different videos, as published."""
        return 1 if options.temporal == "adapters" and options.adapter_order == "published" else None

    @classmethod
    def check_recipe(cls, recipe: Recipe) -> None:
        """Refuse targets that are smoothed or blended, and unknown parameter groups."""
        super().check_recipe(recipe)
        require_hard_labels(cls.name, recipe)

    @classmethod
    def check_classes(cls, options: EzClipOptions, label_set: LabelSet) -> None:  # type: ignore[override]
        """Refuse descriptions whose number differs between classes: each one replaces a template."""
        super().check_classes(options, label_set)
        require_equal_counts(cls, options, label_set)
