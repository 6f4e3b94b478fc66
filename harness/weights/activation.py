"""The activation of a weight file: stated by the file, by the name of an architecture or by `--activation`."""

from __future__ import annotations

from dataclasses import dataclass

from harness.base.errors import UserError
from harness.weights.sizes import QUICK_SUFFIX, named, states_quick_gelu

QUICK_GELU, GELU = "quick_gelu", "gelu"
ACTIVATIONS = {"quickgelu": QUICK_GELU, "gelu": GELU}
"""Values of `--activation`, and the names in records."""


@dataclass(frozen=True)
class Statement:
    """The activation that a weight file states.

    Args:
        activation: `quick_gelu` or `gelu`; empty if the file states none.
        source: The part of the file that states it, for messages.
        arch: Architecture that the file states beside it; empty if it states none.
    """

    activation: str = ""
    source: str = ""
    arch: str = ""


def decide(path: str, stated: Statement, arch: str | None, flag: str | None) -> str:
    """The activation of the weights of a file; it is never guessed.

    Args:
        path: Name of the file.
        stated: The statement of the file.
        arch: Value of `--arch`; None without it.
        flag: Value of `--activation`: `quickgelu`, `gelu`, or None without it.

    Returns:
        `quick_gelu` or `gelu`.

    Raises:
        UserError: The file, the architecture and `--activation` contradict each other, or none of them states it.
    """
    given = ACTIVATIONS[require_known(flag)] if flag is not None else ""
    if given == GELU and arch is not None and states_quick_gelu(arch):
        raise UserError(
            f"--activation is gelu, but --arch {arch} computes QuickGELU.",
            f"Give --arch {arch.removesuffix(QUICK_SUFFIX)}, or --activation quickgelu.",
        )
    if stated.activation:
        _require_agreement(path, stated, arch, given)
        return stated.activation
    if given:
        return given
    if arch is not None and states_quick_gelu(arch):
        return QUICK_GELU
    raise UserError(
        f"{path} does not state the activation of its model, which decides the features.",
        "Give --activation quickgelu (models of OpenAI and models that were tuned from them) or --activation gelu "
        "(most models of LAION and DataComp), as the publisher of the weights states it.",
    )


def require_known(flag: str) -> str:
    """A value of `--activation`.

    Raises:
        UserError: The value is not known.
    """
    if flag not in ACTIVATIONS:
        raise UserError(f"--activation is {flag!r}, expected {' or '.join(ACTIVATIONS)}.", "Give one of them.")
    return flag


def _require_agreement(path: str, stated: Statement, arch: str | None, given: str) -> None:
    quick = stated.activation == QUICK_GELU
    shown = "QuickGELU" if quick else "GELU"
    if given and given != stated.activation:
        fix = "Leave --activation out."
        raise UserError(f"{path} needs {shown} ({stated.source}), but --activation states another one.", fix)
    if arch is None or arch == stated.arch or given:
        return
    if quick != states_quick_gelu(arch):
        fitting = named(arch, quick_gelu=True) if quick else arch.removesuffix(QUICK_SUFFIX)
        raise UserError(
            f"{path} needs {shown} ({stated.source}), but --arch {arch} computes {'GELU' if quick else 'QuickGELU'}.",
            f"Give --arch {fitting}, or leave --arch out.",
        )


def require_activation(path: str, stated: Statement, quick_gelu: bool) -> None:
    """Refuse to load weights into a model that computes another activation.

    Args:
        path: Name of the file.
        stated: The statement of the file; a file that states nothing passes.
        quick_gelu: Whether the model computes QuickGELU.

    Raises:
        UserError: The file states another activation.
    """
    if stated.activation and (stated.activation == QUICK_GELU) != quick_gelu:
        needed, found = ("QuickGELU", "GELU") if stated.activation == QUICK_GELU else ("GELU", "QuickGELU")
        raise UserError(
            f"{path} needs {needed} ({stated.source}), but the model that it is loaded into computes {found}.",
            f"Choose --arch and --weights of a model with {needed}.",
        )
