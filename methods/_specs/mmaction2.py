"""Specification of mmaction2 recognisers.

Modules that need torch or mmengine are imported inside functions, so that listing and `show` need neither.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api import LabelSet, MethodCard, MethodOptions, MethodSpec, NotApplicableError, option

if TYPE_CHECKING:
    from harness.engine.model.chosen_recognizer import Recognizer

RANDOM = "random"


@dataclass(frozen=True)
class RecognizerOptions(MethodOptions):
    """Options that name a model and its weights."""

    config: str = option(
        "", "short name (uniformer-b-32, swin-l, timesformer-96, ...), name of a config in mmaction2's wheel, or file",
        file=True,
    )  # fmt: skip
    checkpoint: str = option("", "weight file; random: none, to run the pipeline", file=True, words=("", RANDOM))
    classes: str = option(
        "", "file that names the head's classes in order; else the dataset's order is taken", file=True, words=("",)
    )


class RecogniserSpec(MethodSpec):
    """Card, recipes and options of the method."""

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
    def own_model(cls, options: RecognizerOptions) -> Recognizer:  # type: ignore[override]
        """Return the recogniser of the options, which replaces CLIP."""
        from harness.api import find_recognizer

        return find_recognizer(options.config, options.checkpoint)

    @classmethod
    def check_classes(cls, options: RecognizerOptions, label_set: LabelSet) -> None:  # type: ignore[override]
        """Refuse a label set whose size is not that of the head."""
        from harness.api import find_recognizer

        config = find_recognizer(options.config, options.checkpoint).config
        require_size(config.name, config.classes, label_set)

    @classmethod
    def card_for(cls, options: RecognizerOptions) -> MethodCard:  # type: ignore[override]
        """Return the card with the name of the model, and a remark if it has random weights."""
        weights = ", random weights" if options.checkpoint == RANDOM else ""
        return replace(cls.card, title=f"{Path(options.config).stem} (mmaction2{weights})")


def require_size(name: str, heads: int, label_set: LabelSet) -> None:
    """Refuse a label set whose size is not that of a head."""
    if heads != len(label_set):
        raise NotApplicableError(
            f"The head of {name} has {heads} classes, the label set has {len(label_set)}: mmaction2 has a fixed set of "
            "classes.",
            "Choose a checkpoint that was trained on this label set.",
        )
