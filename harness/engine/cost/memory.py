"""What a fit needs of a device's memory, from shapes alone: parameters, gradients, moments, activations.

The loss of one device batch is computed on torch's fake tensors: they have shapes and types on a stated device and hold
no values, so that a model of any size is looked at in seconds on any machine. What the forward pass keeps for the
backward pass is what autograd saves, each storage once. `benchmarks/memory.py` compares the sums with measured peaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

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

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
MOMENTS = 2 * 4
"""Bytes a trained parameter: AdamW's two moments in fp32."""


@dataclass(frozen=True)
class FitMemory:
    """The memory of a fit on each device, in bytes.

    Args:
        parameters: All of the model, fp32; a share of the blocks', and two whole blocks, where blocks are shared out.
        gradients: Of the parameters that learn, fp32; a share of the blocks', and two whole blocks, where they are.
        moments: AdamW's, fp32; a share of them where they are shared out, or of the blocks' where blocks are.
        activations: What the forward pass keeps for the backward pass, with the frames that enter it.
        working: What comes and goes: gradients of activations, the results of frozen layers and, with gradient
            checkpointing, the activations of one block.
    """

    parameters: int
    gradients: int
    moments: int
    activations: int
    working: int

    @property
    def total(self) -> int:
        """Their sum. What the device's runtime takes for itself (0.5 to 1 GiB for CUDA) comes on top."""
        return self.parameters + self.gradients + self.moments + self.activations + self.working


@dataclass(frozen=True)
class FitShape:
    """What the memory of a fit depends on.

    Args:
        method: Name.
        arch: An open_clip architecture.
        frames: Frames a clip.
        clips: Clips a device batch.
        names: Classes.
        precision: `fp32` or `bf16`.
        grad_checkpointing: Recompute activations block by block.
        processes: Processes among which something is shared out; 1 where nothing is.
        shard: What is: `zero` (moments) or `fsdp` (all of the blocks).
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
    """The memory of a fit of a method on an architecture.

    Args:
        shape: Of the fit.
        cuda: Cast as autocast does on CUDA, which takes layer norms in fp32; on a CPU it does not.

    Raises:
        UserError: Unknown architecture or method, or nothing of the method learns.
    """
    cls = method_class(shape.method)
    with torch.device("meta"):
        method = cls(meta_backbone(shape.arch), cls.options_for({}, "b2n", "ucf101", frames=shape.frames)).train()
    recipe = cls.recipe_for("b2n", "ucf101")
    if recipe is None or not method.trainable():
        raise UserError(f"{shape.method} is not trained, so a fit of it needs no memory.", "See: list methods")
    with FakeTensorMode(allow_non_fake_inputs=True):
        method = method.to_empty(device="cpu")
        side = method.backbone.image_size
        frames = torch.empty(shape.clips, shape.frames, 3, side, side, dtype=torch.uint8)
    saved = saved_by_loss(method, recipe, frames, shape, cuda)
    total, trained = method.parameter_counts()
    # What is shared out: every trained parameter's moments (ZeRO), or all of the blocks (FSDP).
    blocks = [list(block.parameters()) for block in blocks_of(method.backbone)] if shape.shard == "fsdp" else []
    sizes = [(sum(p.numel() for p in of), sum(p.numel() for p in of if p.requires_grad)) for of in blocks]
    in_blocks, learning = (sum(size[i] for size in sizes) for i in (0, 1))
    largest, largest_learning = (max((size[i] for size in sizes), default=0) for i in (0, 1))
    whole = shape.processes == 1
    shared = trained if shape.shard == "zero" else learning
    return FitMemory(
        # The next block is gathered while one is at work.
        parameters=_bytes(total, in_blocks, shape.processes) + (0 if whole else 2 * 4 * largest),
        # A block's gradients, and their copy in the order in which they are sent.
        gradients=_bytes(trained, learning, shape.processes) + (0 if whole else 2 * 4 * largest_learning),
        moments=MOMENTS // 4 * _bytes(trained, shared, shape.processes),
        activations=saved.bytes + frames.numel() * (1 + 4),
        # Backward: two gradients of the largest activation. Frozen: the input of an MLP's activation and its steps.
        working=saved.block + max(2 * saved.largest, 3 * saved.passing),
    )


def _bytes(count: int, shared: int, processes: int) -> int:
    """Bytes of fp32 numbers on each process, of which some are shared out."""
    return 4 * (count - shared) + -(-4 * shared // processes)


@dataclass(frozen=True)
class Saved:
    """What autograd keeps of a forward pass, in bytes.

    Args:
        bytes: In all; with gradient checkpointing without the insides of blocks.
        largest: The largest one.
        passing: The largest result that it does not keep because nothing before it learns.
        block: The inside of the largest block, 0 without gradient checkpointing.
    """

    bytes: int
    largest: int
    passing: int
    block: int


def saved_by_loss(method: ClipMethod, recipe: Recipe, frames: Tensor, shape: FitShape, cuda: bool) -> Saved:
    """What the loss of a device batch saves; on real tensors it is computed, on fake ones only looked at.

    Args:
        method: In training mode.
        recipe: How clips are blended.
        frames: (clips, T, 3, H, W) uint8.
        shape: Gives names, precision and gradient checkpointing.
        cuda: Cast as CUDA does.
    """
    size = min(recipe.micro_batch, shape.clips)
    draws = [Draw(k, 0, k, k // size) for k in range(shape.clips)]
    clips = FitBatch(frames, torch.arange(shape.clips) % shape.names, draws)
    labels = LabelSet(tuple(f"class number {i}" for i in range(shape.names)))
    device = Device(torch.device("cpu"), DTYPES[shape.precision])
    loss = batch_loss(method, labels, replace(recipe, micro_batch=size), Views(frames=shape.frames), device)
    outside, inside = _Tally(method), _Tally(method)
    mixed = shape.precision != "fp32"
    with ExitStack() as stack:
        stack.enter_context(torch.autocast("cpu", dtype=device.dtype, enabled=mixed))
        passing = stack.enter_context(_Passing(mixed and cuda))
        stack.enter_context(outside.counting())
        if shape.grad_checkpointing:
            stack.enter_context(_looked_into(blocks_of(method.backbone), outside, inside))
        loss(clips)
    return Saved(outside.bytes, max(outside.largest, inside.largest), passing.largest, inside.most)


class _Tally:
    """Counts the storages that autograd saves, each once and parameters not at all."""

    def __init__(self, method: nn.Module) -> None:
        self._known = {p.untyped_storage()._cdata: p for p in (*method.parameters(), *method.buffers())}
        self.bytes = self.largest = self.most = 0

    def add(self, tensor: Tensor) -> Tensor:
        """Count a tensor; it is held, as autograd would, so that no other gets its place."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            self._known[storage._cdata] = tensor  # type: ignore[assignment]
            self.bytes += storage.nbytes()
            self.largest = max(self.largest, storage.nbytes())
        return tensor

    def counting(self) -> saved_tensors_hooks:
        """Within it what is saved is counted."""
        return saved_tensors_hooks(self.add, lambda tensor: tensor)


@contextmanager
def _looked_into(blocks: list[nn.Module], outside: _Tally, inside: _Tally) -> Iterator[None]:
    """Within it a block counts for what enters it; what it saves inside is counted apart, block by block."""

    def run(forward: Callable[..., Any], *tensors: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*tensors, **named)
        for tensor in (*tensors, *named.values()):
            if isinstance(tensor, Tensor):
                outside.add(tensor)
        before = inside.bytes
        with inside.counting():
            result = forward(*tensors, **named)
        inside.most = max(inside.most, inside.bytes - before)
        return result

    plain = [block.forward for block in blocks]
    for block, forward in zip(blocks, plain, strict=True):
        block.forward = lambda *t, _forward=forward, **n: run(_forward, *t, **n)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


class _Passing(TorchFunctionMode):
    """Sees what functions return: the largest result that needs no gradient, as in a frozen tower.

    Args:
        norms_in_fp32: Cast the input of layer norms to fp32, as CUDA's autocast does.
    """

    def __init__(self, norms_in_fp32: bool) -> None:
        super().__init__()
        self.norms_in_fp32, self.largest = norms_in_fp32, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Any of torch's functions."""
        if self.norms_in_fp32 and func is F.layer_norm:
            args = (args[0].float(), *args[1:])
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not result.requires_grad:
            self.largest = max(self.largest, result.numel() * result.element_size())
        return result
