"""Fully sharded fits: every process keeps a share of the blocks of both towers, with gradients and moments (FSDP).

torch's `fully_shard` gathers a block when it is called and drops it afterwards. What is no block (embeddings, norms,
projections, prompts, a method's own layers) stays whole on every process and is averaged as in any fit on several.
Checkpoints hold whole tensors in the order of a plain optimiser, so that any number of processes resumes them, sharded
or not; gathering them is work for all processes, before the leading one writes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from harness.base.errors import UserError
from harness.engine.compute.device import Device
from harness.engine.compute.processes import Processes
from harness.engine.method import ClipMethod
from harness.engine.training.gradient_checkpointing import blocks_of

CPU = torch.device("cpu")


class Sharding:
    """The blocks of a method, shared out among the processes from `share` to `undo`; all call both.

    Args:
        method: On its device, in one piece.
        device: Of the fit.
        vision: Share the vision tower out too; not where it is not run in training, as with cached features.

    Raises:
        UserError: Loss scaling, which would look for overflows in shares only, or a method without blocks.
    """

    def __init__(self, method: ClipMethod, device: Device, vision: bool = True) -> None:
        if device.dtype == torch.float16:
            raise UserError("--shard fsdp does not go with --precision fp16.", "Use bf16 or fp32, or --shard zero.")
        of_vision = {id(module) for module in method.backbone.visual.modules()}
        blocks = [block for block in blocks_of(method.backbone) if vision or id(block) not in of_vision]
        if not blocks:
            raise UserError(f"--shard fsdp: {method.name} has no blocks to share out.", "Use --shard zero.")
        # FSDP turns a block into another class for good, so that a plain one without values is kept for the end.
        self._blocks = [(*_place_of(method, block), copy.deepcopy(block).to("meta")) for block in blocks]
        self._device = device

    def share(self, processes: Processes) -> None:
        """Share the blocks out; all start from the first process's weights, as the wrapper of the rest has it."""
        mesh = init_device_mesh(self._device.kind, (processes.size,))
        for parent, name, _ in self._blocks:
            block = getattr(parent, name)
            for tensor in block.state_dict().values():
                dist.broadcast(tensor, 0)
            # A block is called by itself, as if it were the whole, which would stay gathered until the backward pass.
            fully_shard(block, mesh=mesh, reshard_after_forward=True)

    @torch.no_grad()
    def undo(self) -> None:
        """Make the method one piece again, on every process."""
        for parent, name, plain in self._blocks:
            sharded = getattr(parent, name)
            state = {key: whole(value) for key, value in sharded.state_dict().items()}
            plain.to_empty(device=next(iter(state.values())).device)
            plain.load_state_dict(state)
            plain.train(sharded.training)
            setattr(parent, name, plain)


def _place_of(method: nn.Module, block: nn.Module) -> tuple[nn.Module, str]:
    return next((m, name) for m in method.modules() for name, child in m.named_children() if child is block)


def whole(tensor: Tensor) -> Tensor:
    """A tensor in one piece; all processes call this for a shared one."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shared_names(model: nn.Module) -> list[str]:
    """Names of the parameters of which each process holds a share."""
    return [name for name, parameter in model.named_parameters() if isinstance(parameter, DTensor)]


def gathered(model: nn.Module) -> dict[str, Tensor]:
    """The shared parameters that learn, whole and on the CPU, by name. All processes call this."""
    named = model.named_parameters()
    return {n: whole(p.detach()).to(CPU) for n, p in named if isinstance(p, DTensor) and p.requires_grad}


def shared_out(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A whole state as a model with shared parameters loads it. Every process has all of it, so that none is sent."""
    parameters = dict(model.named_parameters())
    return {name: _like(value, parameters.get(name)) for name, value in state.items()}


def _like(value: Tensor, parameter: Tensor | None) -> Tensor:
    if not isinstance(parameter, DTensor):
        return value
    value = value.to(parameter.device)
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


class ShardedAdamW(torch.optim.AdamW):
    """AdamW over plain and shared parameters, whose state is that of a plain AdamW over the same groups.

    Args:
        groups: As for AdamW; a group may mix both kinds.
        settings: AdamW's.
    """

    def __init__(self, groups: list[dict[str, Any]], **settings: Any) -> None:
        self._order = [list(group["params"]) for group in groups]
        self._whole: dict[str, Any] | None = None
        super().__init__([part for number, group in enumerate(groups) for part in _parts(number, group)], **settings)

    def consolidate(self) -> None:
        """Gather what `state_dict` then returns, on the CPU. All processes call this."""
        state: dict[int, dict[str, Any]] = {}
        for number, parameter in enumerate(p for group in self._order for p in group):
            found = self.state.get(parameter, {})
            state[number] = {k: whole(v).to(CPU) if isinstance(v, Tensor) else v for k, v in found.items()}
        groups, start = [], 0
        for number, parameters in enumerate(self._order):
            of = next(group for group in self.param_groups if group["group"] == number)
            kept = {k: v for k, v in of.items() if k not in ("params", "group")}
            groups.append({**kept, "params": list(range(start, start + len(parameters)))})
            start += len(parameters)
        self._whole = {"state": {n: s for n, s in state.items() if s}, "param_groups": groups}

    def state_dict(self) -> dict[str, Any]:
        """The state as `consolidate` gathered it."""
        if self._whole is None:
            raise RuntimeError("consolidate() comes before state_dict()")
        return dict(self._whole)

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a plain optimiser's state; every process is given all of it."""
        numbers = {id(p): n for n, p in enumerate(p for group in self._order for p in group)}
        for group in self.param_groups:
            saved = state_dict["param_groups"][group["group"]]
            group.update({k: v for k, v in saved.items() if k != "params"})
            for parameter in group["params"]:
                found = state_dict["state"].get(numbers[id(parameter)])
                if found is not None:
                    self.state[parameter] = {k: _entry(k, v, parameter) for k, v in found.items()}


def _parts(number: int, group: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """A group's plain and its shared parameters apart: torch's operations on many tensors take one kind at a time."""
    for kind in (True, False):
        parameters = [p for p in group["params"] if isinstance(p, DTensor) is kind]
        if parameters:
            yield {**group, "params": parameters, "group": number}


def _entry(name: str, value: Any, parameter: Tensor) -> Any:
    """An entry of AdamW's state beside its parameter; the count of steps stays a plain number of its own."""
    if not isinstance(value, Tensor):
        return value
    if value.shape != parameter.shape or name == "step":
        return value.clone()
    return _like(value.to(parameter.device, copy=True), parameter)
