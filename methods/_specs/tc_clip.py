"""Specification of TC-CLIP."""

from dataclasses import dataclass, replace

from harness.api import ClassTextOptions, MethodCard, MethodSpec, Recipe, UserError, option
from methods._prompted import PrecisionOptions
from methods._recipes import MINI

FREEZE = ("none", "image", "text", "backbone")

_TC_CLIP = Recipe(epochs=10, lr=8e-6, ranks=4, accumulate=16, source="TC-CLIP configs/zero_shot.yaml")
TC_CLIP = {
    "zero_shot": _TC_CLIP,
    "few_shot": replace(_TC_CLIP, epochs=50, lr=2e-6, accumulate=4, source="TC-CLIP configs/few_shot.yaml"),
    "few_shot/ssv2": replace(
        _TC_CLIP, epochs=50, lr=2e-6, accumulate=4, flip=False, source="TC-CLIP configs/few_shot.yaml (SSv2: no flip)"
    ),
    "b2n": replace(
        _TC_CLIP, epochs=12, lr=3.33e-6, warmup_epochs=2, accumulate=4, source="TC-CLIP configs/base2novel.yaml"
    ),
    "b2n/ssv2": replace(
        _TC_CLIP, epochs=12, lr=3.33e-6, warmup_epochs=2, accumulate=4, flip=False,
        source="TC-CLIP configs/base2novel.yaml (SSv2: no flip)",
    ),
    "supervised": replace(
        _TC_CLIP, epochs=30, lr=2.2e-5, accumulate=32, source="TC-CLIP configs/fully_supervised.yaml"
    ),
    "mini": replace(MINI, lr=2e-4),
}  # fmt: skip
"""Source: naver-ai/tc-clip at 8728fe4, configs/*.yaml and scripts/train, 4 GPUs x 4 clips; `last` replaces its choice
of the best epoch on the evaluation list."""


@dataclass(frozen=True)
class TcClipOptions(ClassTextOptions, PrecisionOptions):
    """Numbers of seeds and context tokens, and the learned part of the texts; the defaults are the published values."""

    context: str = option("a photo of a", "words before each class name, whose embeddings start the learned vectors")
    context_vectors: int = option(4, "learned vectors of the text; more than words are drawn at random")
    split_names: bool = option(True, "put a blank before each capital letter of a class name (published)")
    seeds: float = option(0.3, "share of the patches of a frame that the class token attends to most")
    tokens: int = option(96, "context tokens of a video")
    merged_per_round: int = option(100, "tokens that a round of merging removes")
    prompt_layers: str = option("last", "text blocks after the prompt layers: last, none, or numbers such as 10+12")
    positions: str = option("space", "positions: one table for all frames, or joint: one per frame", ("space", "joint"))
    frames: int = option(16, "frames per view; used by positions=joint only")
    bias: bool = option(True, "learned bias of each head for tokens of the frame and for context tokens")
    stop_gradient: bool = option(True, "cut the gradient from the texts into the vision tower (published)")
    freeze: str = option("none", "part of CLIP that is not trained", FREEZE)
    new_lr: float = option(10.0, "learning rate of the text's vectors and prompt layers, in multiples of the recipe's")

    def __post_init__(self) -> None:
        """Refuse numbers that leave no seed, token or vector."""
        for name in ("context_vectors", "tokens", "merged_per_round", "frames"):
            if getattr(self, name) < 1:
                raise UserError(f"tc_clip:{name} is {getattr(self, name)}, expected at least 1.")
        if not 0 < self.seeds <= 1:
            raise UserError(f"tc_clip:seeds is {self.seeds:g}, expected a share above 0 and up to 1.")
        numbers = self.prompt_layers.split("+")
        if self.prompt_layers not in ("last", "none") and not all(n.isdecimal() and int(n) for n in numbers):
            raise UserError(f"tc_clip:prompt_layers is {self.prompt_layers!r}, expected last, none or 10+12.")


class TcClipSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "tc_clip"
    card = MethodCard(
        title="TC-CLIP",
        paper="Kim et al., Leveraging Temporal Contextualization for Video Action Recognition, ECCV 2024",
        class_text="learned",
        family="adapting",
        source="naver-ai/tc-clip (non-commercial licence; written from a description of its arithmetic)",
        unverified=(
            "no published checkpoint was available; whether the zero-shot table shows plain or interpolated weights is "
            "not stated; the tables choose the best epoch on the evaluation list and take two random views"
        ),
    )
    recipes = TC_CLIP
    options_type = TcClipOptions
    parameters_vit_b16 = (152_776_457, 127_479_561)
