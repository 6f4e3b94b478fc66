"""The processes of a run: their ranks, what they tell each other, and how they end together.

`torchrun` starts them and sets `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`. All walk through the same
cells; the first one decides, holds locks and writes. Facts travel as JSON over gloo, gradients over NCCL or gloo.
Torch is imported where it is needed: the command line asks for the rank without it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from harness.base.errors import EXIT_FAILED, EXIT_INTERRUPTED, UserError, machine_error

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE = timedelta(minutes=30)
"""How long gradients may be waited for: the slowest batch of clips."""
CONTROL_PATIENCE = timedelta(days=7)
"""How long facts may be waited for: another run may hold a cell, a dataset may have to be rendered."""


def rank_of_process() -> int:
    """The rank of this process, 0 where it is alone."""
    return int(os.environ["RANK"]) if size_of_world() > 1 else 0


def size_of_world() -> int:
    """How many processes the run has: `WORLD_SIZE` beside `RANK`, as `torchrun` sets them."""
    return int(os.environ.get("WORLD_SIZE") or 1) if os.environ.get("RANK") else 1


def processes_here() -> int:
    """How many processes of the run share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or 1) if size_of_world() > 1 else 1


@dataclass(frozen=True)
class Processes:
    """The processes of a run as one of them sees them. Without torchrun there is one, and everything here is free.

    Args:
        rank: Of this process, 0 to size - 1.
        size: Number of processes.
        local_rank: Among those of this machine; the number of its GPU.
        local_size: Number of processes of this machine.
        control: torch's gloo group for facts.
        store: The key-value store of the run, which outlives any one process.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    control: Any = None
    store: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process decides and writes."""
        return self.rank == 0

    def share(self, value: Any = None) -> Any:
        """The leading process's value on every process. JSON-ready; tuples come back as lists.

        Args:
            value: Ignored on the others.
        """
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        data = _packed(value) if self.leads else torch.empty(0, dtype=torch.uint8)
        length = torch.tensor([len(data)])
        dist.broadcast(length, 0, group=self.control)
        data = data if self.leads else torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(data, 0, group=self.control)
        return _unpacked(data)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank, on every process. JSON-ready."""
        if self.size == 1:
            return [value]
        import torch
        import torch.distributed as dist

        data = _packed(value)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(data)]), group=self.control)
        longest = int(max(lengths))
        padded = torch.nn.functional.pad(data, (0, longest - len(data)))
        found = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(found, padded, group=self.control)
        return [_unpacked(part[: int(length)]) for part, length in zip(found, lengths, strict=True)]

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes, on every process and on its device."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        value = value.clone()
        dist.all_reduce(value)
        return value / self.size

    @contextmanager
    def together(self) -> Iterator[None]:
        """A piece of work in which the processes do not wait for each other; an error of one becomes all's error.

        Raises:
            UserError: Another process failed with one.
            RuntimeError: Another process failed with anything else; its traceback is the message.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            if self.size == 1:
                raise
            error = raised
        if self.size == 1:
            return
        found = self.gather(None if error is None else _described(error))
        if error is not None:
            raise self.common(error)
        for rank, told in enumerate(found):
            if told is not None:
                raise self.common(_rebuilt(told, rank, self.size))

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """A piece of work that leaves something on disk: the first process does it, then one of every other machine.

        The rest come last and find it done. An error of one is all's error.
        """
        turns = [self.leads, not self.leads and self.local_rank == 0, not self.leads and self.local_rank > 0]
        turn = turns.index(True)
        for _ in range(turn if self.size > 1 else 0):
            with self.together():
                pass
        with self.together():
            yield
        for _ in range(len(turns) - 1 - turn if self.size > 1 else 0):
            with self.together():
                pass

    def common(self, error: Exception) -> Exception:
        """An error, marked as one that every process has at this point."""
        error.__dict__["common"] = True
        return error

    def has_in_common(self, error: BaseException) -> bool:
        """Whether every process has this error, so that all can go on with something else."""
        return self.size == 1 or bool(error.__dict__.get("common"))


SINGLE_PROCESS = Processes()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes of this run, connected; at its end they leave together, whatever ends them.

    An error that one process meets alone ends all: it is written once, by the process that met it, and the launcher
    stops the others, which may be waiting for it.

    Args:
        device: `auto`, `cpu` or `cuda`, as asked for.

    Raises:
        UserError: The processes do not find each other, or there are more of them than CUDA devices.
    """
    if size_of_world() == 1:
        yield SINGLE_PROCESS
        return
    processes = SINGLE_PROCESS
    try:
        processes = _connect(device)
        yield processes
        with processes.together():
            pass
    except BaseException as error:
        _end(processes, error)
    import torch.distributed as dist

    dist.destroy_process_group()


def _connect(device: str) -> Processes:
    import torch
    import torch.distributed as dist

    missing = [n for n in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(n)]
    if missing:
        raise UserError(
            f"RANK and WORLD_SIZE are set, {', '.join(missing)} not.",
            "Start several processes with torchrun, or unset RANK and WORLD_SIZE.",
        )
    local, here = int(os.environ["LOCAL_RANK"]), processes_here()
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda and here > torch.cuda.device_count():
        raise UserError(
            f"{here} processes on this machine, which has {torch.cuda.device_count()} CUDA devices.",
            "Start one process a device: torchrun --nproc_per_node=gpu.",
        )
    if cuda:
        torch.cuda.set_device(local)
    try:
        store, rank, size = next(iter(dist.rendezvous("env://", timeout=timedelta(minutes=5))))
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            store=dist.PrefixStore("harness", store), rank=rank, world_size=size, timeout=PATIENCE,
        )  # fmt: skip
        control = dist.new_group(backend="gloo", timeout=CONTROL_PATIENCE)
    except RuntimeError as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise UserError(
            f"Process {rank_of_process()} of {size_of_world()} cannot reach the others at {place}: {error}",
            "Check torchrun's --rdzv-endpoint, or name the network with GLOO_SOCKET_IFNAME / NCCL_SOCKET_IFNAME.",
            EXIT_FAILED,
        ) from None
    return Processes(rank, size, local, here, control, store)


def _end(processes: Processes, error: BaseException) -> None:
    """Say why the run ends, once, and leave without waiting for anybody."""
    code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else EXIT_FAILED
    first = processes.leads if processes.has_in_common(error) else _first_to_fail(processes)
    text = ""
    if isinstance(error, OSError):
        error = machine_error(error)
    if isinstance(error, UserError):
        code, text = error.exit_code, f"error: {error}\n"
    elif isinstance(error, KeyboardInterrupt):
        code, text = EXIT_INTERRUPTED, "interrupted; the same command goes on where it stopped\n"
    elif not isinstance(error, SystemExit):
        text = f"process {rank_of_process()} of {size_of_world()} failed:\n" + traceback.format_exc()
    if first and text:
        sys.stderr.write(text)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # the usual way out would wait for processes that wait for this one


def _first_to_fail(processes: Processes) -> bool:
    """Whether no process has failed before this one; those whose peers vanish fail after them."""
    if processes.store is None:
        return True
    try:
        return bool(processes.store.add("harness-failed", 1) == 1)
    except Exception:  # the launcher, which keeps the store, is gone too
        return processes.leads


def _described(error: Exception) -> list[Any]:
    if isinstance(error, OSError):
        error = machine_error(error)
    if isinstance(error, UserError):
        return ["user", error.message, error.hint, error.exit_code]
    return ["other", "".join(traceback.format_exception(error))]


def _rebuilt(told: list[Any], rank: int, size: int) -> Exception:
    if told[0] == "user":
        return UserError(*told[1:])
    return RuntimeError(f"process {rank} of {size} failed:\n{told[1]}")


def _packed(value: Any) -> Tensor:
    import torch

    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _unpacked(data: Tensor) -> Any:
    return json.loads(data.numpy().tobytes())
