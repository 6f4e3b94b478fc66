"""Specification of Vita-CLIP."""

from dataclasses import dataclass
from typing import ClassVar

from harness.api import LabelSet, MethodCard, MethodOptions, MethodSpec, option
from methods._recipes_adapters import VITA_CLIP
from methods._specs._sizes import require_size

CLASSES, SHARED = "classes", "shared"


@dataclass(frozen=True)
class VitaClipOptions(MethodOptions):
    """Parts of the method; the defaults are the published parts, but for contexts that all classes share."""

    global_prompts: int = option(8, "prompts of the video in each block", bounds=(0, None))
    local_prompts: bool = option(True, "prompts of the frames")
    summary: bool = option(True, "summary token of each frame, made by attention among the frames")
    contexts: int = option(8, "learned vectors beside the class name", bounds=(1, 72), unused_with={"words": ...})
    context: str = option(
        SHARED, "shared: the same vectors for all classes (own choice); classes: vectors for each class (published)",
        (SHARED, CLASSES), unused_with={"words": ...},
    )  # fmt: skip
    fixed_classes: int = option(
        0,
        "classes with vectors of their own; those of K-400 are known",
        bounds=(0, None),
        unused_with={"context": (SHARED,), "words": ...},
    )
    position: str = option("end", "the class name is behind, amid or before the vectors", ("end", "middle", "front"))
    words: str = option("", "words that initialise vectors shared by all classes, in place of `contexts`")
    frames: int = option(8, "frames per view, for times and prompts of frames", bounds=(1, None))


class VitaClipSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "vita_clip"
    card = MethodCard(
        title="Vita-CLIP",
        paper="Wasim et al., Vita-CLIP: Video and text adaptive CLIP via Multimodal Prompting, CVPR 2023",
        class_text="learned",
        family="adapting",
        source="TalalWasim/Vita-CLIP, training/VitaCLIP_*.py, train_scripts/k400_train.sh",
        unverified=(
            "the training behind its zero-shot numbers is not public, and vectors for each class (published for K-400) "
            "give no text for new classes, so that vectors are shared by default; the bias that its file adds to "
            "CLIP's patch embedding is not known and starts at zero; its projection of class tokens stays random, as "
            "in the original; its script computes in fp32, which --precision fp32 requests; no published checkpoint "
            "was available"
        ),
    )
    recipes = VITA_CLIP
    options_type = VitaClipOptions
    protocol_options: ClassVar = {"supervised/k400": {"context": CLASSES, "fixed_classes": 400}}
    checkpoint_normalize = "clip"
    parameters_vit_b16 = (185_233_153, 28_524_545)

    @classmethod
    def is_open(cls, options: MethodOptions) -> bool:
        """Whether the vectors are shared by all classes."""
        return not isinstance(options, VitaClipOptions) or options.context != CLASSES or bool(options.words)

    @classmethod
    def check_frames(cls, options: VitaClipOptions, frames: int) -> None:  # type: ignore[override]
        """Refuse another number of frames than that of the prompts of frames; times are interpolated."""
        if options.local_prompts or options.summary:
            super().check_frames(options, frames)

    @classmethod
    def check_classes(cls, options: MethodOptions, label_set: LabelSet) -> None:
        """Refuse a label set whose size is not that of the vectors.

        Raises:
            NotApplicableError: The sizes differ.
        """
        if isinstance(options, VitaClipOptions) and not cls.is_open(options):
            hint = f"Set the option {cls.name}:fixed_classes={len(label_set)}, or {cls.name}:context=shared."
            require_size(options.fixed_classes, label_set, f"{cls.name}:context=classes has vectors for", hint)
