"""Any recogniser of mmaction2 by config and checkpoint: video networks with a fixed set of classes, evaluated only."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.api import (
    ClipMethod,
    LabelSet,
    MethodCard,
    MethodOptions,
    NotApplicableError,
    UserError,
    find_recognizer,
    option,
    read_head_classes,
    register_method,
)

RANDOM = "random"


@dataclass(frozen=True)
class RecognizerOptions(MethodOptions):
    """Which model, with which weights."""

    config: str = option(
        "", "short name (uniformer-b-32, swin-l, timesformer-96, ...), name of a config in mmaction2's wheel, or a file"
    )
    checkpoint: str = option("", "weight file; random: none, to run the pipeline")
    classes: str = option("", "file that names the head's classes in order; else the dataset's order is taken")

    def as_dict(self) -> dict[str, Any]:
        """Option values by name; a config file counts by its name, its content being part of the model's identity.

        The weights and the class names count by their content.
        """
        names = f"sha256:{LabelSet(read_head_classes(Path(self.classes))).sha256}" if self.classes else ""
        weights = self.checkpoint if self.checkpoint in ("", RANDOM) else "FILE"
        return {"config": Path(self.config).name.removesuffix(".py"), "checkpoint": weights, "classes": names}


@register_method("mmaction2")
class Recogniser(ClipMethod):
    """The recogniser's scores of each view; the harness averages the probabilities of views as for all methods."""

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
        return find_recognizer(options.config, options.checkpoint)

    @classmethod
    def check_classes(cls, options: RecognizerOptions, label_set: LabelSet) -> None:
        """Refuse a label set of another size than the head."""
        model = find_recognizer(options.config, options.checkpoint)
        require_size(model.name, model.classes, label_set)

    @classmethod
    def card_for(cls, options: RecognizerOptions) -> MethodCard:
        """The card with the model's name, and a word where there are no weights."""
        weights = ", random weights" if options.checkpoint == RANDOM else ""
        return replace(cls.card, title=f"{Path(options.config).stem} (mmaction2{weights})")

    def setup(self) -> None:
        """Nothing learns."""
        self.requires_grad_(False)

    def encode_video(self, video: Tensor) -> Tensor:
        """Scores of all the head's classes, (B, K), of videos (B, T, 3, H, W) as decoded, RGB 0..255.

        The recogniser's own preprocessor normalises.
        """
        return self.backbone.scores(video).float()

    def encode_text(self, label_set: LabelSet) -> Tensor:
        """Which output of the head stands for each class, (C,).

        Raises:
            UserError: The head has other classes than the label set.
        """
        heads = self.backbone.classes
        require_size(self.backbone.facts.name, heads, label_set)
        if not self.options.classes:
            return torch.arange(heads)
        names = read_head_classes(Path(self.options.classes))
        missing = sorted(set(label_set.names) - set(names))
        if missing or len(names) != heads:
            raise UserError(
                f"{self.options.classes} names {len(names)} classes of {heads}; {len(missing)} of the label set are "
                f"not among them (first: {', '.join(missing[:3]) or 'none'}).",
                "One name a line, in the order of the head's outputs, spelt as in the label set.",
            )
        return torch.tensor([names.index(name) for name in label_set.names])

    def score(self, video: Tensor, text: Tensor) -> Tensor:
        """Scores (B, C) in the order of the label set."""
        return video[:, text.to(video.device)]


def require_size(name: str, heads: int, label_set: LabelSet) -> None:
    """Refuse a label set of another size than a head."""
    if heads != len(label_set):
        raise NotApplicableError(
            f"The head of {name} has {heads} classes, the label set has {len(label_set)}: mmaction2 has a fixed set of "
            "classes.",
            "Choose a checkpoint that was trained on this label set.",
        )
