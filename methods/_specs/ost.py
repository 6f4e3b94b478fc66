"""Specification of OST."""

from dataclasses import dataclass

from harness.api import ClassTextOptions, LabelSet, MethodCard, ParentFit, Recipe, option
from methods._recipes_later import OST
from methods._specs._hard_labels import require_hard_labels
from methods._specs._start import CLIP, StartOptions, StartSpec
from methods._specs._texts import require_equal_counts

KINDS = ("spatial", "temporal")
EVALUATED_TOGETHER = 2
"""Videos that the published code sees together in evaluation, on one GPU."""


@dataclass(frozen=True)
class OstOptions(StartOptions, ClassTextOptions):
    """Descriptors, the rule that ends the transport, and the trained towers."""

    stop: str = option(
        "pair",
        "end of the transport's iterations: pair, for each video and class alone (own); batch, by the mean over the "
        "batch (published), for batches up to the published size",
        ("pair", "batch"),
    )
    train: str = option(
        "both", "both: all of CLIP (published); image or text: one tower, scale frozen", ("both", "image", "text")
    )


class OstSpec(StartSpec):
    """Card, recipes and options of the method."""

    name = "ost"
    card = MethodCard(
        title="OST",
        paper="Chen et al., OST: Refining Text Knowledge with Optimal Spatio-Temporal Descriptor for General Video "
        "Recognition, CVPR 2024",
        class_text="templates",
        family="tuning",
        source="tomchen-ctj/OST, trainers/OST.py, utils/NCELoss.py, utils/textprompt.py, main_nce.py",
        unverified=(
            "no published checkpoint and no descriptor file was loaded; without class_texts the class name serves as "
            "its own descriptor, which is not published; the published gradients of both towers on R GPUs are 1/R of "
            "those here, which AdamW makes nearly irrelevant; with start=source the original keeps the optimiser "
            "state and the rates of the K-400 fit, which are new here"
        ),
    )
    recipes = OST
    options_type = OstOptions
    class_text_kinds = KINDS
    couples_clips = True
    parameters_vit_b16 = (149_620_737, 149_620_737)

    @classmethod
    def parent_fit(cls, options: OstOptions) -> ParentFit | None:  # type: ignore[override]
        """Return the fit on the source with its last weights, which the original does not mix with CLIP's."""
        if options.start == CLIP:
            return None
        shared = (("class_texts", options.class_texts), ("stop", options.stop))
        given = tuple((name, value) for name, value in shared if value)
        return ParentFit(cls.name, "zero_shot", given, (("initial_share", "0"),))

    @classmethod
    def scored_together(cls, options: OstOptions) -> int | None:  # type: ignore[override]
        """Return the published batch of an eval for the rule that ends the transport by the mean over a batch."""
        return EVALUATED_TOGETHER if options.stop == "batch" else None

    @classmethod
    def check_recipe(cls, recipe: Recipe) -> None:
        """Refuse targets that are smoothed or blended, and unknown parameter groups."""
        super().check_recipe(recipe)
        require_hard_labels(cls.name, recipe)

    @classmethod
    def check_classes(cls, options: OstOptions, label_set: LabelSet) -> None:  # type: ignore[override]
        """Refuse descriptors whose number differs between classes: their features are one tensor."""
        super().check_classes(options, label_set)
        require_equal_counts(cls, options, label_set)
