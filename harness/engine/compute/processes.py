"""The process group of a run: ranks, exchange of small values, and one error for all processes.

`torchrun` starts the processes and sets `RANK`, `WORLD_SIZE`, `LOCAL_RANK` and `LOCAL_WORLD_SIZE`. All processes visit
the same cells in the same order; the leader (rank 0) decides, holds the locks and writes the files. Small values are
exchanged as JSON over gloo, gradients over NCCL or gloo. Torch is imported inside functions, because the command line
needs the rank before it needs torch.
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
from typing import TYPE_CHECKING, TypedDict, TypeVar

from harness.base.errors import EXIT_FAILED, EXIT_INTERRUPTED, UserError, machine_error

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import ProcessGroup, Store

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""Longest wait for gradients of other processes, i.e. the time that the slowest batch of clips may take."""
CONTROL_PATIENCE = timedelta(days=7)
"""Longest wait for a value of the leader, which may itself wait for the lock of another run or render a dataset."""


def rank_of_process() -> int:
    """Return the rank of this process; 0 in a single-process run."""
    return int(os.environ["RANK"]) if size_of_world() > 1 else 0


def size_of_world() -> int:
    """Return the number of processes of the run: `WORLD_SIZE` if `RANK` is set too, as `torchrun` does, else 1."""
    return int(os.environ.get("WORLD_SIZE") or 1) if os.environ.get("RANK") else 1


def processes_here() -> int:
    """Return the number of processes of the run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or 1) if size_of_world() > 1 else 1


class _Failure(TypedDict):
    """An exception as JSON: `UserError`s keep their parts, other exceptions become the text of their traceback."""

    is_user_error: bool
    message: str
    hint: str
    exit_code: int


@dataclass(frozen=True)
class Processes:
    """The process group, seen from one process. In a single-process run all methods return at once.

    Args:
        rank: Rank of this process, from 0 to size - 1.
        size: Number of processes of the run.
        local_rank: Rank among the processes of this machine, which is also the index of the GPU.
        local_size: Number of processes on this machine.
        control: gloo group over which small values are exchanged; None in a single-process run.
        store: Key-value store of the run. The launcher keeps it, so that it outlives each process.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    control: ProcessGroup | None = None
    store: Store | None = None

    @property
    def is_leader(self) -> bool:
        """Whether this process decides and writes."""
        return self.rank == 0

    def share(self, value: T) -> T:
        """Return the leader's value on every process. The value is sent as JSON, so that tuples arrive as lists.

        Args:
            value: The value to send; the values of all processes but the leader are ignored.
        """
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        # A broadcast needs a buffer of the right size on the receivers, so the length travels first.
        data = _packed(value) if self.is_leader else torch.empty(0, dtype=torch.uint8)
        length = torch.tensor([len(data)])
        dist.broadcast(length, 0, group=self.control)
        data = data if self.is_leader else torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(data, 0, group=self.control)
        shared: T = json.loads(_text(data))
        return shared

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, ordered by rank, on every process. The values are sent as JSON."""
        if self.size == 1:
            return [value]
        import torch
        import torch.distributed as dist

        data = _packed(value)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(data)]), group=self.control)
        longest = int(max(lengths))
        # `all_gather` needs tensors of one size; `gather_object` would unpickle bytes, JSON cannot run code.
        padded = torch.nn.functional.pad(data, (0, longest - len(data)))
        buffers = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(buffers, padded, group=self.control)
        return [json.loads(_text(buffer[: int(length)])) for buffer, length in zip(buffers, lengths, strict=True)]

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes, on every process and on the tensor's device."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        value = value.clone()
        dist.all_reduce(value)
        return value / self.size

    @contextmanager
    def together(self) -> Iterator[None]:
        """Context of work that may fail on one process; every process then raises the error at the end of the context.

        The processes must not wait for each other inside the context: one that failed would never answer.

        Raises:
            UserError: This process or another one raised it.
            RuntimeError: Another process raised an exception of another type; the message is its traceback.
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
        failures = self.gather(None if error is None else _failure(error))
        if error is not None:
            raise self.mark_common(error)
        for rank, failure in enumerate(failures):
            if failure is not None:
                raise self.mark_common(_exception(failure, rank, self.size))

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Context of work that leaves files on disk: the leader first, then one process of each other machine.

        The remaining processes come last and find the files of their machine. An error is raised on every process.
        """
        turn = 0 if self.is_leader else 1 if self.local_rank == 0 else 2
        # All processes pass the three contexts of three turns, because each context exchanges errors among all of them.
        for _ in range(turn if self.size > 1 else 0):
            with self.together():
                pass
        with self.together():
            yield
        for _ in range(2 - turn if self.size > 1 else 0):
            with self.together():
                pass

    def mark_common(self, error: Exception) -> Exception:
        """Mark an error as raised on every process, so that `--keep-going` may continue; return the error."""
        error.__dict__["common"] = True
        return error

    def is_common(self, error: BaseException) -> bool:
        """Return whether an error was raised on every process."""
        return self.size == 1 or bool(error.__dict__.get("common"))


SINGLE_PROCESS = Processes()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Context of a run with connected processes, which all end with it.

    If only one process fails, it writes the error and exits; the launcher then stops the other processes, which may be
    waiting for it.

    Args:
        device: The requested device: `auto`, `cpu` or `cuda`.

    Raises:
        UserError: The processes cannot connect, or a machine has more processes than CUDA devices.
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
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    missing = [n for n in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(n)]
    if missing:
        raise UserError(
            f"RANK and WORLD_SIZE are set, but these variables are missing: {', '.join(missing)}.",
            "Start several processes with torchrun, or unset RANK and WORLD_SIZE.",
        )
    local, here = int(os.environ["LOCAL_RANK"]), processes_here()
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda and here > torch.cuda.device_count():
        raise UserError(
            f"{here} processes run on this machine, which has {torch.cuda.device_count()} CUDA devices.",
            "Start one process per device: torchrun --nproc_per_node=gpu.",
        )
    if cuda:
        torch.cuda.set_device(local)
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=timedelta(minutes=5))))
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            store=PrefixStore("harness", store), rank=rank, world_size=size, timeout=PATIENCE,
        )  # fmt: skip
        control = dist.new_group(backend="gloo", timeout=CONTROL_PATIENCE)
        assert not isinstance(control, int)  # torch returns a number to processes that are not in the group
    except RuntimeError as error:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise UserError(
            f"Process {rank_of_process()} of {size_of_world()} cannot reach the other processes at {address}: {error}",
            "Check torchrun's --rdzv-endpoint, or name the network with GLOO_SOCKET_IFNAME / NCCL_SOCKET_IFNAME.",
            EXIT_FAILED,
        ) from None
    return Processes(rank, size, local, here, control, store)


def _end(processes: Processes, error: BaseException) -> None:
    """Write why the run ends, on one process only, and exit without waiting for the other processes."""
    code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else EXIT_FAILED
    writes = processes.is_leader if processes.is_common(error) else _first_to_fail(processes)
    text = ""
    if isinstance(error, OSError):
        error = machine_error(error)
    if isinstance(error, UserError):
        code, text = error.exit_code, f"error: {error}\n"
    elif isinstance(error, KeyboardInterrupt):
        code, text = EXIT_INTERRUPTED, "interrupted; the same command goes on where it stopped\n"
    elif not isinstance(error, SystemExit):
        text = f"process {rank_of_process()} of {size_of_world()} failed:\n" + traceback.format_exc()
    if writes and text:
        sys.stderr.write(text)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # a normal exit would destroy the process group, which waits for the other processes


def _first_to_fail(processes: Processes) -> bool:
    """Return whether this process is the first to fail; processes whose peer vanished fail after that peer."""
    if processes.store is None:
        return True
    try:
        return bool(processes.store.add("harness-failed", 1) == 1)
    except Exception:  # the launcher, which keeps the store, has ended too
        return processes.is_leader


def _failure(error: Exception) -> _Failure:
    if isinstance(error, OSError):
        error = machine_error(error)
    if isinstance(error, UserError):
        return {"is_user_error": True, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
    text = "".join(traceback.format_exception(error))
    return {"is_user_error": False, "message": text, "hint": "", "exit_code": EXIT_FAILED}


def _exception(failure: _Failure, rank: int, size: int) -> Exception:
    if failure["is_user_error"]:
        return UserError(failure["message"], failure["hint"], failure["exit_code"])
    return RuntimeError(f"process {rank} of {size} failed:\n{failure['message']}")


def _packed(value: T) -> Tensor:
    """JSON text as a tensor of bytes."""
    import torch

    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _text(data: Tensor) -> bytes:
    return data.numpy().tobytes()
