"""Epochs as text: `none`, `all`, `5`, `2-22`, `2-22:2`, and several of these joined by commas."""

from __future__ import annotations

from harness.base.errors import UserError

NONE = "none"
ALL = "all"
MOST_EPOCHS = 1_000_000
"""Largest number of an epoch where the number of epochs of the fit is not known."""


def parse_epochs(text: str, last: int, name: str) -> tuple[int, ...]:
    """The epochs that a text names, in ascending order; epochs are counted from 1.

    Args:
        text: `none`, `all`, or numbers and ranges `FROM-TO` or `FROM-TO:EVERY`, joined by commas.
        last: Number of epochs of the fit.
        name: Name of the setting, for messages.

    Raises:
        UserError: The text is not a list of epochs, or names epochs that the fit does not have.
    """
    if text == NONE:
        return ()
    if text == ALL:
        return tuple(range(1, last + 1))
    epochs: set[int] = set()
    for part in text.split(","):
        span, colon, every = part.partition(":")
        first, dash, final = span.partition("-")
        numbers = [first, final if dash else first, every if colon else "1"]
        if not all(number.strip().isdecimal() for number in numbers):
            raise UserError(
                f"{name} is {text!r}, expected epochs such as 5, 2-22, 2-22:2 (every second epoch), 5,10,20, all or "
                "none."
            )
        start, stop, step = map(int, numbers)
        if not (1 <= start <= stop <= last and step >= 1):
            of_recipe = "Add --recipe average=none, or name epochs of the fit."
            hint = of_recipe if name == "recipe.average" else "Name other epochs, or none."
            raise UserError(
                f"{name} is {text!r}, expected epochs from 1 to {last}, the number of epochs of the fit.", hint
            )
        epochs |= set(range(start, stop + 1, step))
    return tuple(sorted(epochs))


def parse_selection(text: str, last: int) -> int:
    """The epoch that a checkpoint selection names: N of `epoch:N`, or 0 for `last`.

    Raises:
        UserError: The text is neither, or the fit has no such epoch.
    """
    if text == "last":
        return 0
    kind, _, number = text.partition(":")
    if kind != "epoch" or not number.isdecimal():
        raise UserError(f"recipe.selection is {text!r}, expected last or epoch:N, such as epoch:{last}.")
    if not 1 <= int(number) <= last:
        raise UserError(f"recipe.selection is {text!r}, expected an epoch from 1 to {last}.")
    return int(number)
