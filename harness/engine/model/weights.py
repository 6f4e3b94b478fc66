"""Tensors of weight files, read without running code that the file contains.

Three formats are read: safetensors, PyTorch's zip files (state dicts and training checkpoints, such as the published
ViFi-CLIP `.pth` with its pickled configuration object), and TorchScript archives (OpenAI's `ViT-B-16.pt`).

The interpreter of pickles is this module's own. `torch.load(weights_only=True)` is no substitute: it refuses every
file that mentions a class which is not allowed by name, and the published checkpoints pickle configuration objects
(yacs nodes, optimiser states) of packages that are not installed here. `torch.load` without that option and
`torch.jit.load` run code of the file. The interpreter rebuilds tensors and plain containers, turns objects of every
other class into inert data, and calls nothing else, so that it reads those files and a malicious file has no effect.
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Literal, TypeAlias

import torch
from torch import Tensor

from harness.base.errors import UserError

_STORAGE_TYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
_TORCHSCRIPT_SCALARS = ("input_resolution", "context_length", "vocab_size")

TensorTree: TypeAlias = "Mapping[str, Tensor | TensorTree]"
"""Tensors by name, in nested mappings. Other content of a weight file is dropped."""
FileKind = Literal["safetensors", "torchscript", "checkpoint"]


class _Inert:
    """An object of a class that is not rebuilt: it keeps the pickled state as data and does nothing."""

    def __init__(self, *args: _Pickled, **kwargs: _Pickled) -> None:
        self.state: dict[str, _Pickled] = {}

    def __setstate__(self, state: _Pickled) -> None:
        self.state = {str(key): value for key, value in state.items()} if isinstance(state, dict) else {}

    def __setitem__(self, key: _Pickled, value: _Pickled) -> None:
        if not hasattr(self, "state"):  # unpickling makes objects without calling __init__
            self.state = {}
        self.state[str(key)] = value

    def append(self, value: _Pickled) -> None:
        """Ignore an item of an unknown list-like class."""

    def extend(self, values: _Pickled) -> None:
        """Ignore items of an unknown list-like class."""


_Pickled: TypeAlias = (
    "Tensor | _Inert | str | bytes | float | list[_Pickled] | tuple[_Pickled, ...] | dict[_Pickled, _Pickled] | None"
)
"""A value that the interpreter of pickles can make."""


def _rebuild_tensor(storage: Tensor, offset: int, size: Iterable[int], stride: Iterable[int], *_: _Pickled) -> Tensor:
    # `as_strided` refuses sizes beyond the storage. The clone lets the storage be freed.
    return torch.as_strided(storage, tuple(size), tuple(stride), int(offset)).clone()


def _rebuild_parameter(data: Tensor, *_: _Pickled) -> Tensor:
    return data


_ALLOWED: dict[tuple[str, str], Callable[..., Tensor] | type[OrderedDict[str, Tensor]]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("collections", "OrderedDict"): OrderedDict,
}


class _TensorUnpickler(pickle.Unpickler):
    """Interpreter of pickles that rebuilds tensors, numbers, text and plain containers, and calls nothing else."""

    def __init__(self, file: IO[bytes], read_storage: Callable[[str], bytes]) -> None:
        super().__init__(file, encoding="utf-8")
        self._read_storage = read_storage

    def find_class(
        self, module: str, name: str
    ) -> Callable[..., Tensor] | type[OrderedDict[str, Tensor]] | torch.dtype | type[_Inert]:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module in ("torch", "torch.storage") and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        # A class under the original name, because the error about a file without a mapping names the class of its
        # content.
        return type(name if name.isidentifier() else "Unknown", (_Inert,), {})

    def persistent_load(self, pid: tuple[str, torch.dtype, str, str, int]) -> Tensor:
        _, dtype, key, _, numel = pid
        if not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"unknown storage type {dtype!r}")
        data = bytearray(self._read_storage(str(key)))  # a bytearray, because tensors over `bytes` are read-only
        tensor = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        if len(tensor) < int(numel):
            raise pickle.UnpicklingError(f"storage {key} holds {len(tensor)} of {numel} values")
        return tensor


def read_weights(path: Path) -> tuple[TensorTree, FileKind]:
    """Return the tensors of a weight file and the kind of the file.

    Returns:
        (tensors, kind): for `safetensors` and `torchscript` a flat mapping of names to tensors; for `checkpoint` the
        tensors of the saved mapping, nested as they were saved.

    Raises:
        UserError: The file is missing, has an unknown format, or is damaged.
    """
    if not path.is_file():
        raise UserError(f"The weight file {path} does not exist.", "Give the path of a file, or an open_clip tag.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path), "safetensors"
        # By content and not by suffix: the same format is published as .pt, .pth and .bin.
        if zipfile.is_zipfile(path):
            return _read_zip(path)
    except UserError:
        raise
    except Exception as error:  # a damaged file raises many types in zipfile, pickle, safetensors and torch
        raise UserError(f"The weight file {path} is damaged: {type(error).__name__}: {error}") from error
    raise UserError(
        f"{path} is neither safetensors nor a PyTorch zip file.",
        "Files saved by torch < 1.6 must be saved again with a newer torch first.",
    )


def read_metadata(path: Path) -> dict[str, str]:
    """Return the text entries in the header of a safetensors file; empty for other formats."""
    if path.suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def _read_zip(path: Path) -> tuple[TensorTree, FileKind]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        # The folder in the archive has the name under which the file was saved, not its present name.
        pickled = [n for n in names if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(pickled) != 1:
            raise UserError(f"{path} is a zip file, but not a zip file of PyTorch: it holds no data.pkl.")
        root = pickled[0].removesuffix("data.pkl")
        torchscript = f"{root}constants.pkl" in names

        def storage(key: str) -> bytes:
            return archive.read(f"{root}data/{key}")

        with archive.open(pickled[0]) as file:
            content: _Pickled = _TensorUnpickler(file, storage).load()
    if torchscript:
        state = _module_tensors(content, "")
        return {k: v for k, v in state.items() if k not in _TORCHSCRIPT_SCALARS}, "torchscript"
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected a mapping of names to tensors.")
    return _tensor_tree(content), "checkpoint"


def _tensor_tree(content: dict[_Pickled, _Pickled]) -> TensorTree:
    """Return the tensors and the nested mappings of a saved mapping that have a name."""
    named = [(name, value) for name, value in content.items() if isinstance(name, str)]
    return {n: v if isinstance(v, Tensor) else _tensor_tree(v) for n, v in named if isinstance(v, Tensor | dict)}


def _module_tensors(module: _Pickled, prefix: str) -> dict[str, Tensor]:
    """Return the tensors of a TorchScript module and its submodules by their dotted names."""
    tensors: dict[str, Tensor] = {}
    for name, value in module.state.items() if isinstance(module, _Inert) else ():
        if isinstance(value, Tensor):
            tensors[f"{prefix}{name}"] = value
        elif isinstance(value, _Inert):
            tensors |= _module_tensors(value, f"{prefix}{name}.")
    return tensors


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
    module: torch.nn.Module, state: Mapping[str, Tensor], what: str, optional: tuple[str, ...] = ()
) -> None:
    """Load a state dict, or refuse it if tensors are missing, unexpected or of another shape.

    Args:
        module: The module that receives the values.
        state: Tensors by name.
        what: Name of the file or of the weights in the error.
        optional: Prefixes of names that may be missing.

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
            "Choose the architecture that the weights belong to.",
        )
    # Names and shapes were compared above. torch's strict mode would refuse the optional tensors that are missing.
    module.load_state_dict(state, strict=False)
