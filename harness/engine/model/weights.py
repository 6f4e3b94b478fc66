"""Tensors of weight files, read without executing code that the file contains.

`harness.weights` recognises the format of a file and describes its tensors; this module reads their bytes.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TypeAlias

import torch
from torch import Tensor

from harness.base.errors import UserError
from harness.weights.read import FileKind, WeightFile, open_weights
from harness.weights.stored import ITEM_BYTES, Location, StoredTensor, StoredTree, contiguous, tensors_of

_DTYPES: Mapping[str, torch.dtype] = {name: getattr(torch, name) for name in ITEM_BYTES}

TensorTree: TypeAlias = "Mapping[str, Tensor | TensorTree]"
"""Tensors by name, in nested mappings. Other content of a weight file is dropped."""


def read_weights(path: Path) -> tuple[TensorTree, FileKind]:
    """Return all tensors of a weight file, nested as they were saved, and the kind of the file.

    Raises:
        UserError: The file is missing, has an unknown format, or is damaged.
    """
    file = open_weights(path)
    tensors = read_tensors(file, tensors_of(file.content))
    return _filled(file.content, tensors), file.kind


def _filled(tree: StoredTree, tensors: Mapping[StoredTensor, Tensor]) -> TensorTree:
    return {n: tensors[v] if isinstance(v, StoredTensor) else _filled(v, tensors) for n, v in tree.items()}


def read_state(file: WeightFile, state: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """Read the tensors of a state dict.

    Args:
        file: The weight file.
        state: Descriptions of its tensors, by name.

    Raises:
        UserError: The file is damaged, or a value is not finite.
    """
    tensors = read_tensors(file, state.values())
    read = {name: tensors[stored] for name, stored in state.items()}
    require_finite(read, str(file.path))
    return read


def read_tensors(file: WeightFile, wanted: Iterable[StoredTensor]) -> dict[StoredTensor, Tensor]:
    """Read tensors of a weight file; each storage is read once.

    Raises:
        UserError: The file is damaged.
    """
    by_storage: dict[str, list[StoredTensor]] = {}
    for tensor in dict.fromkeys(wanted):
        by_storage.setdefault(tensor.storage, []).append(tensor)
    tensors: dict[StoredTensor, Tensor] = {}
    try:
        with ExitStack() as stack:
            files = _Files(stack)
            for name, described in by_storage.items():
                location = file.locations[name]
                data = files.read(location)
                for tensor in described:
                    # Several tensors of a storage must not share memory: a fit would change all of them.
                    tensors[tensor] = _tensor(tensor, data, alone=len(described) == 1)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
        raise UserError(
            f"The weight file {file.path} is damaged: {type(error).__name__}: {error}", "Download or save it again."
        ) from error
    return tensors


def _tensor(described: StoredTensor, data: bytearray, alone: bool) -> Tensor:
    dtype = _DTYPES[described.dtype]
    if 0 in described.shape:
        return torch.empty(described.shape, dtype=dtype)
    # Values behind the last whole one, which storages of bytes can have, are left out.
    values = torch.frombuffer(data, dtype=dtype, count=len(data) // ITEM_BYTES[described.dtype])
    tensor = torch.as_strided(values, described.shape, described.stride, described.offset)
    whole = described.offset == 0 and described.stride == contiguous(described.shape)
    return tensor if alone and whole else tensor.clone()


class _Files:
    """Open files and zip archives of one weight file."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._files: dict[Path, IO[bytes]] = {}
        self._archives: dict[Path, zipfile.ZipFile] = {}

    def read(self, location: Location) -> bytearray:
        """The bytes of a storage; a bytearray, because tensors over `bytes` are read-only."""
        if location.member:
            if location.file not in self._archives:
                self._archives[location.file] = self._stack.enter_context(zipfile.ZipFile(location.file))
            with self._archives[location.file].open(location.member) as member:
                data = bytearray(member.read(location.nbytes))
                # The checksum of a member is compared when its end is read.
                member.read(1)
        else:
            if location.file not in self._files:
                self._files[location.file] = self._stack.enter_context(location.file.open("rb"))
            self._files[location.file].seek(location.start)
            data = bytearray(self._files[location.file].read(location.nbytes))
        if len(data) != location.nbytes:
            raise EOFError(f"a storage of {location.nbytes} bytes has {len(data)}")
        return data


def require_finite(state: Mapping[str, Tensor], what: str) -> None:
    """Check that the values of all tensors are finite.

    Args:
        state: Tensors by name.
        what: Name of the file or of the weights in the error.

    Raises:
        UserError: A value is NaN or infinite; the message names the first tensors with such values.
    """
    names = [name for name, value in state.items() if value.is_floating_point() and not _is_finite(value)]
    if names:
        raise UserError(
            f"{what} holds values that are not finite in {len(names)} tensors (first: {', '.join(names[:3])}).",
            "Download or save the file again; a training run that diverged saves such weights.",
        )


def _is_finite(value: Tensor) -> bool:
    # The sum of absolute values is finite unless a value is not; it needs no mask of the size of the tensor.
    wide = value.float() if value.dtype.itemsize < 4 else value
    return bool(torch.isfinite(wide.abs().sum(dtype=torch.float64)))


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, types, shapes and values of a state dict, in name order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().contiguous().cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes, because NumPy has no bfloat16.
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def strict_load(
    module: torch.nn.Module,
    state: Mapping[str, Tensor],
    what: str,
    optional: tuple[str, ...] = (),
    hint: str = "Choose the architecture that the weights belong to.",
) -> None:
    """Load a state dict, or refuse it if tensors are missing, unexpected or of another shape.

    Args:
        module: The module that receives the values.
        state: Tensors by name.
        what: Name of the file or of the weights in the error.
        optional: Prefixes of names that may be missing.
        hint: The fix of a mismatch.

    Raises:
        UserError: The state dict does not fit the module; the message names the first tensors that do not.
    """
    own = module.state_dict()
    missing = [n for n in own if n not in state and not (optional and n.startswith(optional))]
    unexpected = [n for n in state if n not in own]
    shapes = [
        f"{n}: file {tuple(state[n].shape)}, model {tuple(own[n].shape)}"
        for n in own
        if n in state and state[n].shape != own[n].shape
    ]
    problems = [
        f"{len(rows)} {title} (first: {', '.join(rows[:3])})"
        for title, rows in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if rows
    ]
    if problems:
        raise UserError(
            f"{what} does not fit the model: {'; '.join(problems)}.",
            hint,
        )
    # Names and shapes were compared above. torch's strict mode would refuse the optional tensors that are missing.
    module.load_state_dict(state, strict=False)
