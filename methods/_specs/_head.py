"""Shared part of the specifications of methods that classify by texts, or by a linear layer with fixed classes."""

from dataclasses import dataclass

from harness.api import LabelSet, MethodOptions, MethodSpec, option
from methods._specs._sizes import require_size

CLASSES, TEXT = "classes", "text"
OWN_HEAD = (
    "the original has a linear layer over fixed classes (head=classes) and no form for new classes: head=text, which "
    "projects frames into CLIP's joint space and compares them with texts, is own"
)
"""Remark on the cards of these methods."""


@dataclass(frozen=True)
class HeadOptions(MethodOptions):
    """Options of the head."""

    head: str = option(
        TEXT, "text: cosine with class texts (own); classes: a linear layer over fixed classes (published)",
        (TEXT, CLASSES),
    )  # fmt: skip
    fixed_classes: int = option(
        0,
        "classes of the linear layer; those of K-400 and SSv2 are known",
        bounds=(0, None),
        unused_with={"head": (TEXT,)},
    )
    head_dropout: float = option(
        0.5, "dropout before the linear layer", bounds=(0, 0.99), unused_with={"head": (TEXT,)}
    )
    template: str = option(
        "a photo of a {}.", "text around the class name, which replaces {}", unused_with={"head": (CLASSES,)}
    )


class HeadSpec(MethodSpec):
    """Specification of methods with a choice of heads."""

    options_type = HeadOptions

    @classmethod
    def is_open(cls, options: MethodOptions) -> bool:
        """Whether the head compares with texts."""
        return not isinstance(options, HeadOptions) or options.head == TEXT

    @classmethod
    def check_classes(cls, options: MethodOptions, label_set: LabelSet) -> None:
        """Refuse a label set whose size is not that of the linear layer.

        Raises:
            NotApplicableError: The sizes differ.
        """
        if isinstance(options, HeadOptions) and options.head == CLASSES:
            hint = f"Set the option {cls.name}:fixed_classes={len(label_set)}, or {cls.name}:head=text."
            require_size(options.fixed_classes, label_set, f"The head of {cls.name} has", hint)
