"""Specification of TC-CLIP."""

from dataclasses import asdict, dataclass, replace

from harness.api import ClassTextOptions, LabelSet, MethodCard, ParentFit, UserError, option
from methods._prompted import PrecisionOptions
from methods._recipes_later import TC_CLIP
from methods._specs._numbers import is_ascending
from methods._specs._start import CLIP, StartOptions, StartSpec
from methods._specs._texts import require_one_text, split_words

FREEZE = ("none", "image", "text", "backbone")
JOINT = "joint"


@dataclass(frozen=True)
class TcClipOptions(StartOptions, ClassTextOptions, PrecisionOptions):
    """Numbers of seeds and context tokens, and the learned part of the texts; the defaults are the published values."""

    context: str = option("a photo of a", "words before each class name, whose embeddings start the learned vectors")
    context_vectors: int = option(
        4, "learned vectors of the text; more than words are drawn at random", bounds=(1, 72)
    )
    split_names: bool = option(
        False,
        "put a blank before each capital letter of a name or sentence (published); names of UCF-101 need the label set "
        "`split`, which divides them itself",
    )
    seeds: float = option(0.3, "share of the patches of a frame that the class token attends to most", bounds=(0, 1))
    tokens: int = option(96, "context tokens of a video", bounds=(1, None))
    merged_per_round: int = option(100, "tokens that a round of merging removes", bounds=(1, None))
    prompt_layers: str = option("last", "text blocks after the prompt layers: last, none, or numbers such as 10+12")
    positions: str = option("space", "positions: one table for all frames, or joint: one per frame", ("space", JOINT))
    frames: int = option(16, "frames per view", bounds=(1, None), unused_with={"positions": ("space",)})
    bias: bool = option(True, "learned bias of each head for tokens of the frame and for context tokens")
    stop_gradient: bool = option(
        True,
        "cut the gradient from the texts into the vision tower (published)",
        unused_with={"prompt_layers": ("none",), "freeze": ("image", "backbone")},
    )
    freeze: str = option("none", "part of CLIP that is not trained", FREEZE)
    new_lr: float = option(
        10.0, "learning rate of the text's vectors and prompt layers, in multiples of the recipe's", bounds=(0, None)
    )

    def __post_init__(self) -> None:
        """Refuse a share that leaves no seed, and other words than those of `prompt_layers`."""
        if not self.seeds > 0:
            raise UserError(f"tc_clip:seeds is {self.seeds:g}, expected a share above 0 and up to 1.")
        is_numbers = is_ascending(self.prompt_layers) and not self.prompt_layers.startswith("0")
        if self.prompt_layers not in ("last", "none") and not is_numbers:
            raise UserError(
                f"tc_clip:prompt_layers is {self.prompt_layers!r}, expected last, none, or ascending numbers from 1 "
                "such as 10+12."
            )


class TcClipSpec(StartSpec):
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
            "not stated; the tables choose the best epoch on the evaluation list and take two random views; the epoch "
            "of the K-400 fit that other fits start from is not stated, start=source takes the last; its workers draw "
            "the same frames, flips and crops in each epoch, which is not repeated here"
        ),
    )
    recipes = TC_CLIP
    options_type = TcClipOptions
    parameters_vit_b16 = (152_776_457, 127_479_561)

    @classmethod
    def check_classes(cls, options: TcClipOptions, label_set: LabelSet) -> None:  # type: ignore[override]
        """Refuse several texts of a class, and names that the option would divide unnoticed.

        Raises:
            UserError: A class has several texts, or `split_names` divides a word of a name and the label set is not
                `split`, so that rows with divided and with published names would be ranked together.
        """
        super().check_classes(options, label_set)
        require_one_text(cls, options, label_set)
        divided = next((name for name in label_set.names if split_words(name) != " ".join(name.split())), "")
        if options.split_names and divided and label_set.variant != "split" and not options.class_texts:
            raise UserError(
                f"{cls.name}:split_names=true divides the class name {divided!r} of the label set "
                f"{label_set.variant!r}, expected the label set 'split'.",
                "Add --label-set split, which has a group of its own, or set split_names=false.",
            )

    @classmethod
    def parent_fit(cls, options: TcClipOptions) -> ParentFit | None:  # type: ignore[override]
        """Return the fit on the source with the same options."""
        if options.start == CLIP:
            return None
        default, given = asdict(cls.options_type()), asdict(replace(options, start=CLIP))
        changed = tuple((name, value) for name, value in given.items() if value != default[name])
        return ParentFit(cls.name, "zero_shot", changed)
