"""The file `weights.safetensors` of a fit: written at its end, read and loaded into a method."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from harness.base.atomic import write_bytes
from harness.base.errors import EXIT_FAILED, UserError
from harness.base.files import file_sha256
from harness.engine.method import ClipMethod

WEIGHTS = "weights.safetensors"
_AGAIN = "Restore the file, or fit again with --force."


def write_trained(method: ClipMethod, folder: Path) -> None:
    """Call the method's `after_fit` and write its trained tensors into the folder of the fit, atomically."""
    with torch.no_grad():
        method.after_fit()
    # safetensors refuses tensors that are not contiguous, such as a transposed projection.
    state = {name: value.detach().cpu().contiguous() for name, value in method.trained_state().items()}
    write_bytes(folder / WEIGHTS, save(state))


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
    if sha256 is not None and (actual := file_sha256(path)) != sha256:
        message = f"The weights {path} changed after the fit: they have sha256 {actual}, expected {sha256}."
        raise UserError(message, _AGAIN, EXIT_FAILED)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"The weights {path} are damaged: {error}.", _AGAIN, EXIT_FAILED) from None


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
