"""Estimate of the device memory of a fit, from shapes alone: parameters, gradients, moments, activations.

The loss of one device batch is computed on torch's fake tensors, which have shapes and types on a stated device but no
values, so that a model of any size takes seconds on any machine. Activations are the tensors that autograd saves for
the backward pass, each storage counted once. `benchmarks/memory.py` compares the estimates with measured peaks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from harness.base.errors import UserError, unknown_name
from harness.engine.compute.device import Device
from harness.engine.cost.profile import meta_backbone
from harness.engine.method import ClipMethod, method_class
from harness.engine.training.gradient_checkpointing import blocks_of
from harness.engine.training.step import batch_loss
from harness.engine.video.batches import Draw
from harness.engine.video.loaders import FitBatch
from harness.spec import LabelSet, Recipe, Views

T = TypeVar("T")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
MOMENTS = 2
"""Numbers that AdamW keeps per trained parameter: its two moments."""


@dataclass(frozen=True)
class FitMemory:
    """The memory of a fit on each device, in bytes.

    Args:
        parameters: All parameters, fp32. With FSDP: this process's shard of the blocks, two gathered blocks, and all
            other parameters.
        gradients: fp32 gradients of trained parameters. With FSDP: as for parameters.
        moments: AdamW's moments, fp32; this process's shard with ZeRO, and of the blocks with FSDP.
        activations: Tensors saved for the backward pass, and the input frames.
        working: Temporary memory: gradients of activations, results of frozen layers and, with gradient checkpointing,
            the activations of one block.
    """

    parameters: int
    gradients: int
    moments: int
    activations: int
    working: int

    @property
    def total(self) -> int:
        """The sum. It excludes the memory of the device's runtime (0.5 to 1 GiB for CUDA)."""
        return self.parameters + self.gradients + self.moments + self.activations + self.working


@dataclass(frozen=True)
class FitShape:
    """The sizes and settings of a fit that decide its memory.

    Args:
        method: Name of the method.
        arch: Name of an open_clip architecture.
        frames: Frames per clip.
        clips: Clips per device batch.
        names: Number of classes.
        precision: `fp32` or `bf16`.
        grad_checkpointing: Whether blocks recompute their activations.
        processes: Number of processes.
        shard: Sharded state on several processes: `zero` (moments) or `fsdp` (parameters, gradients and moments of
            blocks).

    Raises:
        UserError: A value is unknown or below 1.
    """

    method: str = "vificlip"
    arch: str = "ViT-B-16"
    frames: int = 16
    clips: int = 4
    names: int = 400
    precision: str = "bf16"
    grad_checkpointing: bool = False
    processes: int = 1
    shard: str = "zero"

    def __post_init__(self) -> None:
        if self.precision not in DTYPES:
            raise UserError(f"Memory is estimated in {' or '.join(DTYPES)}, not in {self.precision!r}.")
        if self.shard not in ("zero", "fsdp"):
            raise UserError(f"Memory is estimated for shard zero or fsdp, not {self.shard!r}.")
        if min(self.frames, self.clips, self.names, self.processes) < 1:
            raise UserError(f"Frames, clips, names and processes are at least 1, found {self}.")
        if self.arch not in open_clip.list_models():
            raise unknown_name("architecture", self.arch, open_clip.list_models())


def fit_memory(shape: FitShape, cuda: bool = True) -> FitMemory:
    """Estimate the memory of a fit.

    Args:
        shape: Sizes and settings of the fit.
        cuda: Model the autocast of CUDA, which computes layer norms in fp32; the autocast of CPUs does not.

    Raises:
        UserError: The method is unknown or not trained.
    """
    cls = method_class(shape.method)
    with torch.device("meta"):
        method = cls(meta_backbone(shape.arch), cls.options_for({}, "b2n", "ucf101", frames=shape.frames)).train()
    recipe = cls.recipe_for("b2n", "ucf101")
    if recipe is None or not method.trainable():
        raise UserError(f"{shape.method} is not trained, so a fit of it needs no memory.", "See: list methods")
    # Labels and token ids are real tensors, which a fake tensor otherwise refuses to meet.
    with FakeTensorMode(allow_non_fake_inputs=True):
        # Fake tensors have a device, which autocast needs; it does not know `meta`.
        method = method.to_empty(device="cpu")
        side = method.backbone.image_size
        frames = torch.empty(shape.clips, shape.frames, 3, side, side, dtype=torch.uint8)
    saved = saved_by_loss(method, recipe, frames, shape, cuda)
    total, trained = method.parameter_counts()
    blocks = _block_sizes(method) if shape.shard == "fsdp" else []
    in_blocks, trained_in_blocks = sum(b.total for b in blocks), sum(b.trained for b in blocks)
    largest, largest_trained = max((b.total for b in blocks), default=0), max((b.trained for b in blocks), default=0)
    is_sharded = shape.processes > 1
    return FitMemory(
        # FSDP gathers the next block while the current block computes.
        parameters=_bytes(total, in_blocks, shape.processes) + (2 * 4 * largest if is_sharded else 0),
        # FSDP copies the gradients of a block into the order in which they are sent.
        gradients=_bytes(trained, trained_in_blocks, shape.processes) + (2 * 4 * largest_trained if is_sharded else 0),
        moments=MOMENTS * _bytes(trained, trained if shape.shard == "zero" else trained_in_blocks, shape.processes),
        activations=saved.bytes + frames.numel() * (1 + 4),  # uint8 frames and their fp32 copy
        # Backward pass: two gradients of the largest activation. Frozen layers: the input of an MLP's activation
        # function and its two intermediate results.
        working=saved.block + max(2 * saved.largest, 3 * saved.passing),
    )


@dataclass(frozen=True)
class _BlockSize:
    """Numbers of parameters of a block."""

    total: int
    trained: int


def _block_sizes(method: ClipMethod) -> list[_BlockSize]:
    blocks = [list(block.parameters()) for block in blocks_of(method.backbone)]
    return [_BlockSize(sum(p.numel() for p in b), sum(p.numel() for p in b if p.requires_grad)) for b in blocks]


def _bytes(count: int, sharded: int, processes: int) -> int:
    """Bytes on each process of `count` fp32 numbers, of which `sharded` are sharded among the processes."""
    # Rounded up: FSDP pads the last shard.
    return 4 * (count - sharded) + -(-4 * sharded // processes)


@dataclass(frozen=True)
class Saved:
    """Sizes of the tensors that autograd saves in a forward pass, in bytes.

    Args:
        bytes: All saved tensors; with gradient checkpointing without those inside of blocks.
        largest: The largest saved tensor.
        passing: The largest result that is not saved because it needs no gradient.
        block: The saved tensors inside of the largest block; 0 without gradient checkpointing.
    """

    bytes: int
    largest: int
    passing: int
    block: int


def saved_by_loss(method: ClipMethod, recipe: Recipe, frames: Tensor, shape: FitShape, cuda: bool) -> Saved:
    """Measure the tensors that autograd saves when it computes the loss of a device batch, on real or fake tensors.

    Args:
        method: The method in training mode.
        recipe: Settings of blending.
        frames: (clips, T, 3, H, W) uint8.
        shape: Number of classes, precision and gradient checkpointing.
        cuda: Model the autocast of CUDA.
    """
    size = min(recipe.micro_batch, shape.clips)
    draws = [Draw(k, 0, k, k // size) for k in range(shape.clips)]
    clips = FitBatch(frames, torch.arange(shape.clips) % shape.names, draws)
    labels = LabelSet(tuple(f"class number {i}" for i in range(shape.names)))
    device = Device(torch.device("cpu"), DTYPES[shape.precision])
    loss = batch_loss(method, labels, replace(recipe, micro_batch=size), Views(frames=shape.frames), device)
    outside, inside = _SavedStorages(method), _SavedStorages(method)
    mixed = shape.precision != "fp32"
    with ExitStack() as stack:
        stack.enter_context(torch.autocast("cpu", dtype=device.dtype, enabled=mixed))
        unsaved = stack.enter_context(_UnsavedResults(mixed and cuda))
        stack.enter_context(outside.counting())
        if shape.grad_checkpointing:
            stack.enter_context(_blocks_apart(blocks_of(method.backbone), outside, inside))
        loss(clips)
    return Saved(outside.bytes, max(outside.largest, inside.largest), unsaved.largest, inside.most_of_a_block)


class _SavedStorages:
    """Sizes of the storages that autograd saves; each storage counts once, and parameters do not count.

    Attributes:
        bytes: Sum of the sizes.
        largest: Size of the largest storage.
        most_of_a_block: Largest sum of a block, set by `_blocks_apart`.
    """

    def __init__(self, method: nn.Module) -> None:
        self._known: dict[int, Tensor] = {
            tensor.untyped_storage()._cdata: tensor for tensor in (*method.parameters(), *method.buffers())
        }
        self.bytes = self.largest = self.most_of_a_block = 0

    def add(self, tensor: Tensor) -> Tensor:
        """Count a tensor. It is kept, as autograd keeps it, so that no other storage has the same address."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            self._known[storage._cdata] = tensor
            self.bytes += storage.nbytes()
            self.largest = max(self.largest, storage.nbytes())
        return tensor

    def counting(self) -> saved_tensors_hooks:
        """Count the tensors that are saved inside the `with` block."""
        return saved_tensors_hooks(self.add, lambda tensor: tensor)


@contextmanager
def _blocks_apart(blocks: list[nn.Module], outside: _SavedStorages, inside: _SavedStorages) -> Iterator[None]:
    """Model gradient checkpointing: count the inputs of blocks in `outside`, their other tensors in `inside`."""

    def run(forward: Callable[..., Tensor], *tensors: Tensor, **named: Tensor | None) -> Tensor:
        if not torch.is_grad_enabled():
            return forward(*tensors, **named)
        for tensor in (*tensors, *named.values()):
            if isinstance(tensor, Tensor):
                outside.add(tensor)
        before = inside.bytes
        with inside.counting():
            result = forward(*tensors, **named)
        inside.most_of_a_block = max(inside.most_of_a_block, inside.bytes - before)
        return result

    for block in blocks:
        block.forward = partial(run, block.forward)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


class _UnsavedResults(TorchFunctionMode):
    """Records the largest result of torch's functions that needs no gradient, as in a frozen tower.

    Args:
        norms_in_fp32: Cast the input of layer norms to fp32, as the autocast of CUDA does.
    """

    def __init__(self, norms_in_fp32: bool) -> None:
        super().__init__()
        self.norms_in_fp32, self.largest = norms_in_fp32, 0

    def __torch_function__(
        self,
        func: Callable[..., T],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> T:
        """Call a function of torch and record the size of its result."""
        if self.norms_in_fp32 and func is F.layer_norm:
            args = (args[0].float(), *args[1:])
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not result.requires_grad:
            self.largest = max(self.largest, result.numel() * result.element_size())
        return result
