"""The identity of a weight file in measurements: its architecture, and the hash of the files that define the model."""

from __future__ import annotations

import hashlib

from harness.weights.activation import ACTIVATIONS, QUICK_GELU, decide, require_known
from harness.weights.describe import INFERRED, describe, is_path, path_of
from harness.weights.hub import is_hub, repository_of
from harness.weights.sizes import QUICK_SUFFIX, named, states_quick_gelu

FILE_HASH = "sha256:"


def file_identity(
    weights: str, arch: str | None, activation: str | None, base: str | None, of_method: bool
) -> tuple[str, str]:
    """The architecture and the weights of a file, a folder or a repository on the hub, as measurements state them.

    Args:
        weights: Value of `--weights`.
        arch: Value of `--arch`, or None.
        activation: Value of `--activation`, or None.
        base: Value of `--base`, or None.
        of_method: Whether the file is the checkpoint of a method.

    Returns:
        (arch, weights): the weights are `sha256:` and a hash, or the name of the repository.

    Raises:
        UserError: The file is missing or damaged, or its activation is unknown or contradicted.
    """
    if is_hub(weights):
        repository_of(weights)
        return _named(arch or INFERRED, activation), weights
    described = describe(weights)
    stated = described.statement
    chosen = decide(described.given, stated, arch, checkpoint_activation(weights, activation, of_method))
    name = arch or described.architecture(chosen) or INFERRED
    if not stated.activation:
        name = _named(name, "quickgelu" if chosen == QUICK_GELU else "gelu")
    digest = described.sha256
    if base is not None and base != "openai":
        completed = describe(base).sha256 if is_path(base) else base
        digest = hashlib.sha256(f"{digest} {completed}".encode()).hexdigest()
    return name, f"{FILE_HASH}{digest}"


def checkpoint_activation(weights: str, activation: str | None, of_method: bool) -> str | None:
    """The activation of a checkpoint, which states it itself: its `--arch` names the sizes alone."""
    stated = describe(weights).statement.activation if of_method else ""
    if activation is None and stated:
        return "quickgelu" if stated == QUICK_GELU else "gelu"
    return activation


def _named(arch: str, activation: str | None) -> str:
    """An architecture with an activation that the user stated, so that two activations of a file are two models."""
    if activation is None:
        return arch
    quick = ACTIVATIONS[require_known(activation)] == QUICK_GELU
    if arch == INFERRED:
        return f"{INFERRED}-{activation}"
    if quick and not states_quick_gelu(arch):
        name = named(arch, quick_gelu=True)
        return name if states_quick_gelu(name) else f"{arch}{QUICK_SUFFIX}"
    return arch


def request_of(weights: str, arch: str) -> tuple[str | None, str | None]:
    """The values of `--arch` and `--activation` that give the identity of a recorded model.

    Args:
        weights: Value of `--weights`.
        arch: Architecture of the record.
    """
    activation = None
    if is_hub(weights):
        stated = arch.endswith(("-gelu", QUICK_SUFFIX)) and arch.startswith(INFERRED)
    else:
        stated = not describe(weights).statement.activation
    if stated:
        activation = "quickgelu" if states_quick_gelu(arch) else "gelu"
    return (None if arch.startswith(INFERRED) else arch), activation


def is_external(weights: str) -> bool:
    """Whether a value of `--weights` is a file, a folder or a repository, and not a tag."""
    return is_hub(weights) or is_path(weights)


def short_name(weights: str) -> str:
    """The last part of the name of a file, folder or repository."""
    if is_hub(weights):
        return repository_of(weights).replace("/", "--")
    path = path_of(weights)
    return path.stem or path.resolve().name
