"""The method that a checkpoint belongs to."""

from __future__ import annotations

from pathlib import Path

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


def require_export_of(checkpoint: str, method: str) -> None:
    """Refuse an export of a fit of another method, whose weights may fit this one.

    Args:
        checkpoint: Path of the file.
        method: Name of the method.

    Raises:
        UserError: The file is damaged, or its metadata names another method.
    """
    stated = describe(checkpoint).file.metadata.get("method", "") if Path(checkpoint).is_file() else ""
    if stated not in ("", method):
        raise UserError(
            f"{checkpoint} is an export of a fit of {stated}, expected an export of {method}.",
            f"Give --method {stated}, or leave --method out.",
        )


def require_owner(checkpoint: str, method: str) -> None:
    """Refuse the published checkpoint of another built-in method, without reading its tensors.

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
            f"{checkpoint} is a checkpoint of {described.title}, expected one for {method}.", f"Give --method {owner}."
        )
