"""Tensors out of weight files without running any code that the file contains.

Three formats are read: safetensors, PyTorch's zip files (state dicts and training checkpoints, such as the published
ViFi-CLIP `.pth` with its pickled configuration object), and TorchScript archives (OpenAI's `ViT-B-16.pt`). Pickles are
interpreted by an unpickler that can rebuild tensors and plain containers; every other class becomes an inert object.
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from harness.base.errors import UserError

_STORAGE_TYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
_TORCHSCRIPT_SCALARS = ("input_resolution", "context_length", "vocab_size")


class _Inert:
    """Stands for an object of a class that is not rebuilt: it keeps state as data and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}

    def __setitem__(self, key: Any, value: Any) -> None:
        if not hasattr(self, "state"):
            self.state = {}
        self.state[str(key)] = value

    def append(self, value: Any) -> None:
        """Ignore list items of an unknown list-like class."""

    def extend(self, values: Any) -> None:
        """Ignore list items of an unknown list-like class."""


def _rebuild_tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    return torch.as_strided(storage, tuple(size), tuple(stride), int(offset)).clone()


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    return data


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("collections", "OrderedDict"): OrderedDict,
}


class _TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors, numbers, text and plain containers; nothing else is ever called."""

    def __init__(self, file: BinaryIO, read_storage: Callable[[str], bytes]) -> None:
        super().__init__(file, encoding="utf-8")
        self._read_storage = read_storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module in ("torch", "torch.storage") and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        return type(name if name.isidentifier() else "Unknown", (_Inert,), {})

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, numel = pid
        if not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"unknown storage type {dtype!r}")
        data = bytearray(self._read_storage(str(key)))
        tensor = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        if len(tensor) < int(numel):
            raise pickle.UnpicklingError(f"storage {key} holds {len(tensor)} of {numel} values")
        return tensor


def read_weights(path: Path) -> tuple[dict[str, Any], str]:
    """The content of a weight file and its kind.

    Returns:
        (content, kind): for `safetensors` and `torchscript` a flat name -> tensor mapping; for `checkpoint` whatever
        mapping was saved, with unknown objects made inert.

    Raises:
        UserError: The file is missing, of an unknown format, or damaged.
    """
    if not path.is_file():
        raise UserError(f"The weight file {path} does not exist.", "Give the path of a file, or an open_clip tag.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path), "safetensors"
        if zipfile.is_zipfile(path):
            return _read_zip(path)
    except UserError:
        raise
    except Exception as error:  # damaged files fail in many places of three libraries
        raise UserError(f"The weight file {path} is damaged: {type(error).__name__}: {error}") from error
    raise UserError(
        f"{path} is neither safetensors nor a PyTorch zip file.",
        "Files saved by torch < 1.6 must be saved again with a newer torch first.",
    )


def read_metadata(path: Path) -> dict[str, str]:
    """The text entries in the header of a safetensors file; empty for other formats."""
    if path.suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def _read_zip(path: Path) -> tuple[dict[str, Any], str]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickled = [n for n in names if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(pickled) != 1:
            raise UserError(f"{path} is a zip file, but not one of PyTorch: it holds no data.pkl.")
        root = pickled[0].removesuffix("data.pkl")
        torchscript = f"{root}constants.pkl" in names

        def storage(key: str) -> bytes:
            return archive.read(f"{root}data/{key}")

        with archive.open(pickled[0]) as file:
            content = _TensorUnpickler(file, storage).load()  # type: ignore[arg-type]
    if torchscript:
        state: dict[str, Any] = {}
        _collect(content, "", state)
        return {k: v for k, v in state.items() if k not in _TORCHSCRIPT_SCALARS}, "torchscript"
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected a mapping of names to tensors.")
    return content, "checkpoint"


def _collect(module: Any, prefix: str, state: dict[str, Any]) -> None:
    """Add the tensors of a TorchScript module tree under their dotted names."""
    for name, value in getattr(module, "state", {}).items():
        if isinstance(value, Tensor):
            state[f"{prefix}{name}"] = value
        elif isinstance(value, _Inert):
            _collect(value, f"{prefix}{name}.", state)


def state_sha256(state: dict[str, Tensor]) -> str:
    """sha256 over names, types, shapes and values of a state dict, in name order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().contiguous().cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def strict_load(module: torch.nn.Module, state: dict[str, Tensor], what: str, optional: tuple[str, ...] = ()) -> None:
    """Load a state dict, refusing missing, unexpected and wrongly shaped tensors.

    Args:
        module: Receives the values.
        state: Name -> tensor.
        what: Names the file or the weights in the error.
        optional: Prefixes of names that may be missing.

    Raises:
        UserError: Names the first offending tensors. Never a silent fall-back to untrained weights.
    """
    own = module.state_dict()
    missing = [n for n in own if n not in state and not n.startswith(optional or ("\0",))]
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
            "Choose the architecture that the weights belong to.",
        )
    module.load_state_dict(state, strict=False)
