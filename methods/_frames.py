"""The check of methods that are set up for one number of frames."""

from harness.api import UserError


def require_frames(name: str, expected: int, found: int) -> None:
    """Refuse a view with another number of frames than the option `frames` of a method.

    Raises:
        UserError: The numbers differ.
    """
    if found != expected:
        raise UserError(
            f"{name} is set up for {expected} frames, the view has {found}.", f"Set the option: {name}:frames={found}."
        )
