"""Specification of OST."""

from dataclasses import dataclass, replace

from harness.api import ClassTextOptions, LabelSet, MethodCard, MethodSpec, Recipe, UserError, option
from methods._recipes_later import OST

KINDS = ("spatial", "temporal")


@dataclass(frozen=True)
class OstOptions(ClassTextOptions):
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


class OstSpec(MethodSpec):
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
            "those here, which AdamW makes nearly irrelevant; few-shot fits that start from a K-400 fit are not offered"
        ),
    )
    recipes = OST
    options_type = OstOptions
    class_text_kinds = KINDS
    couples_clips = True
    parameters_vit_b16 = (149_620_737, 149_620_737)

    @classmethod
    def recipe_for(cls, protocol: str, dataset: str, shots: int | None = None, preset: str = "") -> Recipe | None:
        """Return the recipe; two published few-shot configurations have a rate of their own."""
        recipe = super().recipe_for(protocol, dataset, shots, preset)
        lr = {("hmdb51", 4): 3.5e-6, ("ssv2", 16): 2.5e-6}.get((dataset, shots or 0))
        if recipe is None or lr is None or preset or protocol != "few_shot":
            return recipe
        return replace(recipe, lr=lr)

    @classmethod
    def check_classes(cls, options: OstOptions, label_set: LabelSet) -> None:  # type: ignore[override]
        """Refuse descriptors whose number differs between classes: their features are one tensor."""
        super().check_classes(options, label_set)
        texts = cls.class_texts_file(options)
        for kind in KINDS if texts is not None else ():
            assert texts is not None
            counts = [len(listed) for listed in texts.of(label_set, kind)]
            if len(set(counts)) > 1:
                other = next(i for i, count in enumerate(counts) if count != counts[0])
                raise UserError(
                    f"{cls.name} needs equally many {kind} descriptors for every class; in {texts.path} the class "
                    f"{label_set.names[0]!r} has {counts[0]} and {label_set.names[other]!r} has {counts[other]}.",
                    "Give each class the same number of descriptors.",
                )
