"""The method that a checkpoint belongs to."""

from __future__ import annotations

from harness.base.errors import UserError
from harness.weights import later_families
from harness.weights.describe import Description, describe

_METHODS = {
    "xclip": "xclip", "actionclip": "actionclip", "efficient_prompt": "efficient_prompt", "tcclip": "tc_clip",
    "open_vclip": "open_vclip", "froster": "froster", "mote": "mote", "ezclip": "ez_clip",
    **later_families.METHODS,
}  # fmt: skip
"""Built-in method of each family of checkpoints that only one method writes."""


def owner_of(described: Description) -> str:
    """The method that a checkpoint belongs to; empty if the file does not say."""
    published = described.published
    if published.family == "vificlip":
        return "bridge_prompt" if published.own else "vificlip"
    return _METHODS.get(published.family, described.file.metadata.get("method", ""))


def require_owner(checkpoint: str, method: str) -> None:
    """Refuse the checkpoint of another built-in method, without reading its tensors.

    Args:
        checkpoint: Path of the file.
        method: Name of a built-in method.

    Raises:
        UserError: The file is missing or damaged, or holds tensors of another method beside those of CLIP.
    """
    described = describe(checkpoint)
    owner = owner_of(described)
    if described.published.own and owner not in ("", method):
        raise UserError(
            f"{checkpoint} is a checkpoint of {described.title}, expected one of {method}.", f"Give --method {owner}."
        )
