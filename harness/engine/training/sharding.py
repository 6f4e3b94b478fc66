"""Fully sharded fits (FSDP): each process keeps a shard of the blocks of both towers, with gradients and moments.

torch's `fully_shard` gathers the weights of a block for its forward and backward pass and frees them afterwards. All
other parameters (embeddings, norms, projections, prompts, layers of a method) are replicated on every process and
averaged as in any fit on several processes. Checkpoints hold unsharded tensors in the order of a plain optimiser, so
that a fit can resume on any number of processes, sharded or not. All processes gather them; the leading process writes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TypedDict

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim.optimizer import StateDict

from harness.base.errors import UserError
from harness.engine.compute.device import Device
from harness.engine.compute.processes import Processes
from harness.engine.method import ClipMethod, ParameterGroup
from harness.engine.training.gradient_checkpointing import blocks_of

CPU = torch.device("cpu")


class ScheduledGroup(ParameterGroup):
    """A parameter group with its peak learning rate, from which the schedule computes `lr` before each update."""

    peak_lr: float


class AdamWSettings(TypedDict):
    """Settings of `torch.optim.AdamW`."""

    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    fused: bool | None


class Sharding:
    """The blocks of a method, sharded from `share` to `undo`. All processes call both.

    Args:
        method: The method on its device, not sharded.
        device: Device of the fit.
        vision: Shard the vision tower too. False for cached features, with which the tower does not run.

    Raises:
        UserError: The precision is fp16, whose loss scaling would look for overflows in one shard only, or the method
            has no blocks.
    """

    def __init__(self, method: ClipMethod, device: Device, vision: bool = True) -> None:
        if device.dtype == torch.float16:
            raise UserError("--shard fsdp does not go with --precision fp16.", "Use bf16 or fp32, or --shard zero.")
        vision_modules = {id(module) for module in method.backbone.visual.modules()}
        blocks = [block for block in blocks_of(method.backbone) if vision or id(block) not in vision_modules]
        blocks = [block for block in blocks if _is_restored(block)]
        if not blocks:
            raise UserError(f"--shard fsdp: {method.name} has no blocks to shard.", "Use --shard zero.")
        # FSDP changes the class of a block for good; `undo` puts these copies without values in place of the blocks.
        self._blocks = [(*_parent_of(method, block), copy.deepcopy(block).to("meta")) for block in blocks]
        self._device = device

    def share(self, processes: Processes) -> None:
        """Shard the blocks. The weights of the leading process are used, as data-parallel training does too."""
        mesh = init_device_mesh(self._device.kind, (processes.size,))
        for parent, name, _ in self._blocks:
            block = getattr(parent, name)
            # FSDP shards the values that it finds; processes that drew other initial values would mix them.
            for tensor in block.state_dict().values():
                dist.broadcast(tensor, 0)
            # Each block is its own FSDP root, and by default a root stays gathered until its backward pass.
            fully_shard(block, mesh=mesh, reshard_after_forward=True)

    @torch.no_grad()
    def undo(self) -> None:
        """Replace the sharded blocks by unsharded blocks with the same values, on every process."""
        for parent, name, plain in self._blocks:
            sharded = getattr(parent, name)
            state = {key: whole(value) for key, value in sharded.state_dict().items()}
            # The copy has no values (device `meta`), and `load_state_dict` cannot copy into tensors without memory.
            plain.to_empty(device=next(iter(state.values())).device)
            plain.load_state_dict(state)
            plain.train(sharded.training)
            setattr(parent, name, plain)


def _is_restored(block: nn.Module) -> bool:
    """Whether the state of a block holds all of its tensors; buffers outside of it (Swin) would be lost in `undo`."""
    return {name for name, _ in block.named_buffers()} <= set(block.state_dict())


def _parent_of(method: nn.Module, block: nn.Module) -> tuple[nn.Module, str]:
    """The module that holds a block, and the name of the block in it."""
    return next((m, name) for m in method.modules() for name, child in m.named_children() if child is block)


def whole(tensor: Tensor) -> Tensor:
    """The unsharded values of a sharded tensor (all processes call this); other tensors are returned unchanged."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shared_names(model: nn.Module) -> list[str]:
    """Names of the sharded parameters."""
    return [name for name, parameter in model.named_parameters() if isinstance(parameter, DTensor)]


def gathered(model: nn.Module) -> dict[str, Tensor]:
    """The trained sharded parameters by name, unsharded and on the CPU. All processes call this."""
    named = model.named_parameters()
    return {n: whole(p.detach()).to(CPU) for n, p in named if isinstance(p, DTensor) and p.requires_grad}


def shared_out(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """An unsharded state as a sharded model loads it. Nothing is sent, because every process has the whole state."""
    parameters = dict(model.named_parameters())
    return {name: _sharded_like(value, parameters.get(name)) for name, value in state.items()}


def _sharded_like(value: Tensor, parameter: Tensor | None) -> Tensor:
    if not isinstance(parameter, DTensor):
        return value
    value = value.to(parameter.device)
    # Without a source rank each process cuts its shard out of its own copy.
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


class ShardedAdamW(torch.optim.AdamW):
    """AdamW over replicated and sharded parameters, whose state is that of a plain AdamW over the same groups.

    Args:
        groups: Parameter groups; a group may hold parameters of both kinds.
        settings: Settings of AdamW.
    """

    def __init__(self, groups: list[ScheduledGroup], settings: AdamWSettings) -> None:
        # torch sees each group divided in two; checkpoints number parameters in this order, as a plain optimiser does.
        self._order = [list(group["params"]) for group in groups]
        self._whole: StateDict | None = None
        parts = [dict(part) for number, group in enumerate(groups) for part in _parts(number, group)]
        super().__init__(parts, **settings)

    def consolidate(self) -> None:
        """Gather on the CPU the state that `state_dict` then returns. All processes call this."""
        state: dict[int, dict[str, Tensor | float]] = {}
        for number, parameter in enumerate(p for group in self._order for p in group):
            entries = self.state.get(parameter, {})
            state[number] = {k: whole(v).to(CPU) if isinstance(v, Tensor) else v for k, v in entries.items()}
        groups, start = [], 0  # parameters are numbered over all groups, as torch does
        for number, parameters in enumerate(self._order):
            part = next(group for group in self.param_groups if group["group"] == number)
            # The two parts of a group have the same settings; `group` is ours and not in a plain optimiser.
            kept = {k: v for k, v in part.items() if k not in ("params", "group")}
            groups.append({**kept, "params": list(range(start, start + len(parameters)))})
            start += len(parameters)
        self._whole = {"state": {n: s for n, s in state.items() if s}, "param_groups": groups}

    def state_dict(self) -> StateDict:
        """The state that `consolidate` gathered."""
        if self._whole is None:
            raise RuntimeError("consolidate() comes before state_dict()")
        return dict(self._whole)

    @torch.no_grad()
    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load the state of a plain optimiser; every process passes the whole state."""
        numbers = {id(p): n for n, p in enumerate(p for group in self._order for p in group)}
        for group in self.param_groups:
            saved = state_dict["param_groups"][group["group"]]
            group.update({k: v for k, v in saved.items() if k != "params"})
            for parameter in group["params"]:
                entries = state_dict["state"].get(numbers[id(parameter)])
                if entries is not None:
                    # Set by hand: torch's `load_state_dict` would compare the number of groups, which differs from the
                    # saved state.
                    self.state[parameter] = {k: _entry(k, v, parameter) for k, v in entries.items()}


class _Part(ScheduledGroup):
    """The parameters of one kind of a group, with the number of the group."""

    group: int


def _parts(number: int, group: ScheduledGroup) -> Iterable[_Part]:
    """A group divided into replicated and sharded parameters: torch's operations on lists of tensors mix no kinds."""
    for sharded in (True, False):
        parameters = [p for p in group["params"] if isinstance(p, DTensor) is sharded]
        if parameters:
            yield {**group, "params": parameters, "group": number}


def _entry(name: str, value: Tensor | float, parameter: Tensor) -> Tensor | float:
    """An entry of the state of a parameter, sharded like the parameter; the count of steps is not sharded."""
    if not isinstance(value, Tensor):
        return value
    if value.shape != parameter.shape or name == "step":
        return value.clone()
    return _sharded_like(value.to(parameter.device, copy=True), parameter)
