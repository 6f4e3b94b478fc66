"""Shapes of frequent operations on the meta device.

torch computes them in Python kernels that take milliseconds; a count of multiply-adds needs the shape only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_ELEMENTWISE = frozenset({_aten.add.Tensor, _aten.mul.Tensor})
_SOFTMAX = frozenset({_aten._softmax.default, _aten._safe_softmax.default})


class ShapesOnly(TorchDispatchMode):
    """Returns results of the shape, type and memory layout of torch's own results, for tensors on the meta device.

    An operation whose arguments do not fit together, or are of another kind, is left to torch, which raises its error.
    """

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Iterable[type],
        args: tuple[Tensor, ...] = (),
        kwargs: Mapping[str, Tensor] | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Run an operation."""
        tensors = [value for value in args if isinstance(value, Tensor)]
        if tensors and all(t.device.type == "meta" and t.dtype == tensors[0].dtype for t in tensors):
            shapes = None if kwargs else _shapes(func, args, tensors)
            if shapes is not None:
                return shapes
        result: Tensor | tuple[Tensor, ...] = func(*args, **(kwargs or {}))
        return result


def _shapes(func: OpOverload, args: tuple[Tensor, ...], tensors: list[Tensor]) -> Tensor | tuple[Tensor, ...] | None:
    """Return the result of an operation without values, or None if torch has to compute it."""
    first = tensors[0]
    if func is _aten.addmm.default and len(args) == 3:
        bias, left, right = tensors
        product = (left.shape[0], right.shape[-1])
        if left.dim() == right.dim() == 2 and left.shape[1] == right.shape[0] and bias.shape == product[1:]:
            return first.new_empty(product)
    if func in _ELEMENTWISE and len(tensors) == 2 and len(args) == 2:
        same = first.shape == tensors[1].shape and first.is_contiguous() and tensors[1].is_contiguous()
        return first.new_empty(first.shape) if same else None
    if (func is _aten.gelu.default or (func in _SOFTMAX and not any(args[2:]))) and first.is_contiguous():
        return first.new_empty(first.shape)
    if func is _aten.native_layer_norm.default and len(tensors) == 3 and first.is_contiguous():
        size = tensors[1].shape
        if first.shape[len(first.shape) - len(size) :] == size == tensors[2].shape:
            moments = first.new_empty((*first.shape[: len(first.shape) - len(size)], *(1 for _ in size)))
            return first.new_empty(first.shape), moments, torch.empty_like(moments)
    return None
