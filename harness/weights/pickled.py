"""An interpreter of pickles that describes tensors and executes nothing.

`torch.load(weights_only=True)` is not sufficient: it refuses every file that mentions a class which is not allowed by
name, and published checkpoints pickle configuration objects (yacs nodes, optimiser states) of packages that are not
installed here. `torch.load` without that option and `torch.jit.load` run code of the file. This interpreter describes
tensors, rebuilds plain containers, turns objects of every other class into inert data, and calls nothing else.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import IO, ClassVar, TypeAlias

from harness.weights.stored import ITEM_BYTES, StoredTensor

MOST_BYTES = 8 * 2**20
"""Bytes of a pickle without its tensors. Those of real checkpoints have less than 2 MB."""
_STORAGE_TYPES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "",
}  # fmt: skip


class Inert:
    """An object of a class that is not rebuilt: it keeps the pickled state as data and does nothing."""

    def __init__(self, *args: Pickled, **kwargs: Pickled) -> None:
        self.state: dict[str, Pickled] = {}

    def __setstate__(self, state: Pickled) -> None:
        self.state = {str(key): value for key, value in state.items()} if isinstance(state, dict) else {}

    def __setitem__(self, key: Pickled, value: Pickled) -> None:
        if not hasattr(self, "state"):  # unpickling makes objects without calling __init__
            self.state = {}
        self.state[str(key)] = value

    def append(self, value: Pickled) -> None:
        """Ignore an item of an unknown list-like class."""

    def extend(self, values: Pickled) -> None:
        """Ignore items of an unknown list-like class."""


@dataclass(frozen=True)
class _StorageType:
    """Type of a storage, e.g. `torch.FloatStorage`; `dtype` is empty for a storage of bytes."""

    dtype: str


@dataclass(frozen=True)
class _DType:
    """A type of torch, e.g. `torch.float8_e4m3fn`."""

    dtype: str


@dataclass(frozen=True)
class _Storage:
    """A storage that a pickle refers to, and the position of its first value."""

    name: str
    dtype: str
    offset: int = 0


class _Function:
    """A function of torch that a pickle may call; it cannot be changed by the pickle."""

    __slots__ = ()

    def __setstate__(self, state: Pickled) -> None:
        raise pickle.UnpicklingError("a function has no state")


class _RebuildTensor(_Function):
    __slots__ = ()

    def __call__(self, storage: Pickled, offset: Pickled, size: Pickled, stride: Pickled, *rest: Pickled) -> Pickled:
        dtype = next((value.dtype for value in rest if isinstance(value, _DType)), "")
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor without a storage")
        described = StoredTensor(
            dtype or storage.dtype or "uint8", _numbers(size), _numbers(stride), storage.offset + _number(offset),
            storage.name,
        )  # fmt: skip
        if len(described.shape) != len(described.stride):
            raise pickle.UnpicklingError("a tensor with different numbers of sizes and strides")
        return described


class _RebuildParameter(_Function):
    __slots__ = ()

    def __call__(self, data: Pickled, *_: Pickled) -> Pickled:
        return data


class _RebuildFromType(_Function):
    __slots__ = ()

    def __call__(self, function: Pickled, _: Pickled, arguments: Pickled, *__: Pickled) -> Pickled:
        if not isinstance(function, _RebuildTensor | _RebuildParameter) or not isinstance(arguments, tuple):
            raise pickle.UnpicklingError("a tensor of an unknown class")
        return function(*arguments)


Pickled: TypeAlias = (
    "StoredTensor | Inert | _Function | _Storage | _StorageType | _DType | type[Inert]"
    " | type[OrderedDict[str, Pickled]] | str | bytes | int"
    " | float | list[Pickled] | tuple[Pickled, ...] | dict[Pickled, Pickled] | None"
)
"""A value that the interpreter can make."""
_REBUILD = {
    "_rebuild_tensor": _RebuildTensor(), "_rebuild_tensor_v2": _RebuildTensor(), "_rebuild_tensor_v3": _RebuildTensor(),
    "_rebuild_parameter": _RebuildParameter(), "_rebuild_parameter_with_state": _RebuildParameter(),
}  # fmt: skip


def _number(value: Pickled) -> int:
    if not isinstance(value, int) or value < 0:
        raise pickle.UnpicklingError(f"{str(value)[:40]} is not a size")
    return value


def _numbers(values: Pickled) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or len(values) > 16:
        raise pickle.UnpicklingError("a tensor without a shape")
    return tuple(_number(value) for value in values)


class _Bounded:
    """A file that raises an error once more is read than the pickle of a checkpoint can have."""

    def __init__(self, file: IO[bytes], left: int) -> None:
        self._file = file
        self._left = left

    def read(self, size: int = -1, /) -> bytes:
        """Read bytes; a claimed size beyond the limit allocates nothing."""
        self._take(size)
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError("the file ends within a pickle")
        return data

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line of a limited length."""
        line = self._file.readline(MOST_BYTES)
        self._take(len(line))
        return line

    def _take(self, size: int) -> None:
        self._left -= size
        if size < 0 or self._left < 0:
            raise pickle.UnpicklingError(f"a pickle of more than {MOST_BYTES} bytes")


class TensorUnpickler(pickle._Unpickler):
    """Interpreter of one pickle; storages are described by their names.

    Python's own implementation is used and not the one in C, which allocates the memory that a pickle claims to need
    before it looks at the content.

    Args:
        file: The file, at the beginning of the pickle. It is read to the end of the pickle and not further.
    """

    # This opcode allocates memory of a claimed size before it reads. torch does not write it.
    dispatch: ClassVar = {code: f for code, f in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]}

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(_Bounded(file, MOST_BYTES), encoding="utf-8", errors="replace")
        self.storages: dict[str, int] = {}
        """Bytes of each storage as the pickle states them, by name."""

    def find_class(self, module: str, name: str) -> Pickled:
        """The stand-in for a class or function that a pickle names."""
        if module == "torch._utils" and name in _REBUILD:
            return _REBUILD[name]
        if (module, name) == ("torch._tensor", "_rebuild_from_type_v2"):
            return _RebuildFromType()
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module in ("torch", "torch.storage") and name in _STORAGE_TYPES:
            return _StorageType(_STORAGE_TYPES[name])
        if module == "torch" and name in ITEM_BYTES:
            return _DType(name)
        # A class under the original name, because the error about a file without a mapping names the class of its
        # content.
        return type(name if name.isidentifier() else "Unknown", (Inert,), {})

    def persistent_load(self, pid: Pickled) -> Pickled:
        """The description of a storage: (`storage`, type, name, device, values[, view])."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or not isinstance(pid[1], _StorageType):
            raise pickle.UnpicklingError("a storage of an unknown type")
        dtype, name = pid[1].dtype, str(pid[2])
        self.storages[name] = max(self.storages.get(name, 0), _number(pid[4]) * ITEM_BYTES[dtype or "uint8"])
        storage = _Storage(name, dtype)
        view = pid[5] if len(pid) == 6 else None
        if isinstance(view, tuple) and len(view) == 3:  # torch < 1.6: (name, offset, values) of a part of the storage
            return replace(storage, offset=_number(view[1]))
        return storage


def load(file: IO[bytes]) -> tuple[Pickled, dict[str, int]]:
    """Interpret one pickle; returns the content and the bytes of its storages by name.

    Raises:
        Exception: The pickle is damaged; errors of many types are possible.
    """
    unpickler = TensorUnpickler(file)
    content: Pickled = unpickler.load()
    return content, unpickler.storages
