"""The check of methods with a fixed number of classes."""

from harness.api import LabelSet, NotApplicableError


def require_size(classes: int, label_set: LabelSet, part: str, hint: str) -> None:
    """Refuse a label set whose size is not that of a part of the model.

    Args:
        classes: Number of classes of the part.
        label_set: The label set.
        part: The part and its verb for the message, such as `The head of aim has`.
        hint: The fix.

    Raises:
        NotApplicableError: The sizes differ.
    """
    if classes != len(label_set):
        raise NotApplicableError(f"{part} {classes} classes, the label set has {len(label_set)}.", hint)
