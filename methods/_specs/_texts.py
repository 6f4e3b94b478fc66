"""Checks of files of class texts that several methods share."""

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
