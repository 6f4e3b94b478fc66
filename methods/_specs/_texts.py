"""Texts of classes in several methods: checks of files, and names with divided words."""

import re
from collections.abc import Iterable

from harness.api import ClassTextOptions, LabelSet, MethodSpec, UserError


def require_equal_counts(spec: type[MethodSpec], options: ClassTextOptions, label_set: LabelSet) -> None:
    """Refuse a file of class texts whose number of texts differs between classes: their features are one tensor.

    Raises:
        UserError: Two classes of the label set have different numbers of texts of a kind.
    """
    texts = spec.class_texts_file(options)
    kinds: Iterable[str] = spec.class_text_kinds if texts is not None else ()
    for kind in kinds:
        assert texts is not None
        counts = [len(listed) for listed in texts.of(label_set, kind)]
        other = next((i for i, count in enumerate(counts) if count != counts[0]), 0)
        if other:
            found = [f"{label_set.names[i]!r} has {counts[i]}" for i in (0, other)]
            raise UserError(
                f"{spec.name} needs equally many {f'{kind} texts'.strip()} for every class; in {texts.path} the class "
                f"{' and '.join(found)}.",
                "Give each class the same number of texts.",
            )


def require_one_text(spec: type[MethodSpec], options: ClassTextOptions, label_set: LabelSet) -> None:
    """Refuse a file with several texts for a class, for a method that puts one text into a template.

    Raises:
        UserError: A class of the label set has several texts.
    """
    texts = spec.class_texts_file(options)
    listed = texts.of(label_set, "") if texts is not None else ()
    for name, found in zip(label_set.names, listed, strict=False):
        if len(found) > 1:
            assert texts is not None
            raise UserError(
                f"The class {name!r} has {len(found)} texts in {texts.path}, and {spec.name} reads one per class.",
                "Give a file with one text per class.",
            )


def split_words(name: str) -> str:
    """A class name with a blank before each capital letter and single blanks: `ApplyLipstick` is `Apply Lipstick`."""
    return " ".join(re.sub("([A-Z])", r" \1", name).split())
