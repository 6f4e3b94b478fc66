"""Tensors of a weight file that are described by the file and not read yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TypeAlias

from harness.base.errors import UserError

ITEM_BYTES: Mapping[str, int] = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1, "int64": 8,
    "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
"""Bytes of a value, by the name of the type in torch."""
MOST_ENTRIES = 100_000
"""Entries of a file. A checkpoint of CLIP with the states of its optimiser has less than 3,000."""
_EXPANSION = 4
_SLACK = 2**20


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a weight file before it is read.

    Args:
        dtype: Type of the values, a key of `ITEM_BYTES`.
        shape: Shape.
        stride: Distance of neighbours along each dimension, in values.
        offset: Position of the first value in the storage, in values.
        storage: Name of the storage in the file; several tensors can share one.
    """

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    storage: str

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor once it is read."""
        return prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Location:
    """The bytes of a storage.

    Args:
        file: File that holds them.
        start: Position of the first byte in the file; 0 for a member of a zip file.
        nbytes: Number of bytes.
        member: Name of the member of a zip file; empty if the bytes lie in the file itself.
    """

    file: Path
    start: int
    nbytes: int
    member: str = ""


StoredTree: TypeAlias = "Mapping[str, StoredTensor | StoredTree]"
"""Tensors by name, in nested mappings as they were saved."""


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor whose values lie one behind the other, last dimension first."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return tuple(reversed(strides)) if shape else ()


def tensors_of(tree: StoredTree) -> Iterator[StoredTensor]:
    """All tensors of a tree.

    Raises:
        ValueError: The tree has more entries than weights can have, as a mapping that contains itself.
    """
    # A mapping that refers to another mapping many times has few bytes and exponentially many entries.
    pending, visited = [tree], 0
    while pending:
        for value in pending.pop().values():
            visited += 1
            if visited > MOST_ENTRIES:
                raise ValueError(f"more than {MOST_ENTRIES} entries")
            if isinstance(value, StoredTensor):
                yield value
            else:
                pending.append(value)


def require_bounded(path: Path, tree: StoredTree, locations: Mapping[str, Location]) -> None:
    """Check, before anything is read, that the tensors of a file fit their storages and take about its size in memory.

    Raises:
        UserError: A tensor reaches beyond its storage, or the tensors take more than four times the size of the file.
        ValueError: The tree has too many entries.
    """
    size = sum(file.stat().st_size for file in {location.file for location in locations.values()})
    total = 0
    for tensor in tensors_of(tree):
        held = locations[tensor.storage].nbytes // ITEM_BYTES[tensor.dtype]
        last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
        # A stride of 0 repeats values: a file of a few bytes could claim a tensor of any size.
        if prod(tensor.shape) and (last >= held or prod(tensor.shape) > held):
            raise UserError(
                f"{path} is damaged: a tensor of shape {tensor.shape} does not fit its storage of {held} values.",
                "Download or save the file again.",
            )
        total += tensor.nbytes
    inflated = sum(location.nbytes for location in locations.values())
    if max(total, inflated) > _EXPANSION * size + _SLACK:
        raise UserError(
            f"The tensors of {path} take {max(total, inflated)} bytes, but the file has {size}: it is compressed or "
            "repeats its content, which no program that saves weights does.",
            "Download or save the file again.",
        )
