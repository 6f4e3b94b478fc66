"""The file `weights.safetensors` of a fit: written at its end, read and loaded into a method."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from harness.base.errors import EXIT_FAILED, UserError
from harness.base.files import file_sha256
from harness.engine.method import ClipMethod

WEIGHTS = "weights.safetensors"
_AGAIN = "Restore the file, or fit again with --force."


def read_trained(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The trained tensors of a finished fit by name.

    Args:
        path: The weights file.
        sha256: Hash of the file in `fit.json`; None skips the check.

    Raises:
        UserError: The file is missing, has another hash, or is not a safetensors file.
    """
    if not path.is_file():
        raise UserError(f"The weights {path} of a finished fit are missing.", _AGAIN, EXIT_FAILED)
    if sha256 is not None:
        require_hash(path, sha256)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"The weights {path} are damaged: {error}.", _AGAIN, EXIT_FAILED) from None


def require_hash(path: Path, sha256: str) -> None:
    """Check that a weights file has the recorded hash.

    Raises:
        UserError: It has another hash.
    """
    if (actual := file_sha256(path)) != sha256:
        message = f"The weights {path} changed after the fit: they have sha256 {actual}, expected {sha256}."
        raise UserError(message, _AGAIN, EXIT_FAILED)


def load_fit(method: ClipMethod, folder: Path, sha256: str | None = None) -> None:
    """Load the trained tensors of a finished fit into a method.

    Args:
        method: The method, set up on its backbone.
        folder: Folder of the fit.
        sha256: Hash of the weights file in `fit.json`; None skips the check.

    Raises:
        UserError: The weights are missing, changed after the fit, or belong to another method or backbone.
    """
    path = folder / WEIGHTS
    state = read_trained(path, sha256)
    expected = method.trained_state()
    missing, unexpected = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    shapes = [n for n in state if n in expected and state[n].shape != expected[n].shape]
    if missing or unexpected or shapes:
        raise UserError(
            f"{path} does not fit {method.name}: missing {missing[:3]}, unexpected {unexpected[:3]}, "
            f"other shape {shapes[:3]}.",
            "The method or the backbone changed since the fit; fit again with --force.",
        )
    # The file holds trained tensors only; the names were compared above.
    method.load_state_dict(state, strict=False)
