"""Check of safetensors files by header and size, without reading tensors."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from itertools import pairwise

from harness.base.errors import UserError
from results.codec import JsonObject, JsonValue
from results.submission.contents import MIB, Entry
from results.submission.documents import DocumentError, read_json

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
    "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
HEADER = 4 * MIB
"""Largest size of a header in bytes; the header of a ViT-L/14 has 130 KiB."""
MOST_VALUES = 200_000
"""Largest number of values of a header: eight for each tensor."""


class TensorsError(ValueError):
    """A file that is not a valid safetensors file; the message names the first problem."""


def count_elements(entry: Entry) -> dict[str, int]:
    """Check a safetensors file; returns the number of floating-point values of each tensor by name.

    Raises:
        TensorsError: The file is not valid.
    """
    try:
        with entry.opener() as file:
            start = file.read(8)
            if len(start) < 8:
                raise TensorsError("no header")
            (length,) = struct.unpack("<Q", start)
            # Before the header is read: the stated length could fill the memory.
            if length > HEADER or length + 8 > entry.size:
                raise TensorsError(f"a header of {length} bytes in a file of {entry.size}")
            header = read_json(file.read(length), MOST_VALUES)
    except TensorsError:
        raise
    except DocumentError as error:
        raise TensorsError(f"header: {error}") from None
    except UserError as error:
        raise TensorsError(error.message) from None
    except Exception as error:  # damaged archives make decompressors raise many types
        raise TensorsError(f"{type(error).__name__}: {error}") from None
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise TensorsError("metadata that is not a mapping of texts")
    if problem := next(_tensor_problems(header, entry.size - 8 - length), ""):
        raise TensorsError(problem)
    return {name: _floats(tensor) for name, tensor in header.items()}


def _floats(tensor: JsonValue) -> int:
    """Number of floating-point numbers of a valid tensor entry."""
    if not isinstance(tensor, dict) or not str(tensor["dtype"]).startswith(("F", "BF")):
        return 0
    return math.prod(_counts(tensor["shape"]) or ())


def _tensor_problems(header: JsonObject, size: int) -> Iterator[str]:
    """Problems of tensors: unknown types, wrong lengths, overlaps and gaps.

    Args:
        header: The header without its metadata.
        size: Number of bytes after the header.
    """
    spans = []
    for name, tensor in header.items():
        if not isinstance(tensor, dict) or set(tensor) != {"dtype", "shape", "data_offsets"}:
            yield f"the tensor {name[:60]!r} without dtype, shape and data_offsets"
            return
        dtype, shape, offsets = tensor["dtype"], _counts(tensor["shape"]), _counts(tensor["data_offsets"])
        if shape is None or offsets is None or len(offsets) != 2:
            found = f"shape {str(tensor['shape'])[:40]} and offsets {str(tensor['data_offsets'])[:40]}"
            yield f"the tensor {name[:60]!r} with {found}"
            return
        length = offsets[1] - offsets[0]
        bits = BITS.get(dtype) if isinstance(dtype, str) else None
        if bits is None or math.prod(shape) * bits // 8 != length:
            yield f"the tensor {name[:60]!r}: {str(dtype)[:20]} {shape} in {length} bytes"
            return
        spans.append((offsets[0], offsets[1]))
    spans.sort()
    # With both ends as spans of length 0, gaps before the first and behind the last tensor show as well.
    for (_, end), (start, _) in pairwise([(0, 0), *spans, (size, size)]):
        if end != start:
            yield f"tensors that overlap or leave a gap at byte {min(end, start)}"
            return


def _counts(value: JsonValue) -> list[int] | None:
    """A JSON array of whole numbers from 0; None for any other value."""
    if not isinstance(value, list):
        return None
    numbers = [item for item in value if isinstance(item, int) and not isinstance(item, bool) and item >= 0]
    return numbers if len(numbers) == len(value) else None
