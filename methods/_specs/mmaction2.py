"""Specification of mmaction2 recognisers.

Functions import what needs torch or mmengine, so that listing and `show` need neither.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.api import LabelSet, MethodCard, MethodOptions, MethodSpec, NotApplicableError, option

RANDOM = "random"


@dataclass(frozen=True)
class RecognizerOptions(MethodOptions):
    """Which model, with which weights."""

    config: str = option(
        "", "short name (uniformer-b-32, swin-l, timesformer-96, ...), name of a config in mmaction2's wheel, or file",
        file=True,
    )  # fmt: skip
    checkpoint: str = option("", "weight file; random: none, to run the pipeline", file=True, words=("", RANDOM))
    classes: str = option(
        "", "file that names the head's classes in order; else the dataset's order is taken", file=True, words=("",)
    )


class RecogniserSpec(MethodSpec):
    """Card, recipes and options."""

    name = "mmaction2"
    card = MethodCard(
        title="mmaction2 recogniser",
        paper="the paper of the config; mmaction2 1.2.0 for the implementation",
        class_text="none",
        extra_data=("what the checkpoint was trained on; it is not audited here",),
        family="unimodal",
        source="open-mmlab/mmaction2, mmaction/models/recognizers and the configs in its wheel",
        unverified=(
            "evaluation only, there is no recipe; that the outputs of the head are in the order of the dataset's "
            "classes is taken on trust unless `classes` names them"
        ),
    )
    options_type = RecognizerOptions
    uses_clip = False
    open_vocabulary = False

    @classmethod
    def own_model(cls, options: RecognizerOptions) -> Any:
        """The recogniser of the options, which takes CLIP's place."""
        from harness.api import find_recognizer

        return find_recognizer(options.config, options.checkpoint)

    @classmethod
    def check_classes(cls, options: RecognizerOptions, label_set: LabelSet) -> None:
        """Refuse a label set of another size than the head."""
        from harness.api import find_recognizer

        model = find_recognizer(options.config, options.checkpoint)
        require_size(model.name, model.classes, label_set)

    @classmethod
    def card_for(cls, options: RecognizerOptions) -> MethodCard:
        """The card with the model's name, and a word where there are no weights."""
        weights = ", random weights" if options.checkpoint == RANDOM else ""
        return replace(cls.card, title=f"{Path(options.config).stem} (mmaction2{weights})")


def require_size(name: str, heads: int, label_set: LabelSet) -> None:
    """Refuse a label set of another size than a head."""
    if heads != len(label_set):
        raise NotApplicableError(
            f"The head of {name} has {heads} classes, the label set has {len(label_set)}: mmaction2 has a fixed set of "
            "classes.",
            "Choose a checkpoint that was trained on this label set.",
        )
