"""The check of methods with a table of frame positions."""

from harness.api import UserError


def require_positions(name: str, positions: int, frames: int) -> None:
    """Refuse more frames than a method has positions.

    Raises:
        UserError: There are more frames.
    """
    if frames > positions:
        raise UserError(f"{name} has positions for {positions} frames, the view has {frames}.", (
            f"Give at most {positions}: --views frames={positions}; in predict and attention --frames {positions}."
        ))
