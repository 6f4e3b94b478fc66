"""Specification of mmaction2 recognisers.

Modules that need torch or mmengine are imported inside functions, so that listing and `show` need neither.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api import LabelSet, MethodCard, MethodSpec, option
from methods._specs._outputs import RANDOM, OutputsOptions, require_outputs

if TYPE_CHECKING:
    from harness.engine.model.chosen_recognizer import Recognizer


@dataclass(frozen=True)
class RecognizerOptions(OutputsOptions):
    """Options that name a model and its weights."""

    config: str = option(
        "", "short name (uniformer-b-32, swin-l, timesformer-96, ...), name of a config in mmaction2's wheel, or file",
        file=True,
    )  # fmt: skip


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
        require_outputs(cls.name, config.name, config.classes, label_set)

    @classmethod
    def card_for(cls, options: RecognizerOptions) -> MethodCard:  # type: ignore[override]
        """Return the card with the name of the model, and a remark if it has random weights."""
        weights = ", random weights" if options.checkpoint == RANDOM else ""
        return replace(cls.card, title=f"{Path(options.config).stem} (mmaction2{weights})")
